//! The header in which a call names the trace that it belongs to (W3C Trace Context).
//!
//! A header that is not as the standard says is none.

use conclave_replica::Trace;

/// Name of the header.
pub(crate) const HEADER: &str = "traceparent";
/// Length of the header in the only version that there is: `00-TRACE-SPAN-FLAGS`.
const BYTES: usize = 55;
/// Version of the headers that are written.
const VERSION: &str = "00";
/// Version that no header may have.
const VERSION_INVALID: u8 = 0xff;
/// Flag of a trace whose spans are kept.
const SAMPLED: u8 = 1;

/// A span in a trace, as a caller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    /// Number of the trace, not 0.
    pub(crate) trace_id: u128,
    /// Number of the span, not 0.
    pub(crate) span_id: u64,
    /// Whether the caller keeps the spans of this trace.
    pub(crate) sampled: bool,
}

impl TraceParent {
    /// Parses the header.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let header = str::from_utf8(header).ok()?;
        let mut parts = header.splitn(5, '-');
        let (version, trace_id) = (parts.next()?, parts.next()?);
        let (span_id, flags) = (parts.next()?, parts.next()?);
        let lengths = [version, trace_id, span_id, flags].map(str::len);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let known = header.get(..BYTES)?;
        if lengths != [2, 32, 16, 2] || !known.bytes().all(|byte| is_hex(byte) || byte == b'-') {
            return None;
        }
        // A later version may have more behind.
        let version_number = u8::from_str_radix(version, 16).ok()?;
        let has_more = parts.next().is_some();
        if version_number == VERSION_INVALID || (version == VERSION && has_more) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok()?;
        let span_id = u64::from_str_radix(span_id, 16).ok()?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & SAMPLED != 0,
        })
    }
}

/// Returns the header of a call that belongs to this trace.
pub(crate) fn show(trace: &Trace) -> String {
    let (id, span) = (trace.id(), trace.parent_id());
    format!("{VERSION}-{id:032x}-{span:016x}-{SAMPLED:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_names_a_trace_and_a_span() {
        let parsed = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parsed.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parsed.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parsed.sampled);
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!TraceParent::parse(unsampled.as_bytes()).unwrap().sampled);
        let later = format!("cc{}-what-follows", &GOOD[2..]);
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parsed));
    }

    #[test]
    fn a_header_that_is_not_as_the_standard_says_is_none() {
        let zeros = "00000000000000000000000000000000";
        for wrong in [
            String::new(),
            "-".repeat(55),
            "00-".to_owned(),
            GOOD.to_uppercase(),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-00"),
            format!("ff{}", &GOOD[2..]),
            format!("+0{}", &GOOD[2..]),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", zeros),
            GOOD.replace("00f067aa0ba902b7", &zeros[..16]),
            GOOD.replace('4', "ä"),
            "0".repeat(60_000),
        ] {
            assert_eq!(TraceParent::parse(wrong.as_bytes()), None, "{wrong:.80}");
        }
        assert_eq!(TraceParent::parse(b"\xff\xfe"), None);
    }
}
