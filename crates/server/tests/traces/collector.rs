//! Collectors of OpenTelemetry: one that keeps what it gets, one that never answers.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::people::PATIENCE;

/// A span, and the number of the node that has sent it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) node: String,
    pub(crate) span: Span,
}

/// A collector that keeps what it gets.
pub(crate) struct Collector {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    count: watch::Receiver<usize>,
}

struct Taker {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    count: watch::Sender<usize>,
}

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.requests.lock().unwrap().push(request.into_inner());
        self.count.send_modify(|count| *count += 1);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (counted, count) = watch::channel(0);
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let taker = Taker {
            requests: requests.clone(),
            count: counted,
        };
        let server = Server::builder().add_service(TraceServiceServer::new(taker));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self {
            address,
            requests,
            count,
        }
    }

    /// Returns everything that has come so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let requests = self.requests.lock().unwrap();
        let of_node = requests.iter().flat_map(|request| &request.resource_spans);
        let spans = of_node.flat_map(|of_node| {
            let attributes = &of_node.resource.as_ref().unwrap().attributes;
            let node = attributes
                .iter()
                .find(|one| one.key == "service.instance.id");
            let value = node.unwrap().value.clone().unwrap().value.unwrap();
            let Value::StringValue(node) = value else {
                panic!("{value:?} is no text");
            };
            let spans = of_node.scope_spans.iter().flat_map(|of| &of.spans);
            spans.map(move |span| Seen {
                node: node.clone(),
                span: span.clone(),
            })
        });
        spans.collect()
    }

    /// Waits until what has come is enough, and returns it.
    pub(crate) async fn until(&self, is_enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let mut count = self.count.clone();
        let enough = async {
            loop {
                count.mark_unchanged();
                let seen = self.seen();
                if is_enough(&seen) {
                    return seen;
                }
                count.changed().await.unwrap();
            }
        };
        let enough = timeout(PATIENCE, enough).await;
        enough.unwrap_or_else(|_| panic!("only this has come: {:#?}", names(&self.seen())))
    }

    /// Returns all bytes that have come.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let requests = self.requests.lock().unwrap();
        let bytes = requests
            .iter()
            .flat_map(ExportTraceServiceRequest::encode_to_vec);
        bytes.collect()
    }
}

/// Returns the nodes and names of spans.
pub(crate) fn names(seen: &[Seen]) -> BTreeSet<(&str, &str)> {
    let names = seen.iter().map(|seen| (&*seen.node, &*seen.span.name));
    names.collect()
}

/// A port that takes connections and reads nothing.
pub(crate) struct Hanging {
    pub(crate) address: String,
    _listener: std::net::TcpListener,
}

impl Hanging {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            _listener: listener,
        }
    }
}
