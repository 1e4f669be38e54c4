//! Sends spans to a collector of OpenTelemetry, by OTLP over gRPC.
//!
//! A program that was built without the feature `otlp` has `no_otlp.rs` in its place.
//!
//! Always true: no call waits for the collector. Each request to it has a deadline; spans that it
//! does not take by then are dropped and counted, and are not sent again; what has come meanwhile
//! waits in the bounded queue. When the node stops, the last spans get a moment within its limit.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use conclave_replica::{Attribute, Span, SpanKind};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as WireSpan, Status as WireStatus, span::SpanKind as Kind,
        status::StatusCode,
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::{
    base::{system_time::system_time, tracer::SpanCounts},
    config::{sources::ConfigError, trace::TraceConfig},
};

/// Spans of one request, at most.
const SEND_SPANS_MAX: usize = 512;
/// How long spans wait for others.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take for one request.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection to the collector may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long the collector may take for the last spans of a node that stops.
const LAST_LIMIT: Duration = Duration::from_secs(1);

/// The collector to which spans are sent.
pub(super) struct Collector {
    channel: Channel,
}

impl Collector {
    /// Returns the collector that the settings name, if they name one. It is connected when there
    /// is something to send.
    ///
    /// # Errors
    /// [`ConfigError::Trace`].
    pub(super) fn of(config: &TraceConfig) -> Result<Option<Self>, ConfigError> {
        let Some(address) = &config.otlp else {
            return Ok(None);
        };
        let wrong = |why: &str| ConfigError::Trace(format!("`otlp` {why}"));
        if address.starts_with("https:") {
            let why = "is https, which is not spoken to collectors: name one on this machine or in \
                       a private network, which passes the spans on";
            return Err(wrong(why));
        }
        let rest = address.strip_prefix("http://");
        let rest = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        // The address is not repeated: it may hold a password.
        let form = || wrong("must read http://HOST:PORT");
        // The port is never guessed: 80 would be wrong without a word.
        let target = rest.filter(|rest| conclave_wire::address::check(rest).is_ok());
        let target = target.ok_or_else(form)?;
        let endpoint = Endpoint::from_shared(format!("http://{target}")).map_err(|_| form())?;
        let channel = endpoint.connect_timeout(CONNECT_LIMIT).connect_lazy();
        Ok(Some(Self { channel }))
    }

    /// Sends what comes out of the queue, on behalf of this node, until it is ended.
    pub(super) fn start(
        self,
        spans: mpsc::Receiver<Span>,
        node: u64,
        counts: Arc<SpanCounts>,
    ) -> Sending {
        let (end, ended) = watch::channel(false);
        let exporter = Exporter {
            client: TraceServiceClient::new(self.channel),
            resource: resource(node),
            spans,
            counts,
            fails: false,
        };
        Sending {
            end,
            task: Mutex::new(Some(tokio::spawn(exporter.run(ended)))),
        }
    }
}

