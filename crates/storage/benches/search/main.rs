//! Measures searches among a million messages in twelve scripts, how large the index is beside
//! their texts, and how fast it is built.
//!
//! The words follow Zipf's law, as those of people do. The state is made by applying entries, the
//! index by the indexer with all its pauses.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]
#![allow(clippy::unwrap_used, reason = "a failure ends the measurement")]

mod vocabulary;

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use conclave_core::{
    AccessOperation, AccountId, AccountName, Batch, Command, Digest, Grant, LoginKeys,
    MessageOperation, MessageText, OnceId, Operation, Origin, Recipient, RoomName, RoomOperation,
    SessionId, SessionLabel, Timestamp, TokenHash, Topic,
};
use conclave_words::{SearchQuery, Words, query::Zone};
use vocabulary::{Chance, Vocabulary};

use conclave_storage::{
    log::LogId,
    search::{CancelFlag, FILE, Search},
    state::{Entry, Options, Payload, State},
};

const MESSAGES: usize = 1_000_000;
/// Applied while the indexer works.
const MESSAGES_BESIDE: usize = 100_000;
/// Parted and folded, to see how long that takes.
const MESSAGES_PARTED: usize = 100_000;
const ROOMS: usize = 200;
/// They are in all rooms and say everything.
const SPEAKERS: u64 = 20;
/// It is in the first `ROOMS_OF_LISTENER` rooms.
const LISTENER: u64 = SPEAKERS + 1;
const ROOMS_OF_LISTENER: usize = 5;
/// It is in rooms of its own, where nothing is said.
const LONER: u64 = LISTENER + 1;
const ROOMS_OF_LONER: usize = 100;
const MESSAGES_PER_ENTRY: usize = 100;
const ENTRIES_PER_TRANSACTION: usize = 20;
const SEARCHES: usize = 300;
const PAGE: usize = 20;

fn main() {
    // `cargo test --benches` only asks whether it starts.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut chance = Chance(88_172_645_463_325_252);
    let words = Vocabulary::new(&mut chance);
    let mut world = World::new(directory.path());
    let talked = world.talk(&words, &mut chance, MESSAGES, || {});
    let bytes = talked.bytes >> 20;
    println!(
        "{MESSAGES} messages with {bytes} MiB applied in {:.1?}",
        talked.took
    );

    let began = Instant::now();
    let search = Search::start(directory.path(), world.state.reader()).unwrap();
    wait(&search);
    let took = began.elapsed();
    let speed = MESSAGES as f64 / took.as_secs_f64();
    println!("indexed in {took:.1?}: {speed:.0} messages/s");
    for (name, file) in [("index", FILE), ("state", "state.db")] {
        let bytes = std::fs::metadata(directory.path().join(file));
        let bytes = bytes.unwrap().len();
        let share = bytes as f64 / talked.bytes as f64;
        println!("{name}: {} MiB, {share:.2} times the text", bytes >> 20);
    }
    part(&words, &mut chance);
    measure(&search, &words, &talked.phrases, &mut chance);
    beside(search, directory.path(), &mut world, &words, &mut chance);
}

/// Measures how long it takes to part and fold texts, which is a part of indexing.
fn part(words: &Vocabulary, chance: &mut Chance) {
    let texts = (0..MESSAGES_PARTED).map(|_| words.message(chance).0);
    let texts: Vec<String> = texts.collect();
    let began = Instant::now();
    let parted = texts.iter().map(|text| Words::of(text).tokens().len());
    let tokens: usize = parted.sum();
    let each = began.elapsed() / MESSAGES_PARTED as u32;
    println!("a message is parted in {each:.1?}; {MESSAGES_PARTED} have {tokens} tokens");
}

/// Measures how much slower the log is applied while the indexer works, and how far behind it
/// falls.
fn beside(
    search: Search,
    directory: &Path,
    world: &mut World,
    words: &Vocabulary,
    chance: &mut Chance,
) {
    drop(search);
    let alone = world.talk(words, chance, MESSAGES_BESIDE, || {}).took;
    let search = Search::start(directory, world.state.reader()).unwrap();
    wait(&search);
    let talked = world.talk(words, chance, MESSAGES_BESIDE, || search.notify());
    let began = Instant::now();
    wait(&search);
    let (beside, behind) = (talked.took, began.elapsed());
    println!("{MESSAGES_BESIDE} more applied in {alone:.1?} alone and in {beside:.1?} beside it");
    println!("the index was {behind:.1?} behind at the end");
}

