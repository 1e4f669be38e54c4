//! The page about scale: the tables of what is given and what follows, and two pictures.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Figures, Inputs, Raised, Scheme, VOTERS, World, inputs::Figure};
use crate::{
    chart::{Bar, Bars},
    number::{short, thousands},
    page::{fill, table},
};

/// What makes the page.
const SOURCE: &str = "cargo run -p conclave-figures";
/// Bounds of today.
const TODAY: Raised = Raised {
    streams: false,
    accounts_and_rooms: false,
};
/// Bounds that are only numbers in the program are left out.
const RAISED: Raised = Raised {
    streams: true,
    accounts_and_rooms: true,
};

/// Makes the page and its pictures from the inputs below a directory of documents.
///
/// # Errors
/// If the inputs cannot be understood, or the page lacks a mark.
pub fn files(docs: &Path) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let inputs = Inputs::read(&docs.join("scale/inputs.json"))?;
    let figures = inputs.figures()?;
    let worlds = inputs
        .users
        .iter()
        .map(|users| World::new(*users, &figures, inputs.seed));
    let worlds: Vec<World<'_>> = worlds.collect();
    let texts = BTreeMap::from(
        [
            ("measured", given("Cost", &inputs.measured)),
            ("limits", given("Bound", &inputs.limits)),
            ("assumed", given("Assumption", &inputs.assumed)),
            ("machine", given("Machine", &inputs.machine)),
            ("crowd", crowd(&worlds)),
            ("one", one_group(&worlds, &figures)),
            ("groups", several(&worlds)),
            ("nodes", nodes(&worlds, &figures)),
        ]
        .map(|(name, text)| (name.to_owned(), text)),
    );
    let page = docs.join("scale.md");
    let text = fill(&fs::read_to_string(&page)?, &texts)?;
    Ok(BTreeMap::from([
        (page, text),
        (
            docs.join("scale/one-group.svg"),
            one_group_chart(&worlds, &figures).svg(),
        ),
        (
            docs.join("scale/machines.svg"),
            machines_chart(&worlds).svg(),
        ),
    ]))
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

fn given(kind: &str, figures: &[Figure]) -> String {
    let rows = figures.iter().map(|figure| {
        let value = match figure.value.fract() == 0.0 {
            true => thousands(figure.value),
            false => figure.value.to_string(),
        };
        let value = format!("{value} {}", figure.unit).trim().to_owned();
        vec![figure.what.clone(), value, figure.how.clone()]
    });
    table(&[kind, "Value", "From"], &rows.collect::<Vec<_>>())
}

