//! Backups of one node as it streams them: one at a time, whole, at a rate, and freed by a caller
//! that goes away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod people;

use std::{fs, path::Path, time::Duration};

use conclave_server::{Node, NodeConfig, OPERATOR_FILE, check_backup};
use conclave_wire::{
    OperatorCredential, Problem,
    v1::{self, backup_service_client::BackupServiceClient},
};
use tokio::time::{Instant, timeout};
use tonic::{Request, Status, Streaming, transport::Channel};

use people::{PATIENCE, until};

/// Maximum time for a node to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A node and a client of its operator.
struct World {
    node: Node,
    operator: OperatorCredential,
    client: BackupServiceClient<Channel>,
    data: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            plain: true,
            data: data.path().to_owned(),
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            unsafe_no_sync: true,
            ..NodeConfig::default()
        };
        let node = Node::start(config).await.unwrap();
        let file = data.path().join(OPERATOR_FILE);
        let operator =
            until(async || OperatorCredential::from_text(&fs::read_to_string(&file).ok()?)).await;
        let endpoint = Channel::from_shared(format!("http://{}", node.client_address())).unwrap();
        Self {
            client: BackupServiceClient::new(endpoint.connect().await.unwrap()),
            node,
            operator,
            data,
        }
    }

    async fn take(
        &self,
        bytes_per_second: u64,
    ) -> Result<Streaming<v1::TakeBackupResponse>, Status> {
        let mut request = Request::new(v1::TakeBackupRequest {
            read: None,
            bytes_per_second,
        });
        let header = self.operator.to_header().parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        let answer = self.client.clone().take_backup(request).await?;
        Ok(answer.into_inner())
    }

    /// Returns all of a backup; waits for the place.
    async fn whole(&self) -> Vec<u8> {
        let mut stream = until(async || self.take(0).await.ok()).await;
        let (mut file, mut done) = (Vec::new(), 0);
        while let Some(part) = timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
            assert!(part.bytes_done >= done && part.data.len() <= 300 * 1024);
            done = part.bytes_done;
            file.extend_from_slice(&part.data);
        }
        file
    }
}

fn snapshots(data: &Path) -> Vec<String> {
    let names = fs::read_dir(data.join("snapshots")).unwrap();
    let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_backup_is_whole_and_leaves_nothing_behind() {
    let world = World::start().await;
    let first = world.whole().await;
    let head = check_backup(&first[..], &mut |_, _| {}).unwrap();
    assert_eq!(head.rows_of("operators"), 1);
    assert_eq!(head.node, 1);
    assert!(
        head.last.index > 0 && head.made_at_ms > 1_700_000_000_000,
        "{head:?}"
    );
    // The same state again has the same digest, and a bit less of the stream is none. A new node
    // writes some entries of its own.
    let (one, next) = until(async || {
        let one = check_backup(&world.whole().await[..], &mut |_, _| {}).unwrap();
        let next = check_backup(&world.whole().await[..], &mut |_, _| {}).unwrap();
        (one.last == next.last).then_some((one, next))
    })
    .await;
    assert_eq!(one.digest, next.digest);
    assert!(check_backup(&first[..first.len() - 1], &mut |_, _| {}).is_err());
    assert_eq!(snapshots(world.data.path()), Vec::<String>::new());
    world.node.stop(STOP_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_is_busy_until_the_first_caller_leaves() {
    let world = World::start().await;
    // At the least rate there is, a backup of a new node takes seconds.
    let mut slow = world.take(1).await.unwrap();
    until(async || {
        let part = slow.message().await.unwrap().expect("it goes on");
        (part.bytes_total > 0).then_some(())
    })
    .await;
    let refused = world.take(0).await.unwrap_err();
    assert_eq!(Problem::from_status(&refused), Some(Problem::Busy));
    drop(slow);
    check_backup(&world.whole().await[..], &mut |_, _| {}).unwrap();
    world.node.stop(STOP_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_bounds_the_stream_and_a_stop_ends_it() {
    let world = World::start().await;
    let mut stream = world.take(8 * 1024).await.unwrap();
    let (mut bytes, mut began) = (0, None);
    while bytes < 4 * 1024 {
        let part = stream.message().await.unwrap().expect("it goes on");
        if part.bytes_total > 0 {
            began.get_or_insert_with(Instant::now);
        }
        bytes += part.data.len();
    }
    // Steps of an eighth of a second: the first and the last one need not have passed.
    let took = began.unwrap().elapsed();
    assert!(
        took >= Duration::from_millis(250),
        "{bytes} bytes in {took:?}"
    );
    let stopping = world.node.stop(STOP_LIMIT);
    let ending = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ends without an error, and is not whole"),
                Err(status) => return status,
            }
        }
    };
    let ((), status) = timeout(PATIENCE, async { tokio::join!(stopping, ending) })
        .await
        .expect("it ends");
    assert_eq!(Problem::from_status(&status), Some(Problem::GoingAway));
}
