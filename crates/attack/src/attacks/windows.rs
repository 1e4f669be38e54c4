//! Callers that ask and do not read: the window of every stream is closed.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, sleep, timeout_at},
};

use super::crowd::{Member, crowd};
use crate::{Bounds, Frame, PREFACE, Port, Tally, Target, header_block};

/// Requests on one connection.
const STREAMS: usize = 100;
/// Between two lots of requests on one connection: what was refused is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks, with a closed window, for what a call answers; `body` is the request as bytes.
pub(super) async fn closed(
    target: Arc<Target>,
    bounds: Bounds,
    path: &'static str,
    body: &[u8],
    token: Option<&str>,
) -> Tally {
    let mut message = vec![0];
    message.extend(u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
    message.extend(body);
    let message: Arc<[u8]> = message.into();
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut block = header_block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "conclave"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "5S"),
    ]);
    if let Some(authorization) = &authorization {
        block.extend(header_block(&[("authorization", authorization)]));
    }
    let block: Arc<[u8]> = block.into();
    let addresses = target.addresses(Port::Client).to_vec();
    let connections = bounds.count.div_ceil(STREAMS);
    let act = move |member: Member| {
        let (message, block) = (message.clone(), block.clone());
        async move {
            let mut wire = member.open().await?;
            let begin = [
                PREFACE,
                &Frame::Window(0).bytes(),
                &Frame::SettingsAck.bytes(),
            ];
            wire.write_all(&begin.concat()).await.ok()?;
            let asking = async {
                for round in 0.. {
                    let mut requests = Vec::new();
                    for number in 0..STREAMS {
                        let number = u32::try_from(number).expect("there are few");
                        let stream = 2 * (100 * round + number) + 1;
                        requests.extend(Frame::Headers(stream, &block, false).bytes());
                        requests.extend(Frame::Data(stream, &message, true).bytes());
                    }
                    if wire.write_all(&requests).await.is_err() || Instant::now() >= member.until {
                        return;
                    }
                    sleep(AGAIN).await;
                }
            };
            let cut = timeout_at(member.until, asking).await.is_ok();
            Some(Tally {
                opened: 1,
                failed: 0,
                cut: usize::from(cut),
            })
        }
    };
    crowd(target, addresses, connections, bounds, act).await
}
