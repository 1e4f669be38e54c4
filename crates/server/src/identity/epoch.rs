//! The names of a cluster, one for each time that it was recovered by hand.
//!
//! A cluster that was recovered is a different cluster from before: what the lost nodes had may
//! contradict what happens from then on. So its name gets another suffix, `.N-xxxxxxxx`: how often
//! it was recovered, and random digits, because two survivors may be recovered by mistake. Nodes,
//! resume tokens and requests between nodes carry the name, so everything from before is refused.

use crate::base::random;

/// Returns the name of the cluster after one more recovery.
///
/// # Errors
/// If the system gives no random bytes.
pub(crate) fn next(cluster_id: &str) -> Result<String, String> {
    let (base, recoveries) = parts(cluster_id);
    let mark = random::bytes::<4>().map_err(|problem| problem.to_string())?;
    let mark = u32::from_be_bytes(mark);
    Ok(format!("{base}.{}-{mark:08x}", recoveries + 1))
}

/// Returns the name that a member has sent, or that of a cluster that was never recovered.
pub(crate) fn name(told: &str, from_the_start: &str) -> String {
    match told {
        "" => from_the_start.to_owned(),
        told => told.to_owned(),
    }
}

/// Returns whether `other` is a name that the cluster `own` had before it was recovered.
pub(crate) fn is_past(own: &str, other: &str) -> bool {
    let ((base, recoveries), (other_base, before)) = (parts(own), parts(other));
    base == other_base && before < recoveries
}

/// Returns the name from the start, and how often the cluster was recovered.
fn parts(cluster_id: &str) -> (&str, u64) {
    let Some((base, end)) = cluster_id.rsplit_once('.') else {
        return (cluster_id, 0);
    };
    let recoveries = end
        .split_once('-')
        .and_then(|(number, _)| number.parse().ok());
    recoveries.map_or((cluster_id, 0), |recoveries: u64| (base, recoveries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recovery_makes_the_earlier_cluster_names_past() {
        let first = "0123456789abcdef";
        let second = next(first).unwrap();
        let third = next(&second).unwrap();
        assert!(second.starts_with("0123456789abcdef.1-"), "{second}");
        assert!(third.starts_with("0123456789abcdef.2-"), "{third}");
        assert!(is_past(&second, first) && is_past(&third, first) && is_past(&third, &second));
        for (own, other) in [
            (first, &*second),
            (first, first),
            (&second, &third),
            (&second, "fedcba9876543210"),
        ] {
            assert!(!is_past(own, other), "{own} {other}");
        }
        let twin = next(first).unwrap();
        assert!(twin != second && !is_past(&second, &twin) && !is_past(&twin, &second));
    }
}
