//! The page about speed: tables and pictures of what `bench/peers` has measured.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    chart::{Bar, Bars},
    number::{bytes, ms, short, thousands},
    page::{fill, table},
    results::{Results, Run, Spread, System},
};

/// Files of figures, each with the name of its part of the page.
pub const PARTS: [&str; 3] = ["rounds", "long", "kills"];

/// What stands where a file is not there yet.
const MISSING: &str = "Not measured yet.";

/// Texts of the page, and pictures by their file names.
#[derive(Debug, Default)]
pub struct Made {
    /// Texts by the names of their marks.
    pub texts: BTreeMap<String, String>,
    /// Pictures by their file names.
    pub pictures: BTreeMap<String, String>,
}

/// Makes the page and its pictures from the files below a directory of documents.
///
/// # Errors
/// If a file of figures cannot be understood, or the page lacks a mark.
pub fn files(docs: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let folder = docs.join("performance");
    let mut parts = BTreeMap::new();
    for name in PARTS {
        let path = folder.join(format!("{name}.json"));
        if path.exists() {
            let results = serde_json::from_str(&fs::read_to_string(&path)?);
            let results = results.with_context(|| path.display().to_string())?;
            parts.insert(name.to_owned(), results);
        }
    }
    let made = make(&parts);
    let page = docs.join("performance.md");
    let text = fill(&fs::read_to_string(&page)?, &made.texts)?;
    let pictures = made.pictures.into_iter();
    let mut files: BTreeMap<PathBuf, String> = pictures
        .map(|(name, picture)| (folder.join(name), picture))
        .collect();
    files.insert(page, text);
    Ok(files)
}

