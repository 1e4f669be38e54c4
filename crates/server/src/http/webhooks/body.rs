//! Reads the body of a post to a webhook: a packed, encoded or wrapped body becomes one JSON
//! object.
//!
//! Always true: nothing is unpacked beyond the bound of a body, and a refusal names its cause. The
//! headers take precedence over what the body looks like.

use std::{borrow::Cow, io::Read as _};

use axum::http::{HeaderMap, header};
use conclave_text::BYTE_ORDER_MARK;
use conclave_wire::{Problem, Reason};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde_json::{Map, Value};

/// Maximum length of a body in bytes, as received and unpacked: four times what GitHub sends for a
/// large pull request. A longer body is refused.
pub(super) const BYTES_MAX: usize = 256 * 1024;
/// Maximum number of fields of a form that are read. The rest is ignored.
const FIELDS_MAX: usize = 256;

/// Kind of a body by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// JSON by any of its names.
    Json,
    /// A form, with JSON in its field `payload`.
    Form,
    /// Not given, or not reliable: the body itself decides.
    Unknown,
}

/// Encoding of the letters of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Charset {
    Utf8,
    /// Latin-1 and its superset of Windows, for which its name is commonly used.
    Windows1252,
}

/// Compression of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Deflate,
}

/// What the headers of a post say, read before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    kind: Kind,
    charset: Charset,
    packing: Packing,
}

impl Shape {
    /// Reads the headers.
    ///
    /// # Errors
    /// `CONTENT_TYPE_INVALID`, `CHARSET_INVALID` and `CONTENT_ENCODING_INVALID`.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let one = |name| match headers.get(name) {
            None => Some(""),
            Some(value) => value.to_str().ok(),
        };
        let type_is_bad = || {
            let sentence = "the content type must be application/json, another of JSON, \
                            application/x-www-form-urlencoded with a field `payload`, or none";
            Problem::refused(Reason::ContentTypeInvalid, sentence)
        };
        let content_type = one(header::CONTENT_TYPE).ok_or_else(type_is_bad)?;
        let mut parts = content_type.split(';').map(str::trim);
        let kind = kind_of(parts.next().unwrap_or_default()).ok_or_else(type_is_bad)?;
        let charset = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_it = name.trim().eq_ignore_ascii_case("charset");
            is_it.then(|| value.trim().trim_matches('"'))
        });
        let charset = charset_of(charset.unwrap_or_default()).ok_or_else(|| {
            let sentence = "the charset must be utf-8, iso-8859-1 or windows-1252, or not be named";
            Problem::refused(Reason::CharsetInvalid, sentence)
        })?;
        let packing = one(header::CONTENT_ENCODING).and_then(packing_of);
        let packing = packing.ok_or_else(|| {
            let sentence = "the content encoding must be gzip, deflate or identity, or none";
            Problem::refused(Reason::ContentEncodingInvalid, sentence)
        })?;
        Ok(Self {
            kind,
            charset,
            packing,
        })
    }

    /// Returns a mark of how the bytes of an unpacked body are read: the same bytes with another
    /// mark are another post.
    pub(super) fn mark(self) -> [u8; 2] {
        let kind = match self.kind {
            Kind::Json => 0,
            Kind::Form => 1,
            Kind::Unknown => 2,
        };
        let charset = match self.charset {
            Charset::Utf8 => 0,
            Charset::Windows1252 => 1,
        };
        [kind, charset]
    }

    /// Unpacks a body of this shape.
    ///
    /// # Errors
    /// `BODY_INVALID` and `BODY_TOO_LONG`.
    pub(super) fn unpack(self, body: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
        let unpacked = match self.packing {
            Packing::None => return Ok(Cow::Borrowed(body)),
            Packing::Gzip => unpack(MultiGzDecoder::new(body), "gzip"),
            // The standard requires a zlib header; some senders leave it out.
            Packing::Deflate => match unpack(ZlibDecoder::new(body), "deflate") {
                Err(problem) if problem.reason() == Reason::BodyInvalid => {
                    unpack(DeflateDecoder::new(body), "deflate")
                }
                unpacked => unpacked,
            },
        };
        unpacked.map(Cow::Owned)
    }

    /// Reads an unpacked body of this shape.
    ///
    /// # Errors
    /// `BODY_INVALID`.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Value, Problem> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let start = bytes.trim_ascii_start();
        if start.is_empty() {
            return Err(invalid("the body is empty"));
        }
        let looks_like_json = matches!(start[0], b'{' | b'[' | b'"');
        match self.kind {
            Kind::Json => self.json(bytes),
            // `curl -d` declares everything a form.
            Kind::Form | Kind::Unknown if looks_like_json => self.json(bytes),
            Kind::Form => self.form(start),
            Kind::Unknown if start.starts_with(b"payload=") => self.form(start),
            Kind::Unknown => self.json(bytes),
        }
    }

    fn json(self, bytes: &[u8]) -> Result<Value, Problem> {
        let text = self.charset.decode(bytes)?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text);
        let value: Value = serde_json::from_str(text)
            .map_err(|error| invalid(&format!("the body is not JSON: {error}")))?;
        match value {
            Value::Object(_) => Ok(value),
            _ => Err(invalid(
                r#"the body is JSON, but no object like {"text": "…"}"#,
            )),
        }
    }

    /// Reads a form: JSON in `payload`, or the fields themselves.
    fn form(self, bytes: &[u8]) -> Result<Value, Problem> {
        let mut fields = Map::new();
        for field in bytes.split(|byte| *byte == b'&').take(FIELDS_MAX) {
            let at = field.iter().position(|byte| *byte == b'=');
            let (name, value) = field.split_at(at.unwrap_or(field.len()));
            let value = percent_decoded(value.strip_prefix(b"=").unwrap_or(value))?;
            if name == b"payload" {
                return self.json(&value);
            }
            let name = self.charset.decode(&percent_decoded(name)?)?;
            fields.insert(name, self.charset.decode(&value)?.into());
        }
        match fields.get("text") {
            Some(_) => Ok(Value::Object(fields)),
            None => Err(invalid(
                "the form has neither a field `payload` nor a field `text`",
            )),
        }
    }
}

