//! HTTP/2 by hand: no proper client can be made to misbehave.

/// The bytes with which a client begins HTTP/2.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Flags of frames.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// The setting of the window with which streams begin.
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The reason of a reset: the caller does not want the answer any more.
const CANCEL: u32 = 8;

/// A frame of HTTP/2. Streams of clients have odd numbers.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// Part of a body; the flag says whether it is the last part.
    Data(u32, &'a [u8], bool),
    /// All headers of a request; the flag says whether the request has no body.
    Headers(u32, &'a [u8], bool),
    /// The first headers of a request that go on in other frames.
    OpenHeaders(u32, &'a [u8]),
    /// More headers; the flag says whether they are the last.
    Continuation(u32, &'a [u8], bool),
    /// The end of a stream that was not answered yet.
    Reset(u32),
    /// No change of any setting.
    Settings,
    /// The answer to the settings of the node.
    SettingsAck,
    /// The window with which the streams of answers begin.
    Window(u32),
    /// A question that must be answered.
    Ping,
    /// More room for answers; stream 0 is the whole connection.
    WindowUpdate(u32, u32),
}

impl Frame<'_> {
    /// Returns the bytes of this frame.
    ///
    /// # Panics
    /// If the payload has 16 MiB or more.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        match self {
            Self::Data(stream, bytes, end) => frame(0, flag(end, END_STREAM), stream, bytes),
            Self::Headers(stream, block, end) => {
                frame(1, END_HEADERS | flag(end, END_STREAM), stream, block)
            }
            Self::OpenHeaders(stream, block) => frame(1, 0, stream, block),
            Self::Reset(stream) => frame(3, 0, stream, &CANCEL.to_be_bytes()),
            Self::Settings => frame(4, 0, 0, &[]),
            Self::SettingsAck => frame(4, ACK, 0, &[]),
            Self::Window(size) => {
                let setting = INITIAL_WINDOW_SIZE.to_be_bytes();
                frame(4, 0, 0, &[&setting[..], &size.to_be_bytes()].concat())
            }
            Self::Ping => frame(6, 0, 0, &[0; 8]),
            Self::WindowUpdate(stream, more) => frame(8, 0, stream, &more.to_be_bytes()),
            Self::Continuation(stream, block, end) => {
                frame(9, flag(end, END_HEADERS), stream, block)
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short");
    assert!(length < 1 << 24, "a frame is short");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a gRPC call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// As `/conclave.v1.ChatService/SendMessage`.
    pub path: &'a str,
    /// The session of the caller, if it has one.
    pub token: Option<&'a str>,
}

impl Request<'_> {
    /// Returns the block of headers.
    #[must_use]
    pub fn headers(&self) -> Vec<u8> {
        let mut block = header_block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", self.path),
            (":authority", "conclave"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]);
        if let Some(token) = self.token {
            block.extend(header_block(&[(
                "authorization",
                &format!("Bearer {token}"),
            )]));
        }
        block
    }
}

/// Returns headers in the plainest form that HPACK has: no table, no compression.
///
/// # Panics
/// If a name or value has 127 bytes or more.
#[must_use]
pub fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).expect("a header is short");
            assert!(length < 127, "a longer text has a longer form");
            block.push(length);
            block.extend(text.as_bytes());
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_kind_flags_and_stream() {
        let data = Frame::Data(5, b"abc", true).bytes();
        assert_eq!(data, [0, 0, 3, 0, 1, 0, 0, 0, 5, b'a', b'b', b'c']);
        let window = Frame::Window(0).bytes();
        assert_eq!(window, [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        assert_eq!(header_block(&[("a", "bc")]), [0, 1, b'a', 2, b'b', b'c']);
    }
}
