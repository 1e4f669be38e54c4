//! Which crate may depend on which, read from each crate's manifest.
//!
//! Only `[dependencies]` and `[build-dependencies]` count, also those of one platform; a test may
//! look at more than the code it tests. The same arrows are drawn in `docs/architecture.md`.

use crate::{Problem, numbered};

/// The arrows: each crate, and the crates of this workspace that it may name.
pub const DEPENDENCIES_ALLOWED: [(&str, &[&str]); 17] = [
    ("core", &[]),
    ("text", &["core"]),
    ("words", &["text", "core"]),
    ("storage", &["words", "core"]),
    ("transfer", &["storage", "text", "core"]),
    ("replica", &["storage", "core"]),
    ("wire", &["text", "core"]),
    ("tls", &[]),
    ("page", &[]),
    (
        "server",
        // Of `storage` only the types of rows, of positions and of faults.
        &[
            "replica", "storage", "wire", "tls", "page", "words", "text", "core",
        ],
    ),
    ("client", &["wire", "tls", "core"]),
    ("local-cluster", &["client", "server"]),
    ("history", &[]),
    ("bench", &["local-cluster", "history", "client"]),
    ("tidy", &[]),
    ("attack", &["client"]),
    (
        "conclave",
        &[
            "bench",
            "local-cluster",
            "server",
            "transfer",
            "client",
            "words",
            "text",
            "core",
        ],
    ),
];

/// External crates with one home; no other crate may name them.
const HOMES: [(&str, &[&str]); 14] = [
    ("openraft", &["replica"]),
    ("zip", &["transfer"]),
    ("emojis", &["transfer"]),
    ("rusqlite", &["storage"]),
    ("tonic", &["wire", "server", "client"]),
    ("ring", &["tls"]),
    ("rustls", &["tls", "server", "client", "attack"]),
    ("rcgen", &["server"]),
    ("unicode-normalization", &["text", "words"]),
    ("unicode-properties", &["text", "words"]),
    ("unicode-segmentation", &["text", "words"]),
    ("unicode-security", &["text"]),
    ("unicode-script", &["words"]),
    (
        "tokio",
        // In `tls` for `dial.rs` alone: client and peers reach a name in the same way.
        &[
            "replica",
            "tls",
            "server",
            "client",
            "local-cluster",
            "bench",
            "conclave",
            "attack",
        ],
    ),
];

/// Finds arrows between crates of the workspace that the plan of the house does not have.
pub fn arrows(path: &str, manifest: &str) -> Vec<Problem> {
    let name = crate_name(path);
    let Some((_, allowed)) = DEPENDENCIES_ALLOWED.iter().find(|(of, _)| *of == name) else {
        return vec![Problem::new(
            path,
            1,
            "every crate has its arrows",
            format!("say in crates/tidy/src/arrows.rs what `{name}` may depend on"),
        )];
    };
    dependencies(manifest)
        .filter_map(|(line, dependency)| {
            let target = match dependency {
                "conclave" => "conclave",
                _ => dependency.strip_prefix("conclave-")?,
            };
            (!allowed.contains(&target)).then(|| {
                Problem::new(
                    path,
                    line,
                    "arrows run one way",
                    format!("`{name}` may not depend on `{target}`: move the shared noun down"),
                )
            })
        })
        .collect()
}

/// Finds external crates outside their home.
pub fn forbidden_dependencies(path: &str, manifest: &str) -> Vec<Problem> {
    let name = crate_name(path);
    dependencies(manifest)
        .filter_map(|(line, dependency)| {
            let (_, homes) = HOMES.iter().find(|(of, _)| *of == dependency)?;
            (!homes.contains(&name)).then(|| {
                Problem::new(
                    path,
                    line,
                    "a dependency stays in its home",
                    format!(
                        "`{dependency}` belongs to {}: ask that crate",
                        homes.join(", ")
                    ),
                )
            })
        })
        .collect()
}

