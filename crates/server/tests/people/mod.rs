//! A node of its own and people who use it, for tests of accounts and log-ins.

#![allow(dead_code, reason = "each test uses a part")]

use std::{net::Ipv4Addr, time::Duration};

use conclave_server::{Node, NodeConfig, Registration};
use conclave_wire::{
    Problem,
    v1::{
        self, account_service_client::AccountServiceClient,
        admin_service_client::AdminServiceClient, create_account_request::Grant,
        session_service_client::SessionServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::{Request, Status, transport::Channel};

/// Maximum time for anything, exceeded only if the machine is unwell.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
pub(crate) const PASSWORD: &str = "correct horse";

/// A node of its own, and a client of it.
pub(crate) struct World {
    pub(crate) node: Node,
    _data: tempfile::TempDir,
    pub(crate) channel: Channel,
    /// Last request id or number.
    pub(crate) number: u64,
}

/// An account with a session.
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) session: u64,
}

impl World {
    pub(crate) async fn start(registration: Registration) -> Self {
        let config = NodeConfig {
            client_address: "127.0.0.1:0".to_owned(),
            peer_address: "127.0.0.1:0".to_owned(),
            registration: Some(registration),
            ..NodeConfig::default()
        };
        Self::of(config).await
    }

    /// Starts a node with these settings, in a directory of its own.
    pub(crate) async fn of(config: NodeConfig) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = NodeConfig {
            plain: true,
            data: data.path().to_owned(),
            unsafe_no_sync: true,
            ..config
        };
        let node = Node::start(config).await.unwrap();
        node.ready().await;
        let address = format!("http://{}", node.client_address());
        let endpoint = Channel::from_shared(address).unwrap();
        let channel = endpoint.connect().await.unwrap();
        Self {
            node,
            _data: data,
            channel,
            number: 0,
        }
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel.clone())
    }

    pub(crate) fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// Returns a new request number.
    pub(crate) fn number(&mut self) -> Option<v1::RequestId> {
        self.number += 1;
        Some(v1::RequestId {
            number: self.number,
            nonce: 1,
        })
    }

    pub(crate) fn request_id(&mut self) -> Vec<u8> {
        self.number += 1;
        u128::from(self.number).to_be_bytes().to_vec()
    }

    pub(crate) async fn setup_token(&self) -> String {
        let mut tokens = self.node.setup_tokens();
        let token = timeout(PATIENCE, tokens.wait_for(Option::is_some)).await;
        token.unwrap().unwrap().clone().unwrap()
    }

    /// Returns a channel from another address of this machine.
    pub(crate) async fn from(&self, host: u8) -> Channel {
        let address = format!("http://{}", self.node.client_address());
        let elsewhere = Channel::from_shared(address).unwrap();
        let elsewhere = elsewhere.local_address(Some(Ipv4Addr::new(127, 0, 0, host).into()));
        elsewhere.connect().await.unwrap()
    }

    /// Creates an account as `by`, or without a session.
    pub(crate) async fn create(
        &self,
        name: &str,
        grant: Option<Grant>,
        by: Option<&Person>,
    ) -> Result<u64, String> {
        let request = v1::CreateAccountRequest {
            name: name.to_owned(),
            password: PASSWORD.to_owned(),
            grant,
            ..Default::default()
        };
        let request = match by {
            Some(person) => person.ask(request),
            None => Request::new(request),
        };
        let created = self.accounts().create_account(request).await;
        created
            .map(|created| created.into_inner().id)
            .map_err(reason)
    }

    pub(crate) async fn try_login(
        &self,
        id: &[u8],
        name: &str,
        password: &str,
    ) -> Result<Person, Problem> {
        let login = v1::OpenSessionRequest {
            request_id: id.to_vec().into(),
            name: name.to_owned(),
            password: password.to_owned(),
            label: format!("{name}'s"),
            ..Default::default()
        };
        let opened = self.sessions().open_session(login).await;
        let opened = opened
            .map_err(|status| Problem::from_status(&status).unwrap())?
            .into_inner();
        Ok(Person {
            token: opened.token,
            session: opened.session_id,
        })
    }

    pub(crate) async fn login(&mut self, name: &str) -> Person {
        let id = self.request_id();
        self.try_login(&id, name, PASSWORD).await.unwrap()
    }

    /// Creates an administrator with the setup token.
    pub(crate) async fn administrator(&mut self, name: &str) -> Person {
        let token = self.setup_token().await;
        let created = self
            .create(name, Some(Grant::SetupToken(token)), None)
            .await;
        created.unwrap();
        self.login(name).await
    }
}

impl Person {
    pub(crate) fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let header = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        request
    }
}

/// Looks again and again, until there is something; returns that.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            match look().await {
                Some(seen) => return seen,
                None => sleep(LOOK_INTERVAL).await,
            }
        }
    };
    timeout(PATIENCE, seen).await.expect("it is so in time")
}

/// Returns the value of a metric; `name` has its labels. The node has an admin port.
pub(crate) async fn metric(world: &World, name: &str) -> u64 {
    let address = world.node.admin_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
    line.trim().parse().unwrap()
}

pub(crate) fn reason(status: Status) -> String {
    let problem = Problem::from_status(&status);
    problem
        .unwrap_or_else(|| panic!("{status}"))
        .reason()
        .name()
        .to_owned()
}
