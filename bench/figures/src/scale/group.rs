//! What a group needs: how full its bounds are, and on how many machines it fits.

use conclave_core::limits::{ACCOUNTS_MAX, ROOMS_MAX};

use super::{crowd::Load, inputs::Figures};

/// Voters of a group.
pub(super) const VOTERS: f64 = 3.0;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
const MICROSECONDS: f64 = 1e6;

/// What one group is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) load: Load,
    /// Streams of devices, or of gateways.
    pub(super) streams: f64,
    /// Accounts that the group knows.
    pub(super) accounts: f64,
}

/// A bound, and which part of it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Used {
    pub(super) name: &'static str,
    pub(super) part: f64,
    /// Whether more machines of the same group help.
    pub(super) machines_help: bool,
}

impl Group {
    /// Returns which part of each bound is used with so many machines.
    pub(super) fn used(&self, machines: f64, f: &Figures, streams_raised: bool) -> Vec<Used> {
        let Load {
            messages,
            deliveries,
            rooms,
        } = self.load;
        let follower = f.message_cpu_us * (1.0 - f.leader_share) / (VOTERS - 1.0);
        let learners = machines - VOTERS;
        let streams = self.streams / machines;
        let of_streams = streams * f.stream_cpu_us + deliveries / machines * f.delivery_cpu_us;
        let cpu = |own: f64| {
            let us = messages * (own + f.index_cpu_us) + of_streams;
            us / MICROSECONDS / (f.cores * f.cpu_used)
        };
        let at_leader = f.message_cpu_us * f.leader_share + learners * f.learner_cpu_us;
        let bits = 8.0
            * (messages * f.message_network_bytes / VOTERS * (machines - 1.0)
                + deliveries / machines * f.delivery_bytes);
        let stored = messages / f.peak_factor * 86_400.0 * f.days_kept * f.message_disk_bytes;
        let memory = (f.node_mib * 1024.0 + streams * f.stream_kib) * 1024.0;
        let join_seconds = stored / (f.snapshot_mib_per_second * 1024.0 * 1024.0);
        let used = |name, part, machines_help| Used {
            name,
            part,
            machines_help,
        };
        let mut all = vec![
            used(
                "messages/s",
                messages / (f.messages_per_second_max * f.rate_used),
                false,
            ),
            used("CPU", cpu(at_leader).max(cpu(follower)), true),
            used(
                "memory",
                memory / (f.memory_gib * GIB * f.memory_used),
                true,
            ),
            used("disk", stored / (f.disk_gib * GIB * f.disk_used), false),
            used(
                "network",
                bits / (f.network_gbit * 1e9 * f.network_used),
                true,
            ),
            used("joining", join_seconds / 3600.0 / f.join_hours, false),
            used("rooms", rooms / ROOMS_MAX as f64, false),
            used("accounts", self.accounts / ACCOUNTS_MAX as f64, false),
        ];
        if !streams_raised {
            all.push(used("streams", streams / f.streams_per_node, true));
        }
        all
    }

    /// Returns the smallest number of machines on which the group fits, and the fullest bound then;
    /// if it fits on none, the bound that is in the way.
    pub(super) fn machines(&self, f: &Figures, raised: Raised) -> Result<(f64, Used), Used> {
        let mut machines = VOTERS;
        loop {
            let used = self.used(machines, f, raised.streams);
            let counted = used.into_iter().filter(|used| raised.counts(used.name));
            let fullest = counted.max_by(|one, other| one.part.total_cmp(&other.part));
            let fullest = fullest.expect("there are bounds");
            if fullest.part <= 1.0 {
                return Ok((machines, fullest));
            }
            if !fullest.machines_help || machines >= f.members_per_group {
                return Err(fullest);
            }
            machines += 1.0;
        }
    }
}

/// Bounds of today that are left out: constants in the program, not costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raised {
    pub(super) streams: bool,
    pub(super) accounts_and_rooms: bool,
}

impl Raised {
    fn counts(self, bound: &str) -> bool {
        !(self.accounts_and_rooms && ["accounts", "rooms"].contains(&bound))
    }
}