/// Returns the crate of a manifest: `crates/core/Cargo.toml` is about `core`.
fn crate_name(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or(path)
}

/// Returns the names in the sections of dependencies that reach users, with their lines.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut counts = false;
    numbered(manifest).filter_map(move |(line, content)| {
        let content = content.trim();
        if let Some(section) = content.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            counts = is_section(section);
            // `[dependencies.tokio]` names its crate in the title.
            let (table, name) = section.rsplit_once('.')?;
            return (is_section(table) && !counts).then_some((line, name));
        }
        if !counts || content.is_empty() || content.starts_with('#') {
            return None;
        }
        let end = content.find(['.', '=', ' '])?;
        Some((line, content[..end].trim_matches('"')))
    })
}

fn is_section(title: &str) -> bool {
    let last = title.rsplit('.').next().unwrap_or(title);
    last == "dependencies" || last == "build-dependencies"
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPWARD: &str = "\
[package]
name = \"x\"

[dependencies]
serde.workspace = true
conclave-server.workspace = true
tonic = { version = \"1\" }

[dev-dependencies]
conclave-client.workspace = true
openraft = \"1\"
";

    fn lines(problems: &[Problem]) -> Vec<usize> {
        problems.iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn an_arrow_that_runs_upward_is_caught() {
        assert_eq!(lines(&arrows("crates/core/Cargo.toml", UPWARD)), [6]);
        assert_eq!(lines(&arrows("crates/client/Cargo.toml", UPWARD)), [6]);
        assert!(arrows("crates/conclave/Cargo.toml", UPWARD).is_empty());
    }

    #[test]
    fn an_arrow_in_a_table_header_or_for_a_platform_is_caught() {
        let title = "[dependencies.conclave-server]\nworkspace = true\n";
        assert_eq!(lines(&arrows("crates/core/Cargo.toml", title)), [1]);
        let platform = "[target.'cfg(unix)'.dependencies]\nconclave-wire = { path = \"\" }\n";
        assert_eq!(lines(&arrows("crates/core/Cargo.toml", platform)), [2]);
    }

    #[test]
    fn a_crate_missing_from_the_plan_is_caught() {
        assert_eq!(arrows("crates/extra/Cargo.toml", "").len(), 1);
    }

    #[test]
    fn a_dependency_outside_its_home_is_caught() {
        assert_eq!(
            lines(&forbidden_dependencies("crates/replica/Cargo.toml", UPWARD)),
            [7]
        );
        assert!(forbidden_dependencies("crates/server/Cargo.toml", UPWARD).is_empty());
        for (name, text) in [
            ("server", "openraft = \"1\""),
            ("server", "rusqlite.workspace = true"),
            ("core", "tokio.workspace = true"),
            ("core", "rusqlite.workspace = true"),
            ("core", "unicode-script.workspace = true"),
            ("storage", "unicode-segmentation.workspace = true"),
        ] {
            let manifest = format!("[dependencies]\n{text}\n");
            let path = format!("crates/{name}/Cargo.toml");
            assert_eq!(
                lines(&forbidden_dependencies(&path, &manifest)),
                [2],
                "{name} {text}"
            );
        }
    }

    #[test]
    fn the_plan_itself_has_no_circle() {
        // Listed from the bottom up, a crate is always named after what it depends on.
        let order = [
            "core",
            "text",
            "words",
            "storage",
            "transfer",
            "replica",
            "wire",
            "tls",
            "page",
            "server",
            "client",
            "local-cluster",
            "history",
            "bench",
            "tidy",
        ];
        let level = |name: &str| {
            order
                .iter()
                .position(|one| *one == name)
                .unwrap_or(order.len())
        };
        for (name, allowed) in DEPENDENCIES_ALLOWED {
            for target in allowed {
                assert!(level(target) < level(name), "{name} → {target}");
            }
        }
    }
}
