//! Counts what callers have asked: calls by method and code, with how long they took until the
//! answer began, and other requests by kind and class of status.
//!
//! Always true: the names come from the protocol and not from callers, so there are only so many; a
//! name that is no method counts as `other`. Counting takes no lock. A call whose caller has gone
//! before there was an answer counts as cancelled.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use conclave_storage::{Latencies, LatencyCounts};
use conclave_wire::DESCRIPTORS;
use prost::Message as _;
use tokio::time::Instant;

/// Names of the codes of gRPC, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Number of the code of a call whose caller has gone.
const CANCELLED: usize = 1;
/// Methods of services that are not Conclave's own.
const FOREIGN: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// Name of every method that is not known.
const OTHER: &str = "other";
/// Classes of statuses of HTTP.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Kinds of requests that are no calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpKind {
    /// A post to a webhook.
    Webhook,
    /// What the page asks beside its calls.
    Page,
    /// A file of the page, or nothing that is there.
    File,
}

impl HttpKind {
    const ALL: [Self; 3] = [Self::Webhook, Self::Page, Self::File];

    fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Page => "page",
            Self::File => "file",
        }
    }
}

/// The counts of a node; see the head of this file.
pub(crate) struct CallCounts {
    /// Path of each method, and its place in `methods`.
    places: HashMap<String, usize>,
    methods: Vec<MethodCounts>,
    http: [[AtomicU64; CLASSES.len()]; HttpKind::ALL.len()],
}

struct MethodCounts {
    name: String,
    codes: [AtomicU64; CODES.len()],
    times: Latencies,
}

impl MethodCounts {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            codes: Default::default(),
            times: Latencies::default(),
        }
    }
}

impl Default for CallCounts {
    fn default() -> Self {
        let methods = methods_of(DESCRIPTORS);
        let names = methods.iter().map(String::as_str).chain(FOREIGN);
        let names: Vec<&str> = names.collect();
        let places = names.iter().enumerate();
        let places = places.map(|(place, name)| ((*name).to_owned(), place));
        Self {
            places: places.collect(),
            // The last one is `OTHER`, which is no path.
            methods: names
                .iter()
                .map(|name| MethodCounts::of(name.trim_start_matches('/')))
                .chain([MethodCounts::of(OTHER)])
                .collect(),
            http: Default::default(),
        }
    }
}

/// Returns the paths of all methods that these encoded descriptors have.
fn methods_of(descriptors: &[u8]) -> Vec<String> {
    let files = prost_types::FileDescriptorSet::decode(descriptors);
    let files = files.map(|set| set.file).unwrap_or_default();
    let services = files.iter().flat_map(|file| {
        let services = file.service.iter();
        services.map(move |service| (file.package(), service))
    });
    let methods = services.flat_map(|(package, service)| {
        let methods = service.method.iter();
        methods.map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    methods.collect()
}

/// What is counted of a method.
pub(crate) struct OfMethod<'a> {
    /// Service and name.
    pub(crate) name: &'a str,
    /// How many calls have ended with each code; codes without a call are left out.
    pub(crate) codes: Vec<(&'static str, u64)>,
    /// How long the calls took until their answers began.
    pub(crate) times: LatencyCounts,
}

impl CallCounts {
    /// Begins to count a call.
    pub(crate) fn begin(self: &Arc<Self>, path: &str) -> Counting {
        let place = self.places.get(path).copied();
        Counting {
            counts: self.clone(),
            place: place.unwrap_or(self.methods.len() - 1),
            began: Instant::now(),
            is_answered: false,
        }
    }

    /// Counts a request that is no call, by the status of its response.
    pub(crate) fn note_http(&self, kind: HttpKind, status: u16) {
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        self.http[kind as usize][class].fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, place: usize, code: usize, took: Duration) {
        let method = &self.methods[place];
        method.codes[code.min(CODES.len() - 1)].fetch_add(1, Ordering::Relaxed);
        method.times.note(took);
    }

    /// Returns what was counted of each method that was called.
    pub(crate) fn methods(&self) -> impl Iterator<Item = OfMethod<'_>> {
        let of = |method: &'_ MethodCounts| {
            let codes = CODES.into_iter().zip(&method.codes);
            let codes = codes.map(|(name, count)| (name, count.load(Ordering::Relaxed)));
            codes.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        self.methods.iter().filter_map(move |method| {
            let codes = of(method);
            (!codes.is_empty()).then(|| OfMethod {
                name: &method.name,
                codes,
                times: method.times.counts(),
            })
        })
    }

    /// Returns how many requests of each kind had a status of each class.
    pub(crate) fn http(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        HttpKind::ALL.into_iter().flat_map(|kind| {
            let counts = CLASSES.into_iter().zip(&self.http[kind as usize]);
            counts.map(move |(class, count)| (kind.name(), class, count.load(Ordering::Relaxed)))
        })
    }
}

/// A call that is being counted.
pub(crate) struct Counting {
    counts: Arc<CallCounts>,
    place: usize,
    began: Instant,
    is_answered: bool,
}

impl Counting {
    /// Returns the name of its method, as the protocol has it.
    pub(crate) fn method(&self) -> &str {
        &self.counts.methods[self.place].name
    }

    /// Returns when the call has come.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Counts the call with the number of its code.
    pub(crate) fn answered(mut self, code: usize) {
        self.is_answered = true;
        self.counts.note(self.place, code, self.began.elapsed());
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if !self.is_answered {
            self.counts
                .note(self.place, CANCELLED, self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_by_method_and_code_strange_ones_together() {
        let counts = Arc::new(CallCounts::default());
        assert_eq!(counts.methods().count(), 0);
        let send = "/conclave.v1.ChatService/SendMessage";
        let call = counts.begin(send);
        tokio::time::advance(Duration::from_millis(3)).await;
        call.answered(0);
        drop(counts.begin(send));
        for number in 0..100 {
            let path = format!("/strange/{number}");
            counts.begin(&path).answered(12);
        }
        let found: Vec<_> = counts.methods().collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, "conclave.v1.ChatService/SendMessage");
        assert_eq!(found[0].codes, [("OK", 1), ("CANCELLED", 1)]);
        assert_eq!(found[0].times.sum, Duration::from_millis(3));
        assert_eq!(found[1].name, "other");
        assert_eq!(found[1].codes, [("UNIMPLEMENTED", 100)]);
    }

    #[test]
    fn other_requests_are_counted_by_kind_and_class() {
        let counts = CallCounts::default();
        counts.note_http(HttpKind::Webhook, 200);
        counts.note_http(HttpKind::Webhook, 429);
        counts.note_http(HttpKind::File, 999);
        let found: Vec<_> = counts.http().filter(|(.., count)| *count > 0).collect();
        let expected = [
            ("webhook", "2xx", 1),
            ("webhook", "4xx", 1),
            ("file", "5xx", 1),
        ];
        assert_eq!(found, expected);
    }
}
