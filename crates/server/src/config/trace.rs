//! The table `trace` of the settings: where the steps of calls are sent, and of how many calls.

use serde::Deserialize;

use crate::base::tracer::Sample;

/// The table `trace` of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceConfig {
    /// Address of a collector of OpenTelemetry that takes OTLP by gRPC, as `http://HOST:PORT`. If
    /// not given, nothing is traced. Needs a program that was built with the feature `otlp`.
    pub otlp: Option<String>,
    /// Part of the calls that are traced, from 0 to 1.
    pub sample: Sample,
}
