//! Sets up accounts, rooms and messages before any caller is tried: see [`Caller`].

use std::{collections::HashMap, fs, path::Path, sync::Arc, time::Duration};

use conclave_server::{IdentityError, LogControl, Node, NodeConfig, OPERATOR_FILE, StartError};
use conclave_wire::{
    OperatorCredential,
    v1::{
        self, account_service_client::AccountServiceClient,
        admin_service_client::AdminServiceClient, create_account_request::Grant,
        send_message_request::To, session_service_client::SessionServiceClient,
    },
};
use tokio::{
    runtime::Runtime,
    time::{sleep, timeout},
};
use tonic::{Request, transport::Channel};

use crate::{
    raw::PATIENCE,
    world::{Caller, PASSWORD, Person, SECRET, World, connect},
};

/// Time between two looks whether a file exists.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

async fn log_in(channel: &Channel, name: &str) -> Person {
    let login = v1::OpenSessionRequest {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        ..Default::default()
    };
    let mut sessions = SessionServiceClient::new(channel.clone());
    let opened = sessions.open_session(login).await.unwrap().into_inner();
    Person {
        token: opened.token,
        session: opened.session_id,
        number: 0,
    }
}

fn account(name: &str, grant: Option<Grant>) -> v1::CreateAccountRequest {
    v1::CreateAccountRequest {
        name: name.to_owned(),
        password: PASSWORD.to_owned(),
        grant,
        ..Default::default()
    }
}

/// Creates all accounts, on a node whose clock is right, and the sessions that expire. The node has
/// ended then, and has released its directory.
pub(crate) async fn before_the_sessions_run_out(config: NodeConfig) -> HashMap<Caller, Person> {
    // The last of a node's tasks ends only with its runtime.
    let apart = move || Runtime::new().unwrap().block_on(make_accounts(config));
    tokio::task::spawn_blocking(apart).await.unwrap()
}

