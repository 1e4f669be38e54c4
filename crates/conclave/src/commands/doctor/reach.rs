//! Tries to reach the ports of nodes from this machine.

use std::time::Duration;

use conclave_client::v1;
use futures::future::join_all;
use tokio::{net::TcpStream, time::timeout};

use super::findings::{Findings, Level};
use crate::output;

/// Time for one connection: a packet may be lost and sent again.
const REACH_LIMIT: Duration = Duration::from_secs(3);

/// Adds a finding for the client address of each node, and with `peers` for its peer address.
pub(super) async fn examine(
    status: &v1::GetClusterStatusResponse,
    peers: bool,
    findings: &mut Findings,
) {
    let mut ports = Vec::new();
    for node in &status.nodes {
        ports.push((node, "clients", &node.client_address));
        if peers {
            ports.push((node, "peers", &node.peer_address));
        }
    }
    // A partial status has no addresses.
    ports.retain(|(_, _, address)| !address.is_empty());
    let tried = ports.into_iter().map(async |(node, whose, address)| {
        let connected = timeout(REACH_LIMIT, TcpStream::connect(address.as_str())).await;
        let why = match connected {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", REACH_LIMIT.as_secs())),
        };
        (node.node_id, whose, address, why)
    });
    for (node, whose, address, why) in join_all(tried).await {
        let subject = format!("node {node}");
        let address = output::clean(address);
        match why {
            None => findings.well(
                "ports",
                &subject,
                format!("its port for {whose} at {address} is reached from here"),
            ),
            Some(why) => findings.add(
                "ports",
                Level::Warning,
                &subject,
                format!("its port for {whose} at {address} is not reached from here: {why}"),
                "start the node, open the port in its firewall, or correct its address",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn ports_that_are_reached_are_told_from_those_that_are_not() {
        let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed_at = closed.local_addr().unwrap().to_string();
        drop(closed);
        let node = v1::NodeStatus {
            node_id: 1,
            client_address: open.local_addr().unwrap().to_string(),
            peer_address: closed_at,
            ..Default::default()
        };
        let status = v1::GetClusterStatusResponse {
            nodes: vec![node, v1::NodeStatus::default()],
            ..Default::default()
        };
        let mut findings = Findings::default();
        examine(&status, true, &mut findings).await;
        let levels: Vec<Level> = findings.0.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Well, Level::Warning]);
        let mut findings = Findings::default();
        examine(&status, false, &mut findings).await;
        assert_eq!(findings.0.len(), 1);
    }
}
