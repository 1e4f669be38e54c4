//! Tests of bodies in every packing, charset and wrapping that senders use, and of invalid ones.

use conclave_wire::Reason;
use std::{collections::BTreeSet, io::Write as _};

use axum::http::HeaderValue;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use serde_json::json;

use super::*;

fn shape(content_type: &str, encoding: &str) -> Result<Shape, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_ENCODING, encoding),
    ] {
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
    }
    Shape::of(&headers)
}

fn read(content_type: &str, body: &[u8]) -> Result<Value, Problem> {
    whole(shape(content_type, "")?, body)
}

fn whole(shape: Shape, body: &[u8]) -> Result<Value, Problem> {
    shape.read(&shape.unpack(body)?)
}

#[track_caller]
fn refusal(result: Result<Value, Problem>) -> (Reason, String) {
    let problem = result.unwrap_err();
    (problem.reason(), problem.to_string())
}

fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let level = Compression::default();
    match encoding {
        "gzip" | "x-gzip" => {
            let mut packer = GzEncoder::new(Vec::new(), level);
            packer.write_all(body).unwrap();
            packer.finish().unwrap()
        }
        "deflate" => {
            let mut packer = ZlibEncoder::new(Vec::new(), level);
            packer.write_all(body).unwrap();
            packer.finish().unwrap()
        }
        _ => {
            let mut packer = DeflateEncoder::new(Vec::new(), level);
            packer.write_all(body).unwrap();
            packer.finish().unwrap()
        }
    }
}

#[test]
fn json_is_accepted_under_any_json_type_or_without_a_type() {
    let body = r#"{"text": "grün"}"#.as_bytes();
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
        "application/json; profile=x; charset=utf8",
        "text/json",
        "application/x-json",
        "application/vnd.github+json",
        "application/cloudevents+json; charset=utf-8",
        "text/plain",
        "text/plain; charset=us-ascii",
        "application/x-www-form-urlencoded",
        "",
    ] {
        assert_eq!(read(kind, body), Ok(json!({"text": "grün"})), "{kind}");
        let marked = [b"\xef\xbb\xbf \n", body].concat();
        assert_eq!(read(kind, &marked), Ok(json!({"text": "grün"})), "{kind}");
    }
    for bad in [
        "text/xml",
        "multipart/form-data; boundary=x",
        "image/png",
        "json",
        "+json",
        ";",
    ] {
        let expected = bad == ";";
        assert_eq!(read(bad, body).is_ok(), expected, "{bad}");
    }
    let (reason, sentence) = refusal(read("application/xml", body));
    assert_eq!(reason, Reason::ContentTypeInvalid);
    assert!(sentence.contains("application/json"));
}

#[test]
fn a_form_holds_json_or_the_fields_themselves() {
    let kind = "application/x-www-form-urlencoded";
    let expected = json!({"text": "a+b & c=d ☂"});
    let payload = b"token=x&payload=%7B%22text%22%3A+%22a%2Bb+%26+c%3Dd+%E2%98%82%22%7D";
    assert_eq!(read(kind, payload), Ok(expected));
    assert_eq!(
        read("", &payload["token=x&".len()..]).unwrap()["text"],
        "a+b & c=d ☂"
    );
    let fields = read(kind, b"user_name=anna&text=it+works").unwrap();
    assert_eq!(fields, json!({"user_name": "anna", "text": "it works"}));
    for (bad, cause) in [
        (&b"a=b"[..], "neither"),
        (b"payload=%7", "two digits"),
        (b"payload=%7B", "not JSON"),
        (b"payload=%5B%5D", "no object"),
        (b"payload=%FF", "not UTF-8"),
        (b"payload", "not JSON"),
    ] {
        let (reason, sentence) = refusal(read(kind, bad));
        assert_eq!(reason, Reason::BodyInvalid, "{sentence}");
        assert!(sentence.contains(cause), "{sentence}");
    }
}

