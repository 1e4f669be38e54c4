//! `conclave room`: creates, joins, leaves and governs rooms.

use std::process::ExitCode;

use conclave_client::{Client, v1};
use serde_json::json;

use crate::{
    commands::cluster::retention,
    connection::{Connection, freshness},
    errors::note,
    names::room,
    output::{self, Format},
};

/// Arguments of `room`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    #[command(flatten)]
    Change(Change),
    /// List the members of a room
    Members {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        #[command(flatten)]
        listing: Listing,
    },
    /// List the rooms that you may see
    List {
        /// Pattern of names: '*' is any run of characters, '?' any one; quote it
        #[arg(default_value = "")]
        pattern: String,
        /// List only rooms that you are in or invited to
        #[arg(long)]
        own: bool,
        #[command(flatten)]
        listing: Listing,
    },
}

/// Commands that change something, and have nothing to show.
#[derive(Debug, clap::Subcommand)]
enum Change {
    /// Create a room and own it
    Create {
        /// 1 to 32 letters, digits, '.', '_' or '-'
        #[arg(value_parser = room)]
        room: String,
        /// Topic of the room
        #[arg(long, default_value = "")]
        topic: String,
        /// Let only invited accounts see and join the room
        #[arg(long)]
        private: bool,
    },
    /// Join a room
    Join {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
    },
    /// Leave a room
    Leave {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
    },
    /// Invite an account to a room
    Invite {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Account name
        user: String,
    },
    /// Remove a member or an invitation
    Kick {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Account name
        user: String,
    },
    /// Set the topic of a room
    Topic {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Topic of the room
        topic: String,
    },
    /// Set how long a room keeps messages, and how many; only an owner may. What is forgotten does
    /// not come back
    Retention {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// What to set: age=30d or messages=1000, each also =forever, or =cluster for what the
        /// cluster keeps
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = setting)]
        set: Vec<Setting>,
    },
    /// Change the role of a member
    Role {
        /// Room name
        #[arg(value_parser = room)]
        room: String,
        /// Account name
        user: String,
        /// Role to give
        #[arg(value_enum)]
        role: Role,
    },
}

/// One argument of `room retention`; `None`: as the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Age(Option<u64>),
    Messages(Option<u64>),
}

fn setting(text: &str) -> Result<Setting, String> {
    let wrong = || "write age=30d or messages=1000, each also =forever or =cluster".to_owned();
    Ok(match text.split_once('=').ok_or_else(wrong)? {
        ("age", "cluster") => Setting::Age(None),
        ("age", value) => Setting::Age(Some(retention::age(value)?)),
        ("messages", "cluster") => Setting::Messages(None),
        ("messages", value) => Setting::Messages(Some(retention::number(value)?)),
        _ => return Err(wrong()),
    })
}

/// Options of the listing commands.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Listing {
    /// Maximum number of results
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// Accept the data of any node, also without a quorum
    #[arg(long)]
    stale: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Roles that an owner can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Reads and writes
    Member,
    /// Also invites, removes members and messages, and sets the topic
    Moderator,
    /// Also gives roles
    Owner,
}

