//! A client that does not behave: it asks for a stream and then reads too little of it.
//!
//! HTTP/2 is written by hand, because no proper client can be made to read so badly. The client
//! offers the largest window there is, so what the node does not hold back waits in the node.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

/// Connection preface of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
/// Flags of frames.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The setting of the window with which streams begin, and the largest one.
const INITIAL_WINDOW_SIZE: u8 = 4;
const WINDOW_MAX: u32 = i32::MAX as u32;
/// Window with which a connection begins, by the standard.
const WINDOW_FIRST: u32 = 65_535;
/// `from_beginning = true` of a `SubscribeRequest`, with the head of a gRPC message.
const SUBSCRIBE: &[u8] = &[0, 0, 0, 0, 2, 0x10, 1];
/// Interval between two bytes of a reader that reads at all.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// Pause of a reader that was cut off before it connects again.
const BEFORE_ANOTHER: Duration = Duration::from_millis(200);

/// Pace at which a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The client reads nothing.
    Never,
    /// The client reads one byte per second.
    BytePerSecond,
}

/// Subscribes from the beginning and reads as slowly as `pace` says; once the node has cut it off,
/// it connects again. Ends when it is dropped.
pub(super) async fn read_badly(endpoint: String, token: String, pace: Pace) {
    loop {
        // An error is expected: the node cuts off a client that reads like this.
        let _ = stream(&endpoint, &token, pace).await;
        sleep(BEFORE_ANOTHER).await;
    }
}

async fn stream(endpoint: &str, token: &str, pace: Pace) -> io::Result<()> {
    let mut connection = TcpStream::connect(endpoint).await?;
    connection.write_all(&request(endpoint, token)).await?;
    match pace {
        Pace::Never => loop {
            sleep(BYTE_EVERY).await;
            // A connection that the node has reset takes no more bytes, so this write finds that
            // out.
            connection.write_all(&frame(0xfa, 0, 0, &[])).await?;
        },
        Pace::BytePerSecond => loop {
            sleep(BYTE_EVERY).await;
            connection.read_u8().await?;
        },
    }
}

/// Builds everything that the client sends.
fn request(endpoint: &str, token: &str) -> Vec<u8> {
    let [a, b, c, d] = WINDOW_MAX.to_be_bytes();
    let headers: Vec<u8> = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/conclave.v1.LiveService/Subscribe"),
        (":authority", endpoint),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &format!("Bearer {token}")),
    ]
    .into_iter()
    .flat_map(|(name, value)| header(name, value))
    .collect();
    [
        PREFACE.to_vec(),
        frame(SETTINGS, 0, 0, &[0, INITIAL_WINDOW_SIZE, a, b, c, d]),
        frame(
            WINDOW_UPDATE,
            0,
            0,
            &(WINDOW_MAX - WINDOW_FIRST).to_be_bytes(),
        ),
        frame(HEADERS, END_HEADERS, 1, &headers),
        frame(DATA, END_STREAM, 1, SUBSCRIBE),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Encodes a header that no table has, in its simplest form.
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![0];
    for text in [name, value] {
        let length = u8::try_from(text.len()).expect("a header is short");
        assert!(length < 127, "a longer text has a longer form");
        header.push(length);
        header.extend(text.as_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_kind_flags_and_stream_in_front() {
        let expected = [0, 0, 2, DATA, END_STREAM, 0, 0, 0, 1, 7, 8];
        assert_eq!(frame(DATA, END_STREAM, 1, &[7, 8]), expected);
        assert_eq!(header("te", "x"), [0, 2, b't', b'e', 1, b'x']);
    }
}