/// Spans are being sent, until this is dropped.
pub(super) struct Sending {
    end: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Sending {
    /// Sends the last spans, as far as the collector takes them by `deadline` and within
    /// [`LAST_LIMIT`].
    pub(super) async fn end(&self, deadline: Instant) {
        let task = self.task.lock();
        let task = task.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut task) = task else {
            return;
        };
        self.end.send_replace(true);
        let deadline = deadline.min(Instant::now() + LAST_LIMIT);
        if timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let task = self.task.get_mut();
        if let Some(task) = task.unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

struct Exporter {
    client: TraceServiceClient<Channel>,
    resource: Resource,
    spans: mpsc::Receiver<Span>,
    counts: Arc<SpanCounts>,
    /// Whether the last request has failed, so that the log says each change once.
    fails: bool,
}

impl Exporter {
    async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(SEND_SPANS_MAX);
        loop {
            let goes_on = gather(&mut self.spans, &mut batch, &mut end).await;
            if !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
            } else if !goes_on {
                return;
            }
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let mut request = Request::new(self.request(spans));
        request.set_timeout(SEND_LIMIT);
        let why = match timeout(SEND_LIMIT, self.client.export(request)).await {
            Ok(Ok(response)) => {
                let rejected = response.into_inner().partial_success;
                let rejected = rejected.map_or(0, |partial| partial.rejected_spans);
                let rejected = u64::try_from(rejected).unwrap_or(0).min(count);
                self.counts
                    .sent
                    .fetch_add(count - rejected, Ordering::Relaxed);
                self.counts.not_taken.fetch_add(rejected, Ordering::Relaxed);
                if std::mem::replace(&mut self.fails, false) {
                    tracing::info!("the collector takes spans again");
                }
                return;
            }
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => format!("no answer within {SEND_LIMIT:?}"),
        };
        self.counts.not_taken.fetch_add(count, Ordering::Relaxed);
        if !std::mem::replace(&mut self.fails, true) {
            tracing::warn!(error = why, "failed to send spans to the collector");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let clock = Clock::now();
        let scope = InstrumentationScope {
            name: "conclave".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let of_scope = ScopeSpans {
            scope: Some(scope),
            spans: spans.into_iter().map(|span| wire(span, clock)).collect(),
            ..ScopeSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![of_scope],
                ..ResourceSpans::default()
            }],
        }
    }
}

/// Takes spans: waits for the first one, and then for others until they are worth a request.
/// Returns whether more may come; nothing is waited for after that.
async fn gather(
    spans: &mut mpsc::Receiver<Span>,
    batch: &mut Vec<Span>,
    end: &mut watch::Receiver<bool>,
) -> bool {
    let goes_on = tokio::select! {
        count = spans.recv_many(batch, SEND_SPANS_MAX) => count > 0,
        _ = end.wait_for(|end| *end) => false,
    };
    let goes_on = goes_on && {
        tokio::select! {
            () = fill(spans, batch) => true,
            () = sleep(SEND_EVERY) => true,
            _ = end.wait_for(|end| *end) => false,
        }
    };
    while batch.len() < SEND_SPANS_MAX
        && let Ok(span) = spans.try_recv()
    {
        batch.push(span);
    }
    goes_on
}

async fn fill(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) {
    while batch.len() < SEND_SPANS_MAX
        && spans.recv_many(batch, SEND_SPANS_MAX - batch.len()).await > 0
    {}
}

/// Both clocks at one moment.
#[derive(Clone, Copy)]
struct Clock {
    instant: Instant,
    system: SystemTime,
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            system: system_time(),
        }
    }

    /// Returns what the clock of the system has said at that moment, in nanoseconds.
    fn unix_nanos(self, moment: Instant) -> u64 {
        let ago = self.instant.saturating_duration_since(moment);
        let at = self.system.checked_sub(ago).unwrap_or(UNIX_EPOCH);
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Returns what says from where spans come.
fn resource(node: u64) -> Resource {
    let texts = [
        ("service.name", "conclave".to_owned()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", node.to_string()),
    ];
    let attributes = texts.map(|(key, text)| attribute(key, Value::StringValue(text)));
    Resource {
        attributes: attributes.into(),
        ..Resource::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn wire(span: Span, clock: Clock) -> WireSpan {
    let kind = match span.kind {
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
    };
    let parent = Some(span.parent_id).filter(|parent| *parent != 0);
    let attributes = span.attributes.into_iter().map(|(key, value)| {
        let value = match value {
            Attribute::Number(number) => Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
            Attribute::Name(name) => Value::StringValue(name.into_owned()),
        };
        attribute(key, value)
    });
    let status = span.failed.then(|| WireStatus {
        code: StatusCode::Error.into(),
        ..WireStatus::default()
    });
    WireSpan {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: clock.unix_nanos(span.began),
        end_time_unix_nano: clock.unix_nanos(span.ended),
        attributes: attributes.collect(),
        status,
        ..WireSpan::default()
    }
}
