//! Tests of transfers that break, are damaged, or meet a full disk: never a wrong file, always a
//! later success.

use std::{fs, os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use conclave_wire::peer::{self, InstallSnapshotRequest, install_snapshot_request::Part};
use futures::{StreamExt as _, stream};
use tonic::{Code, Status};

use super::{
    Received, Receiver, Transfers,
    chunk::{CHUNK_BYTES, ENCODINGS},
    partial::KEEP,
    progress::Direction,
    rate_limiter::RateLimiter,
    send::Chunks,
};

/// Number of chunks of the snapshot in these tests; the last is a short one.
const CHUNKS: usize = 21;
/// Number of the node that sends.
const SENDER: u64 = 1;

/// A file, and a receiver for it.
struct World {
    directory: tempfile::TempDir,
    content: Vec<u8>,
    receiver: Receiver,
}

/// Bytes that were sent in one attempt, and its outcome.
struct Attempt {
    sent_bytes: u64,
    outcome: Result<Received, Status>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        let mut content = vec![0; (CHUNKS - 1) * CHUNK_BYTES + 1000];
        // Every second chunk cannot be packed.
        for chunk in content.chunks_mut(2 * CHUNK_BYTES) {
            let half = chunk.len() / 2;
            blake3::Hasher::new()
                .finalize_xof()
                .fill(&mut chunk[..half]);
        }
        let receiver = Receiver::new(directory.path().join("in"), Transfers::default());
        let world = Self {
            directory,
            content,
            receiver,
        };
        fs::write(world.source(), &world.content).unwrap();
        world
    }

    fn source(&self) -> std::path::PathBuf {
        self.directory.path().join("source")
    }

    fn inbox(&self) -> std::path::PathBuf {
        self.directory.path().join("in")
    }

    /// Ends the receiver's process and starts it again.
    fn restart(&mut self) {
        self.receiver = Receiver::new(self.inbox(), Transfers::default());
    }

    fn header(&self, first_offset: u64) -> peer::SnapshotHeader {
        peer::SnapshotHeader {
            bytes: self.content.len() as u64,
            blake3: blake3::hash(&self.content).as_bytes().to_vec().into(),
            first_offset,
            ..Default::default()
        }
    }

    fn stored(&self) -> Result<u64, Status> {
        let header = self.header(0);
        let asked = peer::GetSnapshotProgressRequest {
            envelope: None,
            bytes: header.bytes,
            blake3: header.blake3,
        };
        let told = self.receiver.progress(&asked)?;
        assert_eq!(told.encodings, ENCODINGS.map(i32::from));
        Ok(told.stored_bytes)
    }

    /// Returns what a sender would send from `offset` on.
    async fn parts(&self, offset: u64) -> Vec<InstallSnapshotRequest> {
        let mut file = fs::File::open(self.source()).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).unwrap();
        let moving = Transfers::default().begin(Direction::Out, 2, 1, 0);
        let chunks = Chunks {
            file,
            offset,
            encodings: ENCODINGS.map(i32::from).to_vec(),
            pace: Arc::new(RateLimiter::new(0)),
            moving: Arc::new(moving),
        };
        chunks.stream().collect().await
    }

    async fn receive(
        &self,
        offset: u64,
        parts: Vec<Result<InstallSnapshotRequest, Status>>,
    ) -> Result<Received, Status> {
        let header = self.header(offset);
        let parts = stream::iter(parts);
        self.receiver.receive(SENDER, &header, parts).await
    }

    /// Makes one attempt, which breaks after so many chunks.
    async fn attempt(&self, breaks_after: usize) -> Attempt {
        let offset = self.stored().unwrap();
        let parts = self.parts(offset).await;
        let broken = breaks_after < parts.len();
        let sent: Vec<_> = parts.into_iter().take(breaks_after).collect();
        let sent_bytes = sent.iter().map(raw_bytes).sum();
        let end = broken.then(|| Err(Status::unavailable("broken")));
        let parts = sent.into_iter().map(Ok).chain(end).collect();
        let outcome = self.receive(offset, parts).await;
        Attempt {
            sent_bytes,
            outcome,
        }
    }

    /// Makes a whole attempt, which succeeds and gives the right file whatever has happened before.
    async fn succeeds(&self) -> u64 {
        let attempt = self.attempt(usize::MAX).await;
        self.is_right(&attempt.outcome.unwrap());
        attempt.sent_bytes
    }

    fn is_right(&self, received: &Received) {
        assert!(fs::read(received.file()).unwrap() == self.content);
    }
}