fn crowd(worlds: &[World<'_>]) -> String {
    let rows = worlds.iter().map(|world| {
        let crowd = &world.crowd;
        let (messages, deliveries) = (crowd.total.messages, crowd.total.deliveries);
        vec![
            thousands(crowd.users),
            thousands(crowd.rooms.len() as f64),
            thousands(crowd.largest_room),
            thousands(messages),
            thousands(deliveries),
            short(deliveries / messages),
            thousands(world.devices()),
        ]
    });
    let head = [
        "Users",
        "Rooms",
        "Members of the largest",
        "Messages/s at the peak",
        "Deliveries/s",
        "Deliveries of a message",
        "Connected devices",
    ];
    table(&head, &rows.collect::<Vec<_>>())
}

/// Machines of one group that the table shows: voters, and as many as there may be.
fn machines_of(figures: &Figures) -> [f64; 2] {
    [VOTERS, figures.members_per_group]
}

fn one_group(worlds: &[World<'_>], figures: &Figures) -> String {
    let mut rows = Vec::new();
    for world in worlds {
        let group = world.one_group();
        for machines in machines_of(figures) {
            let mut row = vec![thousands(world.crowd.users), thousands(machines)];
            let used = group.used(machines, figures, false);
            row.extend(used.iter().map(|used| percent(used.part)));
            rows.push(row);
        }
    }
    let mut head = vec!["Users", "Machines"];
    if let Some(world) = worlds.first() {
        let used = world.one_group().used(VOTERS, figures, false);
        head.extend(used.iter().map(|used| used.name));
    }
    table(&head, &rows)
}

fn several(worlds: &[World<'_>]) -> String {
    let mut rows = Vec::new();
    for world in worlds {
        for (bounds, raised) in [("today", TODAY), ("raised", RAISED)] {
            for scheme in Scheme::ALL {
                let mut row = vec![
                    thousands(world.crowd.users),
                    bounds.to_owned(),
                    scheme.name().to_owned(),
                ];
                match world.outcome(scheme, raised) {
                    None => row.extend(["does not fit"; 7].map(str::to_owned)),
                    Some(it) => row.extend([
                        thousands(it.groups as f64),
                        thousands(it.machines),
                        thousands(it.gateways),
                        format!("{} {}", it.fullest.name, percent(it.fullest.part)),
                        format!("{}, {}", short(it.uneven.0), short(it.uneven.1)),
                        short(it.groups_of_user),
                        short(it.streams_gib),
                    ]),
                }
                rows.push(row);
            }
        }
    }
    let head = [
        "Users",
        "Bounds",
        "Placed",
        "Groups",
        "Machines",
        "of them gateways",
        "Fullest bound",
        "Busiest group / mean: messages, deliveries",
        "Groups of a user",
        "Memory of streams, GiB",
    ];
    table(&head, &rows)
}

/// What a node of the fullest group uses.
fn nodes(worlds: &[World<'_>], figures: &Figures) -> String {
    let mut rows = Vec::new();
    for world in worlds {
        for scheme in Scheme::ALL {
            let Some(it) = world.outcome(scheme, RAISED) else {
                continue;
            };
            let used = |name: &str, bound: f64| {
                let used = it.its_used.iter().find(|used| used.name == name);
                short(used.map_or(0.0, |used| used.part) * bound)
            };
            rows.push(vec![
                thousands(world.crowd.users),
                scheme.name().to_owned(),
                thousands(it.its_machines),
                used("CPU", figures.cores * figures.cpu_used),
                used("memory", figures.memory_gib * figures.memory_used),
                used("disk", figures.disk_gib * figures.disk_used),
                used(
                    "network",
                    figures.network_gbit * 1000.0 * figures.network_used,
                ),
                used("joining", figures.join_hours),
            ]);
        }
    }
    let head = [
        "Users",
        "Placed",
        "Machines of the fullest group",
        "Cores",
        "Memory GiB",
        "Disk GiB",
        "Network Mbit/s",
        "Replacing a node, hours",
    ];
    table(&head, &rows)
}

fn percent(part: f64) -> String {
    match 100.0 * part {
        percent if percent < 9.5 => format!("{percent:.1} %"),
        percent => format!("{} %", thousands(percent)),
    }
}

fn one_group_chart(worlds: &[World<'_>], figures: &Figures) -> Bars {
    let [voters, _] = machines_of(figures);
    let used = |world: &World<'_>| world.one_group().used(voters, figures, false);
    let names = worlds.first().map(used).unwrap_or_default();
    let series = worlds.iter().map(|world| {
        let bars = used(world).into_iter().map(|used| {
            let percent = 100.0 * used.part;
            Some(Bar::Whisker(percent, percent, percent))
        });
        (
            format!("{} users", thousands(world.crowd.users)),
            bars.collect(),
        )
    });
    Bars {
        title: "One group on three machines: percent of each bound".to_owned(),
        source: SOURCE.to_owned(),
        groups: names.iter().map(|used| used.name.to_owned()).collect(),
        series: series.collect(),
        logarithmic: true,
        line: Some(100.0),
    }
}

fn machines_chart(worlds: &[World<'_>]) -> Bars {
    let series = Scheme::ALL.iter().map(|scheme| {
        let bars = worlds.iter().map(|world| {
            let machines = world.outcome(*scheme, RAISED)?.machines;
            Some(Bar::Whisker(machines, machines, machines))
        });
        (scheme.name().to_owned(), bars.collect())
    });
    Bars {
        title: "Machines for all users, bounds of the program raised".to_owned(),
        source: SOURCE.to_owned(),
        groups: worlds
            .iter()
            .map(|it| format!("{} users", thousands(it.crowd.users)))
            .collect(),
        series: series.collect(),
        logarithmic: true,
        line: None,
    }
}