/// Waits until the node has written the credential of the first operator and returns it.
pub(crate) async fn operator(data: &Path) -> OperatorCredential {
    let file = data.join(OPERATOR_FILE);
    let written = async {
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if let Some(credential) = OperatorCredential::from_text(&text) {
                return credential;
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    timeout(PATIENCE, written).await.expect("it is written")
}

async fn make_accounts(config: NodeConfig) -> HashMap<Caller, Person> {
    let node = Node::start(config).await.unwrap();
    node.ready().await;
    let mut tokens = node.setup_tokens();
    let token = timeout(PATIENCE, tokens.wait_for(Option::is_some)).await;
    let token = token.unwrap().unwrap().clone();
    let channel = connect(node.client_address()).await;
    let mut accounts = AccountServiceClient::new(channel.clone());
    let setup = account("root", token.map(Grant::SetupToken));
    accounts.create_account(setup).await.unwrap();
    let root = log_in(&channel, "root").await;
    let names = Caller::PEOPLE.iter().map(|(_, name)| *name);
    for name in names.chain(["eric"]) {
        let mut request = Request::new(account(name, None));
        let header = format!("Bearer {}", root.token).parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        accounts.create_account(request).await.unwrap();
    }
    let mut bot = Request::new(v1::CreateBotRequest {
        request: Some(v1::RequestId {
            number: 1,
            nonce: 1,
        }),
        name: "robot".to_owned(),
        ..Default::default()
    });
    let header = format!("Bearer {}", root.token).parse().unwrap();
    bot.metadata_mut().insert("authorization", header);
    let mut admins = AdminServiceClient::new(channel);
    let bot = Person {
        token: admins.create_bot(bot).await.unwrap().into_inner().token,
        session: 0,
        number: 0,
    };
    node.stop(PATIENCE).await;
    let root = Person { number: 1, ..root };
    HashMap::from([(Caller::Expired, root), (Caller::Program, bot)])
}

/// A log with one filter: what a call may say, not what is logged, is tried here.
struct OneFilter;

impl LogControl for OneFilter {
    fn filter(&self) -> String {
        "info".to_owned()
    }

    fn set_filter(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// Starts a node where another one has stopped; the last tasks of that one may still hold the
/// directory.
pub(crate) async fn start_again(config: NodeConfig) -> Node {
    let started = async {
        loop {
            match Node::start(config.clone()).await {
                Ok(node) => return node,
                Err(StartError::Identity(IdentityError::InUse { .. })) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    let node = timeout(PATIENCE, started)
        .await
        .expect("the directory is free");
    node.set_log_control(Arc::new(OneFilter));
    node.ready().await;
    node
}

impl World {
    pub(crate) async fn populate(&mut self) {
        let root = log_in(&self.clients, "root").await;
        self.people.insert(Caller::Admin, root);
        let () = self
            .ask(Caller::Admin, "AdminService/SetAccountRole", |request| {
                v1::SetAccountRoleRequest {
                    request,
                    name: "adam".to_owned(),
                    role: v1::AccountRole::Admin.into(),
                }
            })
            .await;
        for (caller, name) in Caller::PEOPLE {
            let person = log_in(&self.clients, name).await;
            self.people.insert(caller, person);
        }
        self.end_sessions().await;
        self.furnish().await;
        self.quarrel().await;
        let made: v1::CreateInviteResponse = self
            .ask(Caller::Admin, "AdminService/CreateInvite", |request| {
                v1::CreateInviteRequest {
                    request,
                    ..Default::default()
                }
            })
            .await;
        self.invite = made.invite_id;
        self.other_session = log_in(&self.clients, "alice").await.session;
        let mut stream = self
            .subscribe(Caller::Owner, Default::default())
            .await
            .unwrap();
        stream.message().await.unwrap();
        self.stream = Some(stream);
    }

    /// Ends sessions in every way in which one ends before its time.
    async fn end_sessions(&mut self) {
        let () = self
            .ask(Caller::Closed, "SessionService/CloseSession", |request| {
                v1::CloseSessionRequest { request }
            })
            .await;
        let () = self
            .ask(Caller::Gone, "AccountService/DeleteAccount", |request| {
                v1::DeleteAccountRequest {
                    request,
                    password: PASSWORD.to_owned(),
                }
            })
            .await;
        let here = log_in(&self.clients, "uri").await;
        let there = self.people.insert(Caller::Ended, here).unwrap();
        self.end_session(Caller::Ended, there.session).await;
        self.people.insert(Caller::Ended, there);
        let here = log_in(&self.clients, "udo").await;
        let there = self.people.insert(Caller::Superseded, here).unwrap();
        self.change_password(Caller::Superseded).await;
        self.people.insert(Caller::Superseded, there);
    }

    /// Ends a session of the caller's account.
    pub(crate) async fn end_session(&mut self, caller: Caller, session_id: u64) {
        let () = self
            .ask(caller, "SessionService/EndSession", |request| {
                v1::EndSessionRequest {
                    request,
                    session_id,
                }
            })
            .await;
    }

    /// Gives the caller another password, which ends all its other sessions.
    pub(crate) async fn change_password(&mut self, caller: Caller) {
        let () = self
            .ask(caller, "AccountService/ChangePassword", |request| {
                v1::ChangePasswordRequest {
                    request,
                    old_password: PASSWORD.to_owned(),
                    new_password: "battery staple".to_owned(),
                }
            })
            .await;
    }

    /// Creates the rooms, their members, their messages and a webhook.
    async fn furnish(&mut self) {
        self.vault = self.room(Caller::Owner, "vault", true).await;
        self.square = self.room(Caller::Owner, "square", false).await;
        self.room(Caller::Blocked, "den", true).await;
        let eric = log_in(&self.clients, "eric").await;
        let passer_by = self.people.insert(Caller::PasserBy, eric).unwrap();
        let members = [
            (Caller::Member, "mona"),
            (Caller::Kicked, "carl"),
            (Caller::PasserBy, "eric"),
        ];
        for (caller, account_name) in members {
            self.invite_to_vault(account_name).await;
            let () = self
                .ask(caller, "RoomService/JoinRoom", |request| {
                    v1::JoinRoomRequest {
                        request,
                        name: "vault".to_owned(),
                    }
                })
                .await;
        }
        self.people.insert(Caller::PasserBy, passer_by);
        for (caller, room) in [
            (Caller::Owner, self.vault),
            (Caller::Member, self.vault),
            (Caller::Owner, self.square),
        ] {
            self.send(caller, To::ConversationId(room)).await;
        }
        let () = self
            .ask(Caller::Owner, "RoomService/KickFromRoom", |request| {
                v1::KickFromRoomRequest {
                    request,
                    name: "vault".to_owned(),
                    account_name: "carl".to_owned(),
                }
            })
            .await;
        let made: v1::CreateWebhookResponse = self
            .ask(Caller::Owner, "RoomService/CreateWebhook", |request| {
                v1::CreateWebhookRequest {
                    request,
                    name: "vault".to_owned(),
                    account_name: "hook".to_owned(),
                    ..Default::default()
                }
            })
            .await;
        self.webhook = made.webhook_id;
    }

    /// Lets two accounts write to each other until one of them blocks the other.
    async fn quarrel(&mut self) {
        let alice = To::RecipientName("alice".to_owned());
        self.direct = self.send(Caller::Blocked, alice).await;
        let dave = To::RecipientName("dave".to_owned());
        self.send(Caller::Owner, dave).await;
        let () = self
            .ask(Caller::Owner, "AccountService/SetBlock", |request| {
                v1::SetBlockRequest {
                    request,
                    name: "dave".to_owned(),
                    blocked: true,
                }
            })
            .await;
    }

    async fn room(&mut self, caller: Caller, name: &str, private: bool) -> u64 {
        let made: v1::CreateRoomResponse = self
            .ask(caller, "RoomService/CreateRoom", |request| {
                v1::CreateRoomRequest {
                    request,
                    name: name.to_owned(),
                    topic: if private { SECRET } else { "all" }.to_owned(),
                    private,
                }
            })
            .await;
        made.conversation_id
    }

    pub(crate) async fn invite_to_vault(&mut self, account_name: &str) {
        let () = self
            .ask(Caller::Owner, "RoomService/InviteToRoom", |request| {
                v1::InviteToRoomRequest {
                    request,
                    name: "vault".to_owned(),
                    account_name: account_name.to_owned(),
                }
            })
            .await;
    }

    /// Sends a message with the secret; returns its conversation.
    pub(crate) async fn send(&mut self, caller: Caller, to: To) -> u64 {
        let sent: v1::SendMessageResponse = self
            .ask(caller, "ChatService/SendMessage", |request| {
                v1::SendMessageRequest {
                    request,
                    to: Some(to),
                    text: format!("the word is {SECRET}"),
                    ..Default::default()
                }
            })
            .await;
        sent.conversation_id
    }

    /// Gives the caller another session; the previous one stays open.
    pub(crate) async fn log_in_again(&mut self, caller: Caller) {
        let mut people = Caller::PEOPLE.iter();
        let (_, name) = people.find(|(known, _)| *known == caller).unwrap();
        let person = log_in(&self.clients, name).await;
        self.people.insert(caller, person);
    }

    /// Waits until a search finds the secret for the callers that may find it.
    pub(crate) async fn secret_is_found(&mut self) {
        let found = async {
            loop {
                let found: v1::SearchMessagesResponse = self
                    .ask(Caller::Owner, "ChatService/SearchMessages", |_| {
                        v1::SearchMessagesRequest {
                            query: SECRET.to_owned(),
                            ..Default::default()
                        }
                    })
                    .await;
                // Two in the vault, one in the square and two in the direct conversation.
                if found.messages.len() == 5 {
                    return;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap();
    }
}