impl Charset {
    fn decode(self, bytes: &[u8]) -> Result<String, Problem> {
        match self {
            Self::Windows1252 => Ok(bytes.iter().map(|byte| of_windows(*byte)).collect()),
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(text.to_owned()),
                Err(error) => {
                    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
                    let sentence = match utf16 {
                        true => "the body is UTF-16: send UTF-8".to_owned(),
                        false => format!(
                            "the body is not UTF-8 (at byte {}): send UTF-8, or name the charset \
                             iso-8859-1 in the content type",
                            error.valid_up_to() + 1
                        ),
                    };
                    Err(invalid(&sentence))
                }
            },
        }
    }
}

/// Returns the letter of a byte of windows-1252: as in Latin-1 except for these.
fn of_windows(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        byte => char::from(byte),
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        // Some senders send JSON as text.
        "" | "text/plain" => Some(Kind::Unknown),
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" | "text/json" | "application/x-json" => Some(Kind::Json),
        name if name.ends_with("+json") && name.contains('/') => Some(Kind::Json),
        _ => None,
    }
}

fn charset_of(name: &str) -> Option<Charset> {
    match name.to_ascii_lowercase().as_str() {
        "" | "utf-8" | "utf8" | "us-ascii" | "ascii" => Some(Charset::Utf8),
        "iso-8859-1" | "latin1" | "latin-1" | "windows-1252" | "cp1252" => {
            Some(Charset::Windows1252)
        }
        _ => None,
    }
}

fn packing_of(name: &str) -> Option<Packing> {
    match name.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Some(Packing::None),
        "gzip" | "x-gzip" => Some(Packing::Gzip),
        "deflate" => Some(Packing::Deflate),
        _ => None,
    }
}

fn unpack(packed: impl std::io::Read, name: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more, whatever the body unpacks to.
    let most = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let read = packed.take(most).read_to_end(&mut bytes);
    read.map_err(|_| {
        let sentence = format!("the body cannot be unpacked, though it says that it is {name}");
        invalid(&sentence)
    })?;
    match bytes.len() > BYTES_MAX {
        true => Err(Problem::refused(
            Reason::BodyTooLong,
            "the body has more than 256 KiB unpacked",
        )),
        false => Ok(bytes),
    }
}

fn percent_decoded(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let pair = digit(bytes.next()).zip(digit(bytes.next()));
                let value = pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or_else(|| invalid("the form has a `%` without two digits behind it"))?
            }
            byte => *byte,
        });
    }
    Ok(decoded)
}

fn invalid(sentence: &str) -> Problem {
    Problem::refused(Reason::BodyInvalid, sentence)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
