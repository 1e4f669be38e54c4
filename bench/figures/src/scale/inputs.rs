//! What the simulation is given: measured costs, limits, assumptions and a machine.
//!
//! All are in one file; each figure says where it comes from. A figure that is missing, or that the
//! simulation does not know, is an error.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde::Deserialize;

/// One figure of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    pub(crate) key: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    pub(crate) what: String,
    pub(crate) how: String,
}

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inputs {
    pub(crate) seed: u64,
    pub(crate) users: Vec<u64>,
    pub(crate) measured: Vec<Figure>,
    pub(crate) limits: Vec<Figure>,
    pub(crate) assumed: Vec<Figure>,
    pub(crate) machine: Vec<Figure>,
}

macro_rules! figures {
    ($($name:ident),* $(,)?) => {
        /// The figures by their keys.
        #[derive(Clone, Debug)]
        pub(crate) struct Figures {
            $(pub(crate) $name: f64,)*
        }

        /// Keys of all figures.
        const KEYS: &[&str] = &[$(stringify!($name)),*];

        impl Figures {
            fn new(mut value: impl FnMut(&str) -> anyhow::Result<f64>) -> anyhow::Result<Self> {
                Ok(Self { $($name: value(stringify!($name))?,)* })
            }
        }
    };
}

figures! {
    message_cpu_us, leader_share, messages_per_second_max, index_cpu_us, message_disk_bytes,
    message_network_bytes, delivery_cpu_us, stream_cpu_us, stream_kib, node_mib,
    snapshot_mib_per_second, streams_per_node, members_per_group, messages_per_day, peak_factor,
    days_kept, room_share, directs_per_user, rooms_per_user, room_size_min, room_size_tail,
    room_activity, room_spread, online_share, devices, delivery_bytes, learner_cpu_us, cores,
    memory_gib, disk_gib, network_gbit, cpu_used, memory_used, disk_used, network_used, rate_used,
    join_hours,
}

impl Inputs {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Returns the figures by their keys.
    pub(crate) fn figures(&self) -> anyhow::Result<Figures> {
        let all = [&self.measured, &self.limits, &self.assumed, &self.machine];
        let all: Vec<&Figure> = all.into_iter().flatten().collect();
        if let Some(unknown) = all
            .iter()
            .find(|figure| !KEYS.contains(&figure.key.as_str()))
        {
            bail!("the simulation knows no figure `{}`", unknown.key);
        }
        Figures::new(|key| {
            let mut found = all.iter().filter(|figure| figure.key == key);
            let figure = found
                .next()
                .with_context(|| format!("there is no figure `{key}`"))?;
            if found.next().is_some() || !figure.value.is_finite() || figure.value <= 0.0 {
                bail!("`{key}` must be there once, and greater than 0");
            }
            Ok(figure.value)
        })
    }
}