fn query(typed: &str) -> SearchQuery {
    SearchQuery::parse(typed, &Zone::default()).unwrap()
}

fn wait(search: &Search) {
    let nothing = query("nothing");
    loop {
        let found = search
            .find(AccountId(1), &nothing, None, 1, &CancelFlag::default())
            .unwrap();
        if found.complete_to >= found.applied {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn measure(search: &Search, words: &Vocabulary, phrases: &[String], chance: &mut Chance) {
    println!("| asked for | by a member of | p50 | p99 | worst | rows |");
    println!("|---|---|---|---|---|---|");
    for (who, rooms) in [
        (LISTENER, ROOMS_OF_LISTENER),
        (1, ROOMS),
        (LONER, ROOMS_OF_LONER),
    ] {
        for kind in [
            "common",
            "medium",
            "rare",
            "two common",
            "phrase",
            "from:",
            "in:",
            "one letter of Han",
            "emoji",
            "from: alone",
            "-word",
            "has:link",
            "prefix",
            "before:",
        ] {
            let mut took = Vec::with_capacity(SEARCHES);
            let mut rows = 0;
            for _ in 0..SEARCHES {
                let tongue = words.tongue(chance);
                let mut some =
                    |first: usize, count: usize| tongue.words[first + chance.below(count)].clone();
                let common = some(0, 30);
                let typed = match kind {
                    "common" => common,
                    "medium" => some(1000, 1000),
                    "rare" => some(15_000, 15_000),
                    "two common" => format!("{common} {}", some(0, 30)),
                    "phrase" => format!("\"{}\"", phrases[chance.below(phrases.len())]),
                    "one letter of Han" => words.letter(chance),
                    "emoji" => "👍".to_owned(),
                    "from:" => format!("{common} from:speaker-{}", 1 + chance.below(20)),
                    "in:" => format!("{common} in:#room-{}", chance.below(rooms)),
                    "from: alone" => format!("from:speaker-{}", 1 + chance.below(20)),
                    "-word" => format!("{} -{common}", some(0, 30)),
                    "prefix" => {
                        let word = some(100, 900);
                        let star = (word.chars().count() > 1).then_some('*');
                        word.chars().take(3).chain(star).collect()
                    }
                    "has:link" => format!("{common} has:link"),
                    _ => format!("{common} before:1970-01-0{}", 2 + chance.below(6)),
                };
                let query = query(&typed);
                let began = Instant::now();
                let found = search
                    .find(AccountId(who), &query, None, PAGE, &CancelFlag::default())
                    .unwrap();
                took.push(began.elapsed());
                rows += found.rows.len();
            }
            took.sort();
            let [p50, p99] = [50, 99].map(|percent| took[SEARCHES * percent / 100]);
            let worst = took[SEARCHES - 1];
            let rows = rows as f64 / SEARCHES as f64;
            println!("| {kind} | {rooms} | {p50:.1?} | {p99:.1?} | {worst:.1?} | {rows:.1} |");
        }
    }
}

fn create_room(name: &RoomName) -> Operation {
    Operation::Room(RoomOperation::CreateRoom {
        name: name.clone(),
        topic: Topic::default(),
        public: true,
    })
}

struct World {
    state: State,
    index: u64,
    now: u64,
    numbers: Vec<u64>,
}

impl World {
    fn new(directory: &Path) -> Self {
        let state = State::open(directory, Options::default()).unwrap();
        let mut world = Self {
            state,
            index: 0,
            now: 1,
            numbers: vec![0; LONER as usize + 1],
        };
        for account in 1..=LONER {
            world.create(account);
        }
        for room in 0..ROOMS {
            let name = RoomName::new(format!("room-{room}")).unwrap();
            let mut commands = vec![world.ask(1, create_room(&name))];
            let listens = room < ROOMS_OF_LISTENER;
            for account in 2..=SPEAKERS + u64::from(listens) {
                let join = Operation::Room(RoomOperation::JoinRoom { name: name.clone() });
                commands.push(world.ask(account, join));
            }
            let entry = world.entry(commands);
            world.apply(&[entry]);
        }
        for room in 0..ROOMS_OF_LONER {
            let name = RoomName::new(format!("quiet-{room}")).unwrap();
            let command = world.ask(LONER, create_room(&name));
            let entry = world.entry(vec![command]);
            world.apply(&[entry]);
        }
        world
    }

    fn create(&mut self, account: u64) {
        let name = format!("speaker-{account}");
        let create = Operation::Access(AccessOperation::CreateAccount {
            name: AccountName::new(name).unwrap(),
            password_hash: "$argon2id$".to_owned(),
            grant: Grant::Open,
        });
        let login = Operation::Access(AccessOperation::OpenSession {
            account: AccountId(account),
            password_version: 1,
            token: TokenHash([account as u8; 32]),
            label: SessionLabel::default(),
            keys: LoginKeys::default(),
            renewed_hash: None,
        });
        let once = |step, operation| {
            let mut id = [step; 16];
            id[..8].copy_from_slice(&account.to_be_bytes());
            Command {
                origin: Origin::Once(OnceId(id)),
                digest: Digest(0),
                operation,
            }
        };
        let entry = self.entry(vec![once(1, create), once(2, login)]);
        self.apply(&[entry]);
    }

    fn ask(&mut self, account: u64, operation: Operation) -> Command {
        let number = &mut self.numbers[account as usize];
        *number += 1;
        Command {
            origin: Origin::Session {
                session: SessionId(account),
                number: *number,
            },
            digest: Digest(*number),
            operation,
        }
    }

    fn entry(&mut self, commands: Vec<Command>) -> Entry {
        self.index += 1;
        // A minute each: a week in all.
        self.now += 60_000;
        let id = LogId {
            term: 1,
            node: 1,
            index: self.index,
        };
        let payload = Payload::Commands(Arc::new(Batch {
            proposed_at: Timestamp(self.now),
            date: Timestamp(self.now),
            commands,
        }));
        Entry { id, payload }
    }

    fn apply(&mut self, entries: &[Entry]) {
        let results = self.state.apply(entries).unwrap();
        let mut answers = results.iter().flat_map(|result| &result.answers);
        assert!(answers.all(Result::is_ok));
    }

    /// Says `messages` things, and calls `then` after each transaction.
    fn talk(
        &mut self,
        words: &Vocabulary,
        chance: &mut Chance,
        messages: usize,
        then: impl Fn(),
    ) -> Talked {
        let mut talked = Talked::default();
        for _ in 0..messages / MESSAGES_PER_ENTRY / ENTRIES_PER_TRANSACTION {
            let mut entries = Vec::with_capacity(ENTRIES_PER_TRANSACTION);
            while entries.len() < ENTRIES_PER_TRANSACTION {
                let mut commands = Vec::with_capacity(MESSAGES_PER_ENTRY);
                while commands.len() < MESSAGES_PER_ENTRY {
                    commands.push(self.message(words, chance, &mut talked));
                }
                entries.push(self.entry(commands));
            }
            let began = Instant::now();
            self.apply(&entries);
            talked.took += began.elapsed();
            then();
        }
        talked
    }

    fn message(&mut self, words: &Vocabulary, chance: &mut Chance, talked: &mut Talked) -> Command {
        let (text, phrase) = words.message(chance);
        if chance.below(100) == 0 {
            talked.phrases.push(phrase);
        }
        talked.bytes += text.len();
        let room = format!("room-{}", chance.below(ROOMS));
        let send = Operation::Message(MessageOperation::SendMessage {
            to: Recipient::Room(RoomName::new(room).unwrap()),
            text: MessageText::new(text).unwrap(),
            reply_to: None,
            action: false,
        });
        self.ask(1 + chance.below(SPEAKERS as usize) as u64, send)
    }
}

/// What was said.
#[derive(Default)]
struct Talked {
    /// Two words that follow each other, from one message of a hundred.
    phrases: Vec<String>,
    bytes: usize,
    /// How long it took to apply.
    took: Duration,
}
