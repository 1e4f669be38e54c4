//! The table `recover` of the settings: recovery that the node carries out by itself.

use std::time::Duration;

use serde::Deserialize;

/// Shortest and longest time for which a majority must be gone, in seconds: no pause of a process
/// that the others forgive lasts as long.
const AFTER_SECONDS: std::ops::RangeInclusive<u64> = 5..=86_400;
/// Shortest and longest time that the command may take, in seconds.
const FENCE_SECONDS: std::ops::RangeInclusive<u64> = 1..=3600;

/// The table `recover` of the settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecoverConfig {
    /// Command that makes sure that the other voter is off. It gets `NUMBER=PEER_ADDRESS` as its
    /// argument, and exits with 0 only if that machine is proven to be off.
    pub fence_command: Option<String>,
    /// Longest time that the command may take, in seconds.
    pub fence_seconds: u64,
    /// Whether a machine that does not answer is taken to be off, without proof.
    pub assume_fail_stop: bool,
    /// Time for which a majority must be gone, in seconds.
    pub after_seconds: u64,
}

impl Default for RecoverConfig {
    fn default() -> Self {
        Self {
            fence_command: None,
            fence_seconds: 60,
            assume_fail_stop: false,
            after_seconds: 30,
        }
    }
}

/// What shows that the other machine is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The operator's command, which may take so long.
    Command { command: String, limit: Duration },
    /// Nothing: a machine that does not answer is taken to be off.
    Assumed,
}

/// How the node recovers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailStop {
    pub(crate) proof: Proof,
    /// Time for which a majority must be gone.
    pub(crate) after: Duration,
}

impl RecoverConfig {
    /// Returns how the node recovers by itself; `None` if it does not.
    ///
    /// # Errors
    /// Why the settings contradict each other.
    pub(crate) fn fail_stop(&self) -> Result<Option<FailStop>, String> {
        for (name, value, bounds) in [
            ("after_seconds", self.after_seconds, AFTER_SECONDS),
            ("fence_seconds", self.fence_seconds, FENCE_SECONDS),
        ] {
            if !bounds.contains(&value) {
                let (start, end) = (bounds.start(), bounds.end());
                return Err(format!("`{name}` is {start} to {end}"));
            }
        }
        let proof = match (&self.fence_command, self.assume_fail_stop) {
            (Some(_), true) => {
                return Err("either `fence_command` or `assume_fail_stop`, not both".to_owned());
            }
            (Some(command), false) if command.trim().is_empty() => {
                return Err("`fence_command` is empty".to_owned());
            }
            (Some(command), false) => Proof::Command {
                command: command.clone(),
                limit: Duration::from_secs(self.fence_seconds),
            },
            (None, true) => Proof::Assumed,
            (None, false) => return Ok(None),
        };
        let after = Duration::from_secs(self.after_seconds);
        Ok(Some(FailStop { proof, after }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_recovers_by_itself_only_if_one_way_is_set() {
        let of = |fence_command: Option<&str>, assume_fail_stop, after_seconds| {
            let config = RecoverConfig {
                fence_command: fence_command.map(str::to_owned),
                assume_fail_stop,
                after_seconds,
                ..RecoverConfig::default()
            };
            config.fail_stop()
        };
        assert_eq!(RecoverConfig::default().fail_stop(), Ok(None));
        let assumed = of(None, true, 30).unwrap().unwrap();
        assert_eq!(assumed.proof, Proof::Assumed);
        let fenced = of(Some("off"), false, 5).unwrap().unwrap();
        assert_eq!(fenced.after, Duration::from_secs(5));
        for (command, assumed, after) in [
            (Some("off"), true, 30),
            (Some(" "), false, 30),
            (None, true, 4),
            (None, false, 0),
        ] {
            assert!(of(command, assumed, after).is_err(), "{command:?} {after}");
        }
    }
}
