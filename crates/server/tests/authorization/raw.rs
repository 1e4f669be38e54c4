//! A client that knows no types: it sends bytes, and returns the bytes of the first answer.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// Maximum time for anything, exceeded only if the machine is unwell.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the first answer to a call; a stream is closed after it.
pub(crate) async fn call(
    channel: Channel,
    path: &str,
    request: Vec<u8>,
    authorization: Option<&str>,
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let mut request = Request::new(Bytes::from(request));
    if let Some(header) = authorization {
        let header = header.parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    let path = PathAndQuery::try_from(path).unwrap();
    let asked = async {
        let answers = grpc.server_streaming(request, path, Raw).await?;
        answers.into_inner().message().await
    };
    let answer = timeout(PATIENCE, asked).await.expect("it is answered")?;
    answer.ok_or_else(|| Status::unknown("no answer"))
}

/// Returns everything that a refusal contains, but for its time.
pub(crate) fn content(status: &Status) -> (Code, String, Vec<u8>, Vec<String>) {
    let mut headers = status.metadata().clone().into_headers();
    headers.remove("date");
    let headers = headers.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    let message = status.message().to_owned();
    (status.code(), message, status.details().to_vec(), headers)
}

/// A codec for messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
