//! The form of what `bench/peers` measures: systems, their promises, and one record for each run.
//!
//! The files are committed, so each field is a figure or says what a figure means.

use serde::{Deserialize, Serialize};

/// Everything that one command has measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Day of the measurement, in UTC.
    pub day: String,
    /// Command that measures the same again.
    pub command: String,
    /// Machine on which everything ran.
    pub machine: Machine,
    /// Nodes of each cluster.
    pub nodes: u64,
    /// Bytes of a message.
    pub payload_bytes: u64,
    /// Seconds before a measurement in which the same load ran.
    pub warm_up_seconds: f64,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Rounds; each system has its turn in each.
    pub rounds: u64,
    /// Greatest CPU of other processes during a run that counts, in percent of one core.
    pub other_cpu_percent_max: f64,
    /// Systems, in the order of the tables; Conclave is the first.
    pub systems: Vec<System>,
    /// One record for each run.
    pub runs: Vec<Run>,
    /// One record for each killed leader.
    pub kills: Vec<Kill>,
}

/// The machine that all nodes and callers share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Processors that the system counts.
    pub cores: u64,
    /// Model of the processor.
    pub processor: String,
    /// Memory.
    pub memory_mib: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// File system of the data directories.
    pub file_system: String,
}

/// A system with the settings under which it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Short name, also the key of the records.
    pub name: String,
    /// What the system itself calls its version.
    pub version: String,
    /// Settings that differ from the defaults, and what one operation is.
    pub settings: String,
    /// What is on disk when the caller has its answer.
    pub synced: String,
    /// Where it is when the caller has its answer.
    pub replicated: String,
    /// What happens to a retry.
    pub retries: String,
}

/// One measurement of one system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Name of the system.
    pub system: String,
    /// Round, counted from 1.
    pub round: u64,
    /// Callers that each wait for an answer before they send again.
    pub callers: u64,
    /// Acknowledged messages in each second.
    pub per_second: f64,
    /// Median time until the answer.
    pub p50_us: u64,
    /// Time until the answer that one of a hundred exceeds.
    pub p99_us: u64,
    /// CPU time of all servers for each message.
    pub server_cpu_us: f64,
    /// CPU time of the callers for each message.
    pub client_cpu_us: f64,
    /// Part of the servers' CPU time that the busiest one used.
    pub busiest_server_share: f64,
    /// Bytes that all servers had the system write to disk for each message.
    pub disk_bytes: f64,
    /// Bytes that crossed the loopback interface for each message.
    pub network_bytes: f64,
    /// Resident memory of each server at each tenth of the run, the last at its end.
    pub memory_mib: Vec<Vec<f64>>,
    /// CPU of other processes meanwhile, in percent of one core.
    pub other_cpu_percent: f64,
    /// Operations that failed or had no answer in time.
    pub errors: u64,
    /// Whether the system held at least what it had acknowledged; `None` if it cannot be asked.
    pub verified: Option<bool>,
}

/// One leader that was killed under load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// Name of the system, with its timers.
    pub system: String,
    /// Number of the kill, counted from 1.
    pub number: u64,
    /// Longest time without an acknowledgement around the kill.
    pub gap_ms: f64,
}

/// Smallest, middle and greatest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Median: the mean of the two middle ones if their number is even.
    pub median: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// Returns the spread of figures, or `None` without any.
    #[must_use]
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Some(Self { min, median, max })
    }
}

impl Results {
    /// Returns the numbers of callers that were measured, in ascending order.
    #[must_use]
    pub fn callers(&self) -> Vec<u64> {
        let mut callers: Vec<u64> = self.runs.iter().map(|run| run.callers).collect();
        callers.sort_unstable();
        callers.dedup();
        callers
    }

    /// Returns the runs of one system with so many callers.
    pub fn runs_of<'a>(&'a self, system: &'a str, callers: u64) -> impl Iterator<Item = &'a Run> {
        let runs = self.runs.iter();
        runs.filter(move |run| run.system == system && run.callers == callers)
    }

    /// Returns the spread of one figure over the rounds.
    pub fn spread(
        &self,
        system: &str,
        callers: u64,
        figure: impl Fn(&Run) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.runs_of(system, callers).map(figure).collect())
    }

    /// Returns the ratio of the first system's messages per second to those of another one, of each
    /// round by itself: the speed of a machine changes between rounds.
    #[must_use]
    pub fn ratio(&self, to: &str, callers: u64) -> Option<Spread> {
        let first = &self.systems.first()?.name;
        let mut ratios = Vec::new();
        for run in self.runs_of(first, callers) {
            let mut other = self.runs_of(to, callers);
            if let Some(other) = other.find(|other| other.round == run.round) {
                ratios.push(run.per_second / other.per_second.max(f64::MIN_POSITIVE));
            }
        }
        Spread::of(ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(Spread::of(Vec::new()), None);
        let even = Spread::of(vec![4.0, 1.0, 2.0, 9.0]);
        let (min, median, max) = (1.0, 3.0, 9.0);
        assert_eq!(even, Some(Spread { min, median, max }));
        let odd = Spread::of(vec![4.0, 1.0, 2.0]).map(|spread| spread.median);
        assert_eq!(odd, Some(2.0));
    }
}