/// Writes the page and its pictures.
///
/// # Errors
/// Like [`files`], or if a file cannot be written.
pub fn write(docs: &Path) -> anyhow::Result<()> {
    for (path, text) in files(docs)? {
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Makes the texts and pictures of the page from the files that are there.
#[must_use]
pub fn make(parts: &BTreeMap<String, Results>) -> Made {
    let mut made = Made::default();
    for name in PARTS {
        let results = parts.get(name);
        let text = results.map_or(MISSING.to_owned(), |results| match name {
            "kills" => kills(results, &mut made.pictures),
            _ => runs(name, results, &mut made.pictures),
        });
        made.texts.insert(name.to_owned(), text);
    }
    let systems = ["rounds", "long"].iter().find_map(|name| parts.get(*name));
    let promises = systems.map_or(MISSING.to_owned(), |results| promises(&results.systems));
    made.texts.insert("promises".to_owned(), promises);
    made
}

/// Makes the table of results for a terminal.
#[must_use]
pub fn for_terminal(results: &Results) -> String {
    let mut parts = vec![conditions(results)];
    if !results.runs.is_empty() {
        parts.extend([
            ratios(results),
            figures(results),
            promises(&results.systems),
        ]);
    }
    if !results.kills.is_empty() {
        parts.push(gaps(results));
    }
    parts.join("\n")
}

fn conditions(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "Measured on {} with\n`{}`\n\nAll servers and callers shared {} cores ({}), {} of memory, \
         {}, Linux {}. {} nodes of each system, {} bytes in a message",
        results.day,
        results.command,
        machine.cores,
        machine.processor,
        bytes(machine.memory_mib as f64 * 1024.0 * 1024.0),
        machine.file_system,
        machine.kernel,
        results.nodes,
        results.payload_bytes,
    );
    if results.runs.is_empty() {
        text.push_str(".\n");
        return text;
    }
    let rounds = match results.rounds {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    text.push_str(&format!(
        ", {rounds}, {} seconds each after a second of the same load. Other processes used at most \
         {} per cent of a core during a run ({} are allowed).\n",
        short(results.seconds),
        short(
            results
                .runs
                .iter()
                .map(|run| run.other_cpu_percent)
                .fold(0.0, f64::max)
        ),
        short(results.other_cpu_percent_max),
    ));
    if results.rounds < 5 && results.seconds < 60.0 {
        text.push_str("\nThis was a trial of the program: too few rounds for a judgement.\n");
    }
    text
}

fn runs(name: &str, results: &Results, pictures: &mut BTreeMap<String, String>) -> String {
    let mut text = conditions(results);
    let pictured = [
        (
            "ratio",
            "Conclave's messages per second, in those of each other system",
            ratio_chart(results),
        ),
        (
            "latency",
            "time until the answer, from the median to p99",
            latency_chart(results),
        ),
        (
            "cpu",
            "CPU of all servers for each message",
            cpu_chart(results),
        ),
    ];
    for (kind, what, bars) in pictured {
        let file = format!("{name}-{kind}.svg");
        text.push_str(&format!("\n![{what}](performance/{file})\n"));
        pictures.insert(file, bars.svg());
        if kind == "ratio" {
            text.push_str(&format!("\n{}", ratios(results)));
        }
    }
    text.push_str(&format!("\n{}", figures(results)));
    if results.seconds >= 60.0 {
        text.push_str(&format!("\n{}", memory_course(results)));
    }
    text
}

/// The ratios of each other system, with minimum, median and maximum over the rounds.
fn ratios(results: &Results) -> String {
    let callers = results.callers();
    let mut head = vec!["Conclave / …, messages per second".to_owned()];
    head.extend(callers.iter().map(|callers| format!("{callers} callers")));
    let rows = results.systems.iter().skip(1).map(|system| {
        let mut row = vec![system.name.clone()];
        row.extend(callers.iter().map(|callers| {
            let ratio = results.ratio(&system.name, *callers);
            ratio.map_or("–".to_owned(), |ratio| {
                let (min, max) = (short(ratio.min), short(ratio.max));
                format!("**{}** ({min}–{max})", short(ratio.median))
            })
        }));
        row
    });
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, &rows.collect::<Vec<_>>())
}

fn figures(results: &Results) -> String {
    let head = [
        "System",
        "Callers",
        "Messages/s, min/median/max",
        "p50 ms",
        "p99 ms",
        "Server CPU µs",
        "Caller CPU µs",
        "To disk",
        "Network",
        "Memory of a node, MiB",
        "Errors",
        "Verified",
    ];
    let mut rows = Vec::new();
    for system in &results.systems {
        for callers in results.callers() {
            let spread = |figure: fn(&Run) -> f64| results.spread(&system.name, callers, figure);
            let Some(rate) = spread(|run| run.per_second) else {
                continue;
            };
            let runs: Vec<&Run> = results.runs_of(&system.name, callers).collect();
            let median = |figure: fn(&Run) -> f64| spread(figure).map_or(0.0, |it| it.median);
            rows.push(vec![
                system.name.clone(),
                callers.to_string(),
                [rate.min, rate.median, rate.max].map(thousands).join(" / "),
                ms(median(|run| run.p50_us as f64)),
                ms(median(|run| run.p99_us as f64)),
                short(median(|run| run.server_cpu_us)),
                short(median(|run| run.client_cpu_us)),
                bytes(median(|run| run.disk_bytes)),
                bytes(median(|run| run.network_bytes)),
                thousands(median(memory_at_end)),
                runs.iter().map(|run| run.errors).sum::<u64>().to_string(),
                verified(&runs).to_owned(),
            ]);
        }
    }
    table(&head, &rows)
}

/// Resident memory of the greatest server at the end of a run.
fn memory_at_end(run: &Run) -> f64 {
    let end = run.memory_mib.last().into_iter().flatten();
    end.copied().fold(0.0, f64::max)
}

fn verified(runs: &[&Run]) -> &'static str {
    if runs.iter().any(|run| run.verified == Some(false)) {
        return "NO";
    }
    match runs.iter().all(|run| run.verified == Some(true)) {
        true => "yes",
        false => "cannot be asked",
    }
}

/// How the memory of the greatest server went during long runs.
fn memory_course(results: &Results) -> String {
    let rows = results.runs.iter().map(|run| {
        let course = run.memory_mib.iter().map(|servers| {
            let greatest = servers.iter().copied().fold(0.0, f64::max);
            thousands(greatest)
        });
        let course: Vec<String> = course.collect();
        vec![
            run.system.clone(),
            run.callers.to_string(),
            course.join(" "),
        ]
    });
    let head = [
        "System",
        "Callers",
        "Memory of the greatest node at each tenth of the run, MiB",
    ];
    table(&head, &rows.collect::<Vec<_>>())
}

fn promises(systems: &[System]) -> String {
    let head = [
        "System",
        "Version",
        "One operation, and settings",
        "On disk when the caller has its answer",
        "Where it is then",
        "A retry",
    ];
    let rows = systems.iter().map(|system| {
        let cells = [
            &system.name,
            &system.version,
            &system.settings,
            &system.synced,
            &system.replicated,
            &system.retries,
        ];
        cells.map(String::clone).to_vec()
    });
    table(&head, &rows.collect::<Vec<_>>())
}

