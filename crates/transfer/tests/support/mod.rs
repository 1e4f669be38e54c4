//! Imports a source and exports what came of it, so that a test compares what people would see.

#![allow(dead_code, reason = "no test uses all of it")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use conclave_core::AccountName;
use conclave_transfer::{ImportError, Imported, Importing, Origin, export, import};
use serde_json::Value;

/// A hash that no password has; only its form is judged.
const NO_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA";
/// Date of the imports.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// A directory with an import and the export of it.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) imported: Imported,
    /// Lines of the report.
    pub(crate) report: Vec<Value>,
    /// Files of the export, line by line.
    pub(crate) files: BTreeMap<String, Vec<Value>>,
}

pub(crate) fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name)
}

/// Imports alone; what is left in the directory is of no use.
pub(crate) fn try_import(source: &Path, admin: &str) -> Result<Imported, ImportError> {
    let scratch = tempfile::tempdir().unwrap();
    run(source, admin, scratch.path(), &mut Vec::new())
}

fn run(
    source: &Path,
    admin: &str,
    scratch: &Path,
    report: &mut Vec<u8>,
) -> Result<Imported, ImportError> {
    let importing = Importing {
        source,
        kind: None,
        admin: &AccountName::new(admin).unwrap(),
        admin_password_hash: NO_HASH,
        no_password_hash: NO_HASH,
        now_ms: NOW_MS,
        scratch,
    };
    import(&importing, report, &mut |_| {})
}

/// Imports a source, and exports the state that it became.
pub(crate) fn world(source: &Path, admin: &str) -> World {
    let directory = tempfile::tempdir().unwrap();
    let scratch = directory.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut report = Vec::new();
    let imported = run(source, admin, &scratch, &mut report).unwrap();
    let report = String::from_utf8(report).unwrap();
    let report = report
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let origin = Origin {
        cluster: "c".to_owned(),
        entry: 7,
        made_at_ms: NOW_MS,
        messages: imported.messages,
    };
    let out = directory.path().join("export");
    export(&imported.snapshot, &origin, &out, &mut |_, _| {}).unwrap();
    World {
        report: report.collect(),
        files: files(&out)
            .into_iter()
            .map(|(name, text)| {
                let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
                (name, lines.collect())
            })
            .collect(),
        imported,
        directory,
    }
}

/// Returns the files below a directory.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for item in fs::read_dir(next).unwrap() {
            let path = item.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let name = path.strip_prefix(directory).unwrap();
                    let text = fs::read_to_string(&path).unwrap();
                    all.insert(name.to_str().unwrap().to_owned(), text);
                }
            }
        }
    }
    all
}

impl World {
    /// Returns the messages of a conversation.
    pub(crate) fn messages(&self, conversation: &str) -> &[Value] {
        let file = format!("{conversation}.jsonl");
        let found = self.files.get(&file);
        &found.unwrap_or_else(|| panic!("no {file}: {:?}", self.files.keys()))[1..]
    }

    /// Returns the texts of a conversation, each with its author.
    pub(crate) fn said(&self, conversation: &str) -> Vec<String> {
        let messages = self.messages(conversation).iter();
        messages
            .map(|message| {
                let text = message["text"].as_str().unwrap_or("-");
                format!("{}: {text}", message["author"].as_str().unwrap())
            })
            .collect()
    }

    /// Returns the record of an account.
    pub(crate) fn account(&self, name: &str) -> &Value {
        let mut accounts = self.files["accounts.jsonl"].iter();
        accounts.find(|account| account["account"] == name).unwrap()
    }

    /// Returns the members of a conversation with their roles.
    pub(crate) fn members(&self, conversation: &str) -> Vec<String> {
        let members = self.files["members.jsonl"].iter();
        let of = members.filter(|member| member["conversation"] == conversation);
        of.map(|member| {
            let role = member["role"].as_str().unwrap_or("invited");
            format!("{} {role}", member["account"].as_str().unwrap())
        })
        .collect()
    }

    /// Returns the lines of one kind in the report.
    pub(crate) fn reported(&self, what: &str) -> Vec<String> {
        let lines = self.report.iter().filter(|line| line["what"] == what);
        lines
            .map(|line| {
                let part = |name: &str| line[name].as_str().unwrap().to_owned();
                format!("{} -> {}", part("at"), part("result"))
            })
            .collect()
    }
}
