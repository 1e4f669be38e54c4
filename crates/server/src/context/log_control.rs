//! Changes which lines the log of the process has, while the node runs.
//!
//! The log itself belongs to the program around the node, which hands over how to change it. Always
//! true: a filter that comes by a call names levels and the targets that they are for, and nothing
//! else: a few short words, none of which a program has to search for in every line.

use std::sync::{Arc, OnceLock};

use conclave_wire::{Problem, Reason};

/// Maximum length of a filter in bytes.
const BYTES_MAX: usize = 256;
/// Maximum number of parts of a filter.
const PARTS_MAX: usize = 16;
/// Levels, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How the program around a node changes its log.
pub trait LogControl: Send + Sync {
    /// Returns the filter in use.
    fn filter(&self) -> String;

    /// Uses this filter from now on.
    ///
    /// # Errors
    /// Why it is no filter; the one in use stays.
    fn set_filter(&self, filter: &str) -> Result<(), String>;
}

/// The log of the process, once the program around the node has handed it over.
#[derive(Default)]
pub(crate) struct LogSlot(OnceLock<Arc<dyn LogControl>>);

impl LogSlot {
    /// Takes over how to change the log.
    pub(crate) fn fill(&self, control: Arc<dyn LogControl>) {
        // A program has one log.
        let _ = self.0.set(control);
    }

    /// Changes the filter unless it is empty, and returns the one in use.
    ///
    /// # Errors
    /// [`Reason::LogFilterInvalid`]; nothing was changed.
    pub(crate) fn change(&self, filter: &str) -> Result<String, Problem> {
        let refused = |why: &str| Problem::refused(Reason::LogFilterInvalid, why);
        let control = self.0.get();
        let control = control.ok_or_else(|| refused("this process has no log of its own"))?;
        if !filter.is_empty() {
            check(filter).map_err(refused)?;
            control.set_filter(filter).map_err(|why| refused(&why))?;
            tracing::warn!(filter, "the log filter was changed by an operator");
        }
        Ok(control.filter())
    }
}

/// Checks that a filter is `LEVEL` or `TARGET=LEVEL`, or several of them with commas between.
fn check(filter: &str) -> Result<(), &'static str> {
    if filter.len() > BYTES_MAX {
        return Err("a log filter has at most 256 bytes");
    }
    if filter.split(',').count() > PARTS_MAX {
        return Err("a log filter has at most 16 parts");
    }
    let is_target = |target: &str| {
        let mut characters = target.chars();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        !target.is_empty() && characters.all(is_of_name)
    };
    let is_part = |part: &str| match part.split_once('=') {
        Some((target, level)) => is_target(target) && LEVELS.contains(&level),
        None => LEVELS.contains(&part),
    };
    match filter.split(',').all(is_part) {
        true => Ok(()),
        false => Err(
            "a log filter reads LEVEL or TARGET=LEVEL, with commas between; levels are \
                      off, error, warn, info, debug and trace",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_targets_and_nothing_else() {
        for filter in [
            "debug",
            "off",
            "warn,conclave_server=debug,conclave_replica::proposer=trace",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
        for filter in [
            "",
            "loud",
            "DEBUG",
            "debug,",
            "=debug",
            "a=loud",
            "[span]=debug",
            "a[{field=.*}]=trace",
            "a b=info",
            "a=info=info",
        ] {
            assert!(check(filter).is_err(), "{filter}");
        }
        assert!(check(&["info"; 17].join(",")).is_err());
        assert!(check(&format!("{}=info", "a".repeat(260))).is_err());
    }
}