fn chunk_of(part: &InstallSnapshotRequest) -> &peer::SnapshotChunk {
    match part.part.as_ref().unwrap() {
        Part::Chunk(chunk) => chunk,
        Part::Header(_) => panic!("a header"),
    }
}

fn raw_bytes(part: &InstallSnapshotRequest) -> u64 {
    u64::from(chunk_of(part).raw_bytes)
}

fn with_chunk(chunk: peer::SnapshotChunk) -> InstallSnapshotRequest {
    InstallSnapshotRequest {
        part: Some(Part::Chunk(chunk)),
    }
}

fn code(outcome: Result<Received, Status>) -> Code {
    outcome.unwrap_err().code()
}

#[tokio::test]
async fn after_a_break_at_any_of_twenty_points_only_the_rest_is_sent() {
    for point in 1..CHUNKS {
        for restarts in [false, true] {
            let mut world = World::new();
            let broken = world.attempt(point).await;
            assert_eq!(code(broken.outcome), Code::Unavailable);
            assert_eq!(broken.sent_bytes, (point * CHUNK_BYTES) as u64);
            if restarts {
                world.restart();
            }
            let rest = world.content.len() as u64 - broken.sent_bytes;
            assert_eq!(world.succeeds().await, rest, "broken after {point}");
        }
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_repeatedly_still_completes() {
    let mut world = World::new();
    let mut sent_bytes = 0;
    for _ in 1..CHUNKS {
        let broken = world.attempt(1).await;
        sent_bytes += broken.sent_bytes;
        assert!(broken.outcome.is_err());
        world.restart();
    }
    sent_bytes += world.succeeds().await;
    assert_eq!(sent_bytes, world.content.len() as u64, "nothing twice");
}

#[tokio::test]
async fn a_corrupted_chunk_is_refused_and_earlier_chunks_stay() {
    for point in [0, 1, 7, CHUNKS - 1] {
        let world = World::new();
        let mut parts = world.parts(0).await;
        let mut chunk = chunk_of(&parts[point]).clone();
        let mut data = chunk.data.to_vec();
        let middle = data.len() / 2;
        data[middle] ^= 0x10;
        chunk.data = data.into();
        parts[point] = with_chunk(chunk);
        let outcome = world.receive(0, parts.into_iter().map(Ok).collect()).await;
        // Either the chunk is refused at once, or the flipped bit does not change what it unpacks
        // to.
        if let Ok(received) = outcome {
            world.is_right(&received);
            continue;
        }
        assert_eq!(world.stored().unwrap(), (point * CHUNK_BYTES) as u64);
        world.succeeds().await;
    }
}

#[tokio::test]
async fn misplaced_chunks_and_incomplete_streams_are_refused() {
    let world = World::new();
    let parts = world.parts(0).await;
    let send = async |parts: Vec<InstallSnapshotRequest>| {
        code(world.receive(0, parts.into_iter().map(Ok).collect()).await)
    };
    let invalid = Code::InvalidArgument;
    assert_eq!(send(parts[..5].to_vec()).await, invalid, "no end");
    assert_eq!(send(parts[1..].to_vec()).await, invalid, "no beginning");
    let twice = [&parts[..2], &parts[1..]].concat();
    assert_eq!(send(twice).await, invalid, "a chunk twice");
    let longer = [&parts[..], &parts[..1]].concat();
    assert_eq!(send(longer).await, invalid, "too long");
    let header = InstallSnapshotRequest {
        part: Some(Part::Header(world.header(0))),
    };
    assert_eq!(send(vec![header]).await, invalid, "a second header");
    let beyond = world.content.len() as u64 + 1;
    assert_eq!(code(world.receive(beyond, Vec::new()).await), Code::Aborted);
    world.succeeds().await;
}

#[tokio::test]
async fn a_received_decompression_bomb_is_refused() {
    let world = World::new();
    let bomb = peer::SnapshotChunk {
        offset: 0,
        data: lz4_flex::compress(&vec![0; 64 << 20]).into(),
        crc32c: crc32c::crc32c(&[]),
        encoding: peer::ChunkEncoding::Lz4.into(),
        raw_bytes: 64 << 20,
    };
    let outcome = world.receive(0, vec![Ok(with_chunk(bomb))]).await;
    assert_eq!(code(outcome), Code::InvalidArgument);
    assert_eq!(world.stored().unwrap(), 0);
    world.succeeds().await;
}

#[tokio::test]
async fn another_snapshot_replaces_a_partial_snapshot() {
    let mut world = World::new();
    assert!(world.attempt(7).await.outcome.is_err());
    let old = world.content.clone();
    world.content.reverse();
    fs::write(world.source(), &world.content).unwrap();
    assert_eq!(world.stored().unwrap(), 0, "it is another one");
    assert!(world.attempt(3).await.outcome.is_err());
    world.content = old;
    fs::write(world.source(), &world.content).unwrap();
    assert_eq!(world.stored().unwrap(), 0, "the first is forgotten");
    let all = world.content.len() as u64;
    assert_eq!(world.succeeds().await, all);
}

#[tokio::test]
async fn rotten_stored_bytes_are_discarded_without_blaming_the_sender() {
    let mut world = World::new();
    assert!(world.attempt(7).await.outcome.is_err());
    let file = world.inbox().join("receive.db");
    let mut stored = fs::read(&file).unwrap();
    stored[CHUNK_BYTES] ^= 1;
    fs::write(&file, stored).unwrap();
    world.restart();
    assert_eq!(code(world.attempt(usize::MAX).await.outcome), Code::Aborted);
    assert_eq!(world.stored().unwrap(), 0);
    world.succeeds().await;
}

#[tokio::test]
async fn a_sender_with_a_corrupted_file_gets_data_loss() {
    let world = World::new();
    let mut rotten = world.content.clone();
    rotten[5] ^= 1;
    fs::write(world.source(), rotten).unwrap();
    assert_eq!(
        code(world.attempt(usize::MAX).await.outcome),
        Code::DataLoss
    );
    assert_eq!(world.stored().unwrap(), 0);
    fs::write(world.source(), &world.content).unwrap();
    world.succeeds().await;
}

#[tokio::test]
async fn a_full_disk_is_reported_and_partial_files_are_removed() {
    let world = World::new();
    let file = world.inbox().join("receive.db");
    // All writes to this file meet a full disk.
    symlink("/dev/full", &file).unwrap();
    let note = serde_json::json!({
        "bytes": world.content.len(),
        "blake3": blake3::hash(&world.content).to_hex().as_str(),
    });
    fs::write(world.inbox().join("receive.json"), note.to_string()).unwrap();
    let full = world.attempt(usize::MAX).await.outcome;
    assert_eq!(code(full), Code::ResourceExhausted);
    assert!(is_empty(&world.inbox()), "the log needs the room");
    world.succeeds().await;
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_is_refused_before_its_transfer() {
    let world = World::new();
    let mut header = world.header(0);
    header.bytes = u64::MAX / 2;
    let asked = peer::GetSnapshotProgressRequest {
        envelope: None,
        bytes: header.bytes,
        blake3: header.blake3.clone(),
    };
    let refused = world.receiver.progress(&asked).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let parts = stream::iter(Vec::new());
    let refused = world.receiver.receive(SENDER, &header, parts).await;
    assert_eq!(code(refused), Code::ResourceExhausted);
    assert!(is_empty(&world.inbox()));
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[tokio::test]
async fn a_newer_transfer_replaces_a_transfer_with_a_silent_sender() {
    let world = World::new();
    let parts = world.parts(0).await.into_iter().take(4).map(Ok);
    let silent = stream::iter(parts).chain(stream::pending());
    let header = world.header(0);
    let older = world.receiver.receive(SENDER, &header, silent);
    let newer = async {
        while world.stored().unwrap() < 4 * CHUNK_BYTES as u64 {
            tokio::task::yield_now().await;
        }
        world.succeeds().await
    };
    let (older, sent_bytes) = tokio::join!(older, newer);
    assert_eq!(code(older), Code::Aborted);
    assert!(sent_bytes < world.content.len() as u64);
}

#[tokio::test]
async fn stale_partial_snapshots_are_removed_at_start() {
    let mut world = World::new();
    let file = world.inbox().join("receive.db");
    assert!(world.attempt(7).await.outcome.is_err());
    world.restart();
    assert!(world.stored().unwrap() > 0, "it is fresh");
    let stored = fs::File::options().write(true).open(&file).unwrap();
    let old = stored.metadata().unwrap().modified().unwrap() - KEEP - Duration::from_secs(1);
    stored.set_modified(old).unwrap();
    world.restart();
    assert!(is_empty(&world.inbox()), "it is old");
    fs::write(&file, "bytes of unknown origin").unwrap();
    world.restart();
    assert!(is_empty(&world.inbox()), "it has no note");
    assert!(world.attempt(7).await.outcome.is_err());
    fs::write(world.inbox().join("receive.json"), "{\"bytes\":").unwrap();
    world.restart();
    assert!(is_empty(&world.inbox()), "its note is half of one");
}