#[test]
fn a_compressed_body_is_unpacked_up_to_the_bound() {
    let body = br#"{"text": "packed"}"#;
    for (encoding, packing) in [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", "deflate"),
        ("deflate", "raw"),
    ] {
        let shape = shape("application/json", encoding).unwrap();
        assert_eq!(
            whole(shape, &packed(packing, body)).unwrap()["text"],
            "packed"
        );
    }
    assert_eq!(
        whole(shape("", "identity").unwrap(), body).unwrap()["text"],
        "packed"
    );
    for bad in ["br", "zstd", "gzip, gzip", "compress"] {
        let problem = shape("", bad).unwrap_err();
        assert_eq!(problem.reason(), Reason::ContentEncodingInvalid, "{bad}");
    }
    // 64 MiB of zeros: a thousand times shorter when packed.
    for (encoding, packing) in [("gzip", "gzip"), ("deflate", "deflate"), ("deflate", "raw")] {
        let bomb = packed(packing, &vec![b' '; 64 * 1024 * 1024]);
        assert!(bomb.len() < BYTES_MAX);
        let refused = whole(shape("application/json", encoding).unwrap(), &bomb);
        assert_eq!(refusal(refused).0, Reason::BodyTooLong, "{packing}");
    }
    let text = r#"{"text": ""}"#;
    let just = " ".repeat(BYTES_MAX - text.len()) + text;
    let gzip = shape("", "gzip").unwrap();
    assert!(whole(gzip, &packed("gzip", just.as_bytes())).is_ok());
    let (reason, sentence) = refusal(whole(gzip, body));
    assert_eq!(reason, Reason::BodyInvalid);
    assert!(sentence.contains("gzip"), "{sentence}");
    let all = packed("gzip", body);
    assert!(whole(gzip, &all[..all.len() - 9]).is_err());
}

#[test]
fn equal_bytes_that_are_read_differently_are_different_posts() {
    let mark = |kind, encoding| shape(kind, encoding).unwrap().mark();
    let json = mark("application/json", "");
    assert_eq!(mark("application/json; charset=utf-8", "gzip"), json);
    let form = mark("application/x-www-form-urlencoded", "");
    let latin = mark("application/json; charset=iso-8859-1", "");
    let none = mark("", "");
    let all = BTreeSet::from([json, form, latin, none]);
    assert_eq!(all.len(), 4);
}

#[test]
fn a_body_is_utf_8_or_in_the_declared_charset() {
    let latin = b"{\"text\": \"gr\xfcn \x80 \x93x\x94\"}";
    for charset in ["iso-8859-1", "ISO-8859-1", "latin1", "windows-1252"] {
        let told = read(&format!("application/json; charset={charset}"), latin).unwrap();
        assert_eq!(told["text"], "grün € “x”", "{charset}");
    }
    let (reason, sentence) = refusal(read("application/json", latin));
    assert_eq!(reason, Reason::BodyInvalid);
    assert!(sentence.contains("not UTF-8 (at byte 13)"), "{sentence}");
    let wide = [b"\xff\xfe".to_vec(), b"{\0}\0".to_vec()].concat();
    assert!(
        refusal(read("application/json", &wide))
            .1
            .contains("UTF-16")
    );
    let (reason, _) = refusal(read("application/json; charset=utf-16", b"{}"));
    assert_eq!(reason, Reason::CharsetInvalid);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_with_the_cause() {
    for (body, cause) in [
        (&b""[..], "empty"),
        (b"  \n", "empty"),
        (b"hello", "line 1 column 1"),
        (b"[1]", "no object"),
        (b"\"text\"", "no object"),
        (b"{\"text\": \"a\"", "line 1"),
        (b"{'text': 'a'}", "not JSON"),
        (b"{\"text\": \"a\"} x", "trailing"),
    ] {
        let (reason, sentence) = refusal(read("application/json", body));
        assert_eq!(reason, Reason::BodyInvalid);
        assert!(sentence.contains(cause), "{sentence}");
    }
    let deep = "[".repeat(100_000);
    assert!(
        refusal(read("", deep.as_bytes()))
            .1
            .contains("recursion limit")
    );
}
