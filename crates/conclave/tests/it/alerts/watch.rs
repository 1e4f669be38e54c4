//! A watcher of nodes, as Prometheus is one: what it has seen becomes a test of `promtool`, which
//! evaluates the rules themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
};

use crate::{readme::document, support::Cluster, watching::scrape};

/// Minutes for which the last round goes on: longer than any rule waits, and shorter than the
/// window of a rate.
const GOES_ON: usize = 4;
/// The rules as text.
pub(super) fn rules() -> String {
    document("ops/prometheus/alerts.yml")
}

/// Returns the names of all alerts.
pub(super) fn alerts(rules: &str) -> Vec<String> {
    let lines = rules.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

/// What a watcher has seen.
#[derive(Default)]
pub(crate) struct Watch {
    /// For each minute the value of each series.
    pub(super) rounds: Vec<BTreeMap<String, f64>>,
}

impl Watch {
    /// Looks at these nodes once.
    pub(crate) async fn look(&mut self, admins: &[String]) {
        let rules = rules();
        let mut round = BTreeMap::new();
        for (number, admin) in admins.iter().enumerate() {
            let target = format!("instance=\"n{}\",job=\"conclave\"", number + 1);
            let samples = scrape(admin).await;
            round.insert(
                format!("up{{{target}}}"),
                f64::from(u8::from(samples.is_some())),
            );
            for (series, value) in samples.into_iter().flatten() {
                let (name, labels) = series.split_once('{').unwrap_or((series.as_str(), "}"));
                if !rules.contains(name) {
                    continue;
                }
                let labels = match labels.trim_end_matches('}') {
                    "" => target.clone(),
                    labels => format!("{labels},{target}"),
                };
                // The watch begins at 1970, and so do its times.
                let value = match name.ends_with("_timestamp_seconds") {
                    true => value - now_s(),
                    false => value,
                };
                round.insert(format!("{name}{{{labels}}}"), value);
            }
        }
        self.rounds.push(round);
    }

    /// Looks at all nodes of a cluster once.
    pub(crate) async fn look_at(&mut self, cluster: &Cluster) {
        let nodes = cluster.nodes().into_iter();
        let admins: Vec<String> = nodes.map(|node| cluster.admin_address(node)).collect();
        self.look(&admins).await;
    }

    /// Returns the last value of a series, by the beginning of its name and a label.
    pub(crate) fn last(&self, name: &str, label: &str) -> Option<f64> {
        let round = self.rounds.last()?;
        let found = round.iter().filter(|(series, _)| {
            series.starts_with(&format!("{name}{{")) && series.contains(label)
        });
        found.map(|(_, value)| *value).reduce(f64::max)
    }

    /// Checks that exactly these alerts fire after the last round has gone on for a while; `some`:
    /// others may fire, too.
    pub(crate) fn fires(&self, expected: &[&str], some: bool) {
        let Some(firing) = self.firing() else {
            return;
        };
        let expected: BTreeSet<String> = expected.iter().map(|&name| name.to_owned()).collect();
        match some {
            true => assert!(expected.is_subset(&firing), "{firing:?} lacks {expected:?}"),
            false => assert_eq!(firing, expected),
        }
    }

    /// Returns the alerts that fire, as `promtool` evaluates the rules; `None` if it is not there.
    #[expect(clippy::print_stderr, reason = "seen with `--nocapture`")]
    fn firing(&self) -> Option<BTreeSet<String>> {
        if Command::new("promtool").arg("--version").output().is_err() {
            eprintln!("SKIPPED: the rules are not evaluated, there is no promtool");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("watch.yml");
        let mut firing = BTreeSet::new();
        for alert in alerts(&rules()) {
            fs::write(&file, self.as_test(&alert)).unwrap();
            let mut promtool = Command::new("promtool");
            let ran = promtool
                .args(["test", "rules"])
                .arg(&file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
            // A test that cannot be read must not count as an alert that is silent.
            match ran.status.success() {
                true => drop(firing.insert(alert)),
                false => assert!(said.contains("FAILED") && said.contains("got:"), "{said}"),
            }
        }
        Some(firing)
    }

    /// Returns what was seen as a test of `promtool`, which passes if the alert fires at the end.
    fn as_test(&self, alert: &str) -> String {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let rules = root
            .join("ops/prometheus/alerts.yml")
            .canonicalize()
            .unwrap();
        let names: BTreeSet<&String> = self.rounds.iter().flat_map(BTreeMap::keys).collect();
        let mut text = format!(
            "rule_files: ['{}']\nevaluation_interval: 15s\ntests:\n- interval: 1m\n  \
             input_series:\n",
            rules.display()
        );
        for name in names {
            let seen = self.rounds.iter().map(|round| match round.get(name) {
                Some(value) => value.to_string(),
                None => "_".to_owned(),
            });
            let mut values: Vec<String> = seen.collect();
            if let Some(last) = self.rounds.last().and_then(|round| round.get(name)) {
                values.push(format!("{last}x{GOES_ON}"));
            }
            let values = values.join(" ");
            let _ = writeln!(text, "  - {{series: '{name}', values: '{values}'}}");
        }
        let minutes = self.rounds.len() - 1 + GOES_ON;
        let query = format!("max(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})");
        let _ = writeln!(
            text,
            "  promql_expr_test:\n  - expr: '{query}'\n    eval_time: {minutes}m\n    \
             exp_samples: [{{labels: '{{}}', value: 1}}]"
        );
        text
    }
}

/// Returns the time of this machine's clock, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the watcher compares with it")]
fn now_s() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}
