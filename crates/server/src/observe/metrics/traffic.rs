//! Metrics of what callers do: calls, streams, connections.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use super::OfStarted;
use crate::{
    base::work_meter::Resting,
    observe::page::{Page, label},
};

impl OfStarted<'_> {
    pub(super) fn calls(&self, page: &mut Page<'_>) -> fmt::Result {
        let calls = &self.node.calls;
        let codes = calls.methods().flat_map(|method| {
            let name = method.name;
            let counts = method.codes.into_iter();
            counts.map(move |(code, count)| ([label("method", name), label("code", code)], count))
        });
        page.counters(
            "conclave_calls_total",
            "Calls of clients and of other nodes, by method and code of gRPC.",
            codes,
        )?;
        let times = calls.methods();
        page.latencies(
            "conclave_call_duration_seconds",
            "Time of a call until its answer began, in seconds.",
            times.map(|method| ([label("method", method.name)], method.times)),
        )?;
        page.counters(
            "conclave_http_requests_total",
            "Requests that are no calls, by kind and class of status.",
            calls
                .http()
                .map(|(kind, class, count)| ([label("kind", kind), label("status", class)], count)),
        )?;
        let spans = &self.node.spans;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        page.counter(
            "conclave_trace_spans_sent_total",
            "Spans of traced calls that the collector has taken.",
            count(&spans.sent),
        )?;
        page.counters(
            "conclave_trace_spans_dropped_total",
            "Spans of traced calls that were dropped, by reason.",
            [
                ([label("reason", "queue_full")], count(&spans.crowded_out)),
                ([label("reason", "collector")], count(&spans.not_taken)),
            ],
        )?;
        let context = self.node;
        page.gauge(
            "conclave_commands_in_flight",
            "Commands of clients that are under way.",
            context.commands_in_flight(),
        )?;
        page.gauge(
            "conclave_sessions_cached",
            "Sessions that this node has in memory, because they were used here.",
            context.sessions.count(),
        )?;
        let rests = |what| context.sessions.work.rules().rests(what);
        page.counters(
            "conclave_account_rests_total",
            "How often an account waited because it uses more than its share of this node.",
            [
                ([label("kind", "turn")], rests(Resting::Turn)),
                ([label("kind", "connection")], rests(Resting::Connection)),
            ],
        )
    }

    pub(super) fn live(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.node.live.hub.counts();
        page.gauge(
            "conclave_streams",
            "Streams of events that are open.",
            counts.subscribers,
        )?;
        page.counter(
            "conclave_stream_events_total",
            "Events that were put into the queues of streams.",
            counts.delivered,
        )?;
        page.counter(
            "conclave_stream_lags_total",
            "How often a stream has lost its queue and had to read the database again.",
            counts.lagged,
        )
    }

    pub(super) fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let ports = [
            ("client", self.node.client_slots.counts()),
            ("peer", self.node.peer_slots.counts()),
        ];
        for (name, help, value) in [
            (
                "conclave_connections",
                "Open connections of a port.",
                ports.each_ref().map(|(_, counts)| counts.open),
            ),
            (
                "conclave_connections_max",
                "Connections that a port takes.",
                ports.each_ref().map(|(_, counts)| counts.open_max),
            ),
            (
                "conclave_connections_unauthenticated",
                "Open connections whose caller has not authenticated yet.",
                ports.each_ref().map(|(_, counts)| counts.unauthenticated),
            ),
            (
                "conclave_connections_held_bytes",
                "Bytes of unfinished requests and unread answers in memory.",
                ports.each_ref().map(|(_, counts)| counts.held_bytes),
            ),
        ] {
            let samples = ports.iter().zip(value);
            page.gauges(
                name,
                help,
                samples.map(|((port, _), value)| ([label("port", *port)], value)),
            )?;
        }
        page.counters(
            "conclave_connections_accepted_total",
            "Connections that got a place.",
            ports
                .iter()
                .map(|(port, counts)| ([label("port", *port)], counts.taken)),
        )?;
        let cuts = ports.iter().flat_map(|(port, counts)| {
            let cut = counts.cut.iter();
            cut.map(move |(why, count)| ([label("port", *port), label("reason", *why)], *count))
        });
        page.counters(
            "conclave_connections_closed_total",
            "Connections that the node has closed or refused, by reason.",
            cuts,
        )?;
        let bytes = ports.iter().flat_map(|(port, counts)| {
            let ways = [("in", counts.received_bytes), ("out", counts.sent_bytes)];
            ways.map(|(way, bytes)| ([label("port", *port), label("direction", way)], bytes))
        });
        page.counters(
            "conclave_network_bytes_total",
            "Bytes of requests (in) and answers (out), as they are after decryption.",
            bytes,
        )
    }
}
