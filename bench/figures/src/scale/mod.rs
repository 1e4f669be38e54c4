//! Simulates conversations of many users on one group and on several.
//!
//! A group is a cluster of today: three voters and learners with one log. Costs are the measured
//! ones; what is not built is marked so on the page. The same file of inputs gives the same page.

mod crowd;
mod group;
mod inputs;
mod page;
mod placement;

#[cfg(test)]
mod tests;

pub use page::{files, write};

use self::{
    crowd::{Crowd, Load},
    group::{Group, Raised, Used, VOTERS},
    inputs::{Figures, Inputs},
    placement::{Parts, Placement},
};

/// Numbers of groups that are tried, until one fits.
const GROUPS: [usize; 25] = [
    1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40, 48, 64, 96, 128, 192, 256, 384, 512,
    1024,
];

/// A way to serve all users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// Conversations by hash; a device has a stream to each group in which it has some.
    Hash,
    /// The largest rooms and the slots by load.
    Load,
    /// By load, and devices have one stream to a machine that has one to each group.
    Gateways,
}

impl Scheme {
    const ALL: [Self; 3] = [Self::Hash, Self::Load, Self::Gateways];

    fn name(self) -> &'static str {
        match self {
            Self::Hash => "by hash",
            Self::Load => "by load",
            Self::Gateways => "by load, gateways",
        }
    }
}

/// What it takes to serve all users in one way.
#[derive(Clone, Debug)]
struct Outcome {
    groups: usize,
    /// Machines of all groups and gateways.
    machines: f64,
    gateways: f64,
    /// Bound that is the fullest, of the fullest group.
    fullest: Used,
    /// Machines of that group, and what a machine of it uses of all bounds.
    its_machines: f64,
    its_used: Vec<Used>,
    /// Messages and deliveries of the busiest group, in those of the mean one.
    uneven: (f64, f64),
    /// Groups in which a user has conversations.
    groups_of_user: f64,
    /// Bytes of memory for streams, of all machines.
    streams_gib: f64,
}

/// The crowd of one number of users, with what can be said of it.
struct World<'a> {
    crowd: Crowd,
    parts: Parts,
    figures: &'a Figures,
}

impl<'a> World<'a> {
    fn new(users: u64, figures: &'a Figures, seed: u64) -> Self {
        let crowd = Crowd::draw(users, figures, seed);
        let parts = Parts::of(&crowd);
        Self {
            crowd,
            parts,
            figures,
        }
    }

    /// Devices that are connected at the peak.
    fn devices(&self) -> f64 {
        self.crowd.users * self.figures.online_share * self.figures.devices
    }

    /// Returns in how many of some groups a user has conversations that are spread evenly.
    fn groups_of_user(&self, groups: usize) -> f64 {
        let conversations = self.figures.directs_per_user + self.figures.rooms_per_user;
        let all = groups as f64;
        all * (1.0 - (1.0 - 1.0 / all).powf(conversations))
    }

    /// Returns the only group.
    fn one_group(&self) -> Group {
        let (load, accounts) = (self.crowd.total, self.crowd.users);
        Group {
            load,
            streams: self.devices(),
            accounts,
        }
    }

    /// Machines that hold the streams of all devices, and nothing else.
    fn gateways(&self) -> f64 {
        let f = self.figures;
        let cpu =
            self.devices() * f.stream_cpu_us + self.crowd.total.deliveries * f.delivery_cpu_us;
        let cpu = cpu / 1e6 / (f.cores * f.cpu_used);
        let memory = self.devices() * f.stream_kib / 1024.0 / 1024.0;
        let memory = memory / (f.memory_gib * f.memory_used);
        // One may die.
        cpu.max(memory).ceil() + 1.0
    }

    /// Returns the smallest number of groups that serve all, and what they take.
    fn outcome(&self, scheme: Scheme, raised: Raised) -> Option<Outcome> {
        GROUPS
            .iter()
            .find_map(|groups| self.with(*groups, scheme, raised).ok())
    }

    /// Returns what so many groups take, or the bound that is in the way.
    fn with(&self, groups: usize, scheme: Scheme, raised: Raised) -> Result<Outcome, Used> {
        let placement = match scheme {
            Scheme::Hash => Placement::Hash,
            Scheme::Load | Scheme::Gateways => Placement::Load,
        };
        let loads = self.parts.place(groups, placement);
        let of_user = self.groups_of_user(groups);
        let share = of_user / groups as f64;
        let accounts = self.crowd.users * share;
        let (gateways, streams) = match scheme {
            Scheme::Gateways => (self.gateways(), self.gateways()),
            Scheme::Hash | Scheme::Load => (0.0, self.devices() * share),
        };
        let (mut machines, mut fullest): (f64, Option<(Used, f64, Group)>) = (gateways, None);
        for load in &loads {
            let mut load = *load;
            if scheme == Scheme::Gateways {
                // A gateway takes a message once, for all of its devices.
                load.deliveries = load.deliveries.min(load.messages * gateways);
            }
            let group = Group {
                load,
                streams,
                accounts,
            };
            let (its, used) = group.machines(self.figures, raised)?;
            machines += its;
            if fullest.is_none_or(|(most, _, _)| used.part > most.part) {
                fullest = Some((used, its, group));
            }
        }
        let (fullest, its_machines, group) = fullest.expect("there is a group");
        let uneven = |of: fn(&Load) -> f64| {
            let mean = loads.iter().map(of).sum::<f64>() / groups as f64;
            loads.iter().map(of).fold(0.0, f64::max) / mean.max(f64::MIN_POSITIVE)
        };
        let streams = match scheme {
            Scheme::Gateways => self.devices(),
            Scheme::Hash | Scheme::Load => self.devices() * of_user,
        };
        Ok(Outcome {
            groups,
            machines,
            gateways,
            fullest,
            its_machines,
            its_used: group.used(its_machines, self.figures, true),
            uneven: (uneven(|load| load.messages), uneven(|load| load.deliveries)),
            groups_of_user: of_user,
            streams_gib: streams * self.figures.stream_kib / 1024.0 / 1024.0,
        })
    }
}