/// Runs `room`.
///
/// # Errors
/// If the cluster refuses or does not serve.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?.client;
    match args.command {
        Command::Members { room, listing } => members(&client, &room, listing).await?,
        Command::List {
            pattern,
            own,
            listing,
        } => list(&client, &pattern, own, listing).await?,
        Command::Change(command) => note(&change(&client, command).await?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that changes something; returns the sentence to show.
async fn change(client: &Client, command: Change) -> anyhow::Result<String> {
    Ok(match command {
        Change::Create {
            room,
            topic,
            private,
        } => {
            let id = client.create_room(&room, &topic, private).await?;
            format!("created #{room}, conversation {id}")
        }
        Change::Join { room } => {
            let id = client.join_room(&room).await?;
            format!("joined #{room}, conversation {id}")
        }
        Change::Leave { room } => {
            client.leave_room(&room).await?;
            format!("left #{room}")
        }
        Change::Invite { room, user } => {
            client.invite_to_room(&room, &user).await?;
            format!("invited {}", output::clean(&user))
        }
        Change::Kick { room, user } => {
            client.kick_from_room(&room, &user).await?;
            format!("removed {}", output::clean(&user))
        }
        Change::Topic { room, topic } => {
            client.set_topic(&room, &topic).await?;
            format!("changed the topic of #{room}")
        }
        Change::Retention { room, set } => keep(client, &room, &set).await?,
        Change::Role { room, user, role } => {
            let role = match role {
                Role::Member => v1::MemberRole::Member,
                Role::Moderator => v1::MemberRole::Moderator,
                Role::Owner => v1::MemberRole::Owner,
            };
            client.set_member_role(&room, &user, role).await?;
            format!("{} is {} now", output::clean(&user), shown(role))
        }
    })
}

/// Sets what is named of a room's retention, and leaves the rest as it is.
async fn keep(client: &Client, room: &str, set: &[Setting]) -> anyhow::Result<String> {
    let found = |rooms: Vec<v1::Room>| {
        let mut rooms = rooms.into_iter();
        rooms.find(|found| found.name.eq_ignore_ascii_case(room))
    };
    let rooms = client.all_rooms(room, true, 2, freshness(false)).await?;
    // A room that is not listed is refused below, with the reason.
    let before = found(rooms).unwrap_or_default();
    let mut retention = before.own_retention.unwrap_or_default();
    for setting in set {
        match setting {
            Setting::Age(age_ms) => retention.age_ms = *age_ms,
            Setting::Messages(messages) => retention.messages = *messages,
        }
    }
    client.set_room_retention(room, retention).await?;
    let rooms = client.all_rooms(room, true, 2, freshness(false)).await?;
    let kept = found(rooms).unwrap_or_default().retention;
    let kept = retention::kept_shown(kept.unwrap_or_default());
    Ok(format!("#{room} keeps messages: {kept}"))
}

fn shown(role: v1::MemberRole) -> &'static str {
    match role {
        v1::MemberRole::Unspecified => "",
        v1::MemberRole::Member => "member",
        v1::MemberRole::Moderator => "moderator",
        v1::MemberRole::Owner => "owner",
    }
}

async fn members(client: &Client, room: &str, listing: Listing) -> anyhow::Result<()> {
    let limit = listing.limit as usize + 1;
    let mut members = client
        .all_members(room, limit, freshness(listing.stale))
        .await?;
    output::cut(&mut members, listing.limit);
    let rows = members.into_iter().map(|member| {
        let role = shown(member.role());
        let account = member.account.unwrap_or_default();
        (account, role)
    });
    if listing.output == Format::Json {
        for (account, role) in rows {
            output::json_line(&json!({
                "id": account.id,
                "name": account.name,
                "display_name": account.display_name,
                "role": role,
            }))?;
        }
        return Ok(());
    }
    let row = |(account, role): (v1::Account, &str)| {
        vec![
            output::clean(&account.name),
            role.to_owned(),
            output::clean(&account.display_name),
        ]
    };
    let rows: Vec<_> = rows.map(row).collect();
    Ok(output::table(&["name", "role", "display name"], &rows)?)
}

async fn list(client: &Client, pattern: &str, own: bool, listing: Listing) -> anyhow::Result<()> {
    let limit = listing.limit as usize + 1;
    let mut rooms = client
        .all_rooms(pattern, own, limit, freshness(listing.stale))
        .await?;
    output::cut(&mut rooms, listing.limit);
    if listing.output == Format::Json {
        for room in rooms {
            output::json_line(&json!({
                "conversation": room.conversation_id,
                "name": room.name,
                "topic": room.topic,
                "public": room.public,
                "members": room.members,
                "role": shown(room.role()),
                "invited": room.invited,
                "keeps": json!(room.retention.map(|kept| json!({
                    "age_ms": kept.age_ms,
                    "messages": kept.messages,
                }))),
            }))?;
        }
        return Ok(());
    }
    let row = |room: &v1::Room| {
        let place = match (room.role(), room.invited) {
            (v1::MemberRole::Unspecified, true) => "invited",
            (role, _) => shown(role),
        };
        vec![
            format!("#{}", output::clean(&room.name)),
            (if room.public { "public" } else { "private" }).to_owned(),
            room.members.to_string(),
            place.to_owned(),
            retention::kept_shown(room.retention.unwrap_or_default()),
            output::clean(&room.topic),
        ]
    };
    let rows: Vec<_> = rooms.iter().map(row).collect();
    Ok(output::table(
        &["name", "kind", "members", "you", "keeps", "topic"],
        &rows,
    )?)
}
