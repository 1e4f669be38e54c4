//! Chooses the zone in which times are shown: that of `--zone`, else of `TZ`, else of the system,
//! else UTC.
//!
//! Always true: a time of UTC is marked as one, so that no reader takes it for a local one.

use jiff::tz::TimeZone;

use crate::errors::note;

/// Names of UTC in the database of zones.
const UTC_NAMES: [&str; 8] = [
    "UTC",
    "Etc/UTC",
    "UCT",
    "Etc/UCT",
    "Universal",
    "Etc/Universal",
    "Zulu",
    "Etc/Zulu",
];

/// Finds the zone with this name.
pub(crate) fn named(name: &str) -> Result<TimeZone, String> {
    if name.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name)
        .map_err(|_| "no zone has this name: write it as Asia/Tokyo or UTC".to_owned())
}

/// Returns the requested zone, or that of the environment or of the system. Prints a warning if
/// `TZ` names no zone.
pub(crate) fn chosen(asked: Option<&TimeZone>) -> TimeZone {
    if let Some(asked) = asked {
        return asked.clone();
    }
    TimeZone::try_system().unwrap_or_else(|_| {
        // A system without a time zone setting has none of its own: most containers.
        if let Some(unknown) = std::env::var_os("TZ").filter(|name| !name.is_empty()) {
            let unknown = unknown.to_string_lossy();
            note(&format!(
                "warning: TZ={unknown} is not a known time zone: times are shown in UTC"
            ));
        }
        TimeZone::UTC
    })
}

/// Returns whether times of this zone are those of UTC all the year.
pub(crate) fn is_utc(zone: &TimeZone) -> bool {
    let name = zone.iana_name();
    zone.is_unknown() || name.is_some_and(|name| UTC_NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_a_name_of_the_database() {
        for name in ["Asia/Tokyo", "asia/tokyo", "America/St_Johns"] {
            assert!(!is_utc(&named(name).unwrap()), "{name}");
        }
        for name in ["UTC", "utc", "Etc/UTC", "Zulu"] {
            assert!(is_utc(&named(name).unwrap()), "{name}");
        }
        for name in ["", "Mars/Olympus", "/etc/passwd", "../Asia/Tokyo"] {
            assert!(named(name).is_err(), "{name}");
        }
        assert!(is_utc(&TimeZone::unknown()));
        assert!(!is_utc(&named("Europe/London").unwrap()), "only in winter");
    }
}
