//! The deadline of a call: as the client asks for it, within bounds.
//!
//! Always true: no call may take longer than [`LIMIT_MAX`], whatever its client says, and a part of
//! the client's time is left for the answer to travel back.

use std::time::Duration;

use axum::http::HeaderMap;
use tokio::time::Instant;

/// Time for a call if the client does not set one.
const LIMIT_DEFAULT: Duration = Duration::from_secs(5);
/// Maximum time for a call, whatever the client sets.
const LIMIT_MAX: Duration = Duration::from_secs(10);
/// Part of the client's time that is left for the answer to travel back, at most a quarter of it:
/// with less, the client on a busy machine would give up before it gets the reason.
const MARGIN: Duration = Duration::from_millis(100);

/// Time by which a call must be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of a call with these headers.
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        let asked = headers.get("grpc-timeout");
        Self::asked(asked.and_then(|value| value.to_str().ok()))
    }

    fn asked(asked: Option<&str>) -> Self {
        let limit = asked
            .and_then(parse_timeout)
            .map_or(LIMIT_DEFAULT, |asked| asked.min(LIMIT_MAX));
        Self(Instant::now() + limit.saturating_sub(MARGIN.min(limit / 4)))
    }

    /// Returns the deadline of a call whose caller cannot set one.
    pub(crate) fn usual() -> Self {
        Self::asked(None)
    }

    /// Returns the deadline of a request that this node makes by itself.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Parses a time-out as gRPC writes it: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = number.parse().ok().filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_of_a_client_is_parsed() {
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse_timeout("150m"), Some(Duration::from_millis(150)));
        for bad in ["", "S", "2", "2x", "123456789S", "-1S"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