fn kills(results: &Results, pictures: &mut BTreeMap<String, String>) -> String {
    let file = "kills-gap.svg".to_owned();
    let mut text = conditions(results);
    text.push_str(&format!(
        "\n![how long no message was acknowledged after SIGKILL of the leader]\
         (performance/{file})\n\n{}",
        gaps(results)
    ));
    pictures.insert(file, gap_chart(results).svg());
    text
}

/// Names of the systems whose leaders were killed, with the sorted gaps.
fn gaps_by_system(results: &Results) -> Vec<(String, Vec<f64>)> {
    let mut systems: Vec<(String, Vec<f64>)> = Vec::new();
    for kill in &results.kills {
        let at = systems.iter().position(|(name, _)| *name == kill.system);
        let at = at.unwrap_or_else(|| {
            systems.push((kill.system.clone(), Vec::new()));
            systems.len() - 1
        });
        systems[at].1.push(kill.gap_ms);
    }
    for (_, gaps) in &mut systems {
        gaps.sort_by(f64::total_cmp);
    }
    systems
}

fn gaps(results: &Results) -> String {
    let head = [
        "No acknowledgement around SIGKILL of the leader, ms",
        "Kills",
        "min",
        "p50",
        "p99",
        "max",
    ];
    let rows = gaps_by_system(results)
        .into_iter()
        .filter_map(|(name, gaps)| {
            let spread = Spread::of(gaps.clone())?;
            let p99 = gaps[((gaps.len() * 99).div_ceil(100)).clamp(1, gaps.len()) - 1];
            let mut row = vec![name, gaps.len().to_string()];
            row.extend([spread.min, spread.median, p99, spread.max].map(thousands));
            Some(row)
        });
    table(&head, &rows.collect::<Vec<_>>())
}

fn gap_chart(results: &Results) -> Bars {
    let series = gaps_by_system(results).into_iter().map(|(name, gaps)| {
        let bar = Spread::of(gaps).map(|it| Bar::Whisker(it.min, it.median, it.max));
        (name, vec![bar])
    });
    Bars {
        title: "Sending pauses after SIGKILL of the leader: median, min–max, ms".to_owned(),
        source: results.command.clone(),
        groups: vec![format!("{} nodes", results.nodes)],
        series: series.collect(),
        logarithmic: false,
        line: None,
    }
}

fn ratio_chart(results: &Results) -> Bars {
    let callers = results.callers();
    let series = results.systems.iter().skip(1).map(|system| {
        let bars = callers.iter().map(|callers| {
            let ratio = results.ratio(&system.name, *callers)?;
            Some(Bar::Whisker(ratio.min, ratio.median, ratio.max))
        });
        (format!("/ {}", system.name), bars.collect())
    });
    Bars {
        title: "Conclave / other, messages per second: median of the rounds, min–max".to_owned(),
        source: results.command.clone(),
        groups: groups(&callers),
        series: series.collect(),
        logarithmic: true,
        line: Some(1.0),
    }
}

fn latency_chart(results: &Results) -> Bars {
    let callers = results.callers();
    let series = results.systems.iter().map(|system| {
        let bars = callers.iter().map(|callers| {
            let p50 = results.spread(&system.name, *callers, |run| run.p50_us as f64)?;
            let p99 = results.spread(&system.name, *callers, |run| run.p99_us as f64)?;
            Some(Bar::Range(p50.median / 1000.0, p99.median / 1000.0))
        });
        (system.name.clone(), bars.collect())
    });
    Bars {
        title: "Time until the answer, from p50 to p99, ms".to_owned(),
        source: results.command.clone(),
        groups: groups(&callers),
        series: series.collect(),
        logarithmic: true,
        line: None,
    }
}

fn cpu_chart(results: &Results) -> Bars {
    let callers = results.callers();
    let series = results.systems.iter().map(|system| {
        let bars = callers.iter().map(|callers| {
            let cpu = results.spread(&system.name, *callers, |run| run.server_cpu_us)?;
            Some(Bar::Whisker(cpu.min, cpu.median, cpu.max))
        });
        (system.name.clone(), bars.collect())
    });
    Bars {
        title: "CPU of all servers for each message, µs: median, min–max".to_owned(),
        source: results.command.clone(),
        groups: groups(&callers),
        series: series.collect(),
        logarithmic: true,
        line: None,
    }
}

fn groups(callers: &[u64]) -> Vec<String> {
    let name = |callers: &u64| match callers {
        1 => "1 caller".to_owned(),
        callers => format!("{callers} callers"),
    };
    callers.iter().map(name).collect()
}

#[cfg(test)]
#[path = "performance_tests.rs"]
mod tests;
