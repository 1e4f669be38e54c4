//! Writes families of metrics by their full names, in the format of OpenMetrics.
//!
//! A name ends as the conventions of Prometheus say: a counter in `_total`, before it the unit, if
//! there is one. Always true: a family is written with its type even while it has no sample, so
//! that what a node can say does not depend on what has happened to it.

use std::{borrow::Cow, fmt};

use conclave_storage::{LATENCY_BOUNDS, LatencyCounts};
use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

static SECONDS: Unit = Unit::Seconds;
static BYTES: Unit = Unit::Bytes;

/// A value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Count(u64),
    Signed(i64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Signed(number)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(is_so.into())
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Self {
        Self::Real(real)
    }
}

/// A label and its value.
pub(super) type Label<'l> = (&'static str, Cow<'l, str>);

/// Returns a label.
pub(super) fn label<'l>(name: &'static str, value: impl Into<Cow<'l, str>>) -> Label<'l> {
    (name, value.into())
}

/// The page of metrics, as far as it is written.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    /// Writes a gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Value>) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    /// Writes a gauge with a sample for each set of labels.
    pub(super) fn gauges<'l, const N: usize, V: Into<Value>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let (base, unit) = parts(name);
        let mut family = self
            .0
            .encode_descriptor(base, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            with_labels(&mut family, &labels, |sample| match value.into() {
                // The greatest number cannot be written.
                Value::Count(count) => sample.encode_gauge(&count.min(u64::MAX - 1)),
                Value::Signed(number) => sample.encode_gauge(&number),
                Value::Real(real) => sample.encode_gauge(&real),
            })?;
        }
        Ok(())
    }

    /// Writes a counter without labels.
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        value: impl Into<Value>,
    ) -> fmt::Result {
        self.counters(name, help, [([], value)])
    }

    /// Writes a counter with a sample for each set of labels.
    pub(super) fn counters<'l, const N: usize, V: Into<Value>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let (base, unit) = parts(name);
        let mut family = self
            .0
            .encode_descriptor(base, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            with_labels(&mut family, &labels, |sample| match value.into() {
                Value::Count(count) => sample.encode_counter::<NoLabelSet, _, u64>(&count, None),
                Value::Signed(number) => {
                    let count = u64::try_from(number).unwrap_or(0);
                    sample.encode_counter::<NoLabelSet, _, u64>(&count, None)
                }
                Value::Real(real) => sample.encode_counter::<NoLabelSet, _, u64>(&real, None),
            })?;
        }
        Ok(())
    }

    /// Writes a histogram of times with a sample for each set of labels.
    pub(super) fn latencies<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], LatencyCounts)>,
    ) -> fmt::Result {
        let (base, unit) = parts(name);
        let mut family = self
            .0
            .encode_descriptor(base, help, unit, MetricType::Histogram)?;
        for (labels, counts) in samples {
            let bounds = LATENCY_BOUNDS.iter().map(|bound| bound.as_secs_f64());
            // The encoder writes this as infinity.
            let bounds = bounds.chain([f64::MAX]);
            let steps: Vec<(f64, u64)> = bounds.zip(counts.steps).collect();
            with_labels(&mut family, &labels, |sample| {
                let sum = counts.sum.as_secs_f64();
                sample.encode_histogram::<NoLabelSet>(sum, counts.count(), &steps, None)
            })?;
        }
        Ok(())
    }
}

/// Writes one sample, with its labels if it has any.
fn with_labels<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &[Label<'_>; N],
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    match N {
        0 => write(family),
        _ => write(&mut family.encode_family(labels)?),
    }
}

/// Divides a name into what is before the unit, and the unit.
fn parts(name: &str) -> (&str, Option<&'static Unit>) {
    match name.rsplit_once('_') {
        Some((base, "seconds")) => (base, Some(&SECONDS)),
        Some((base, "bytes")) => (base, Some(&BYTES)),
        _ => (name, None),
    }
}
