//! Accepts connections: the handshake, and what is known of the caller afterwards.
//!
//! Always true: a handshake ends by its limit. The log names the reason why a caller was refused,
//! once in a while for each address and reason.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use rustls::{CertificateError, Error as TlsError, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use webpki::EndEntityCert;

use crate::{
    base::log_once::LogOnce,
    tls::{
        Accept, AcceptConfig, Root,
        names::{self, PeerNames},
    },
};

/// Callers that were refused, with the reasons.
type Refusals = LogOnce<(IpAddr, String)>;

/// What a caller has presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// Nothing, on a connection in plain text, which only clients may use.
    Plain,
    /// No certificate of a peer, on an encrypted connection.
    Nothing,
    /// The certificate of a node.
    Node(PeerNames),
}

/// The caller; every request carries it as an extension.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) shown: Presented,
    /// Address of the caller, if it is known.
    pub(crate) address: Option<SocketAddr>,
}

/// A connection after its handshake, if there is one.
pub(crate) struct Arrival {
    stream: Wire,
    pub(super) shown: Presented,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Arrival {
    /// Returns the caller of every request on this connection.
    pub(crate) fn caller(&self) -> Caller {
        let stream = match &self.stream {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.get_ref().0,
        };
        Caller {
            shown: self.shown,
            address: stream.peer_addr().ok(),
        }
    }
}

impl Accept {
    fn now(&self) -> Arc<AcceptConfig> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        answers.clone()
    }
}

impl AcceptConfig {
    /// Returns what the certificate of a peer says, and which authority has signed it. The
    /// handshake has verified it: its issuer is one of the trusted authorities.
    fn peer_in(&self, leaf: &CertificateDer<'_>, cluster_id: &str) -> Option<PeerNames> {
        let mut names = names::peer_in(leaf, cluster_id)?;
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        let is_issuer = |root: &&Root| {
            let anchor = webpki::anchor_from_trusted_cert(&root.certificate);
            anchor.is_ok_and(|anchor| anchor.subject.as_ref() == leaf.issuer())
        };
        names.signed_by = Some(self.roots.iter().find(is_issuer)?.id);
        Some(names)
    }
}

/// Handshakes of one listener.
pub(crate) struct Handshakes {
    refusals: Refusals,
    /// Name of the callers of the listener, for the log.
    callers: &'static str,
}

impl Handshakes {
    pub(crate) fn new(callers: &'static str) -> Self {
        Self {
            refusals: Refusals::default(),
            callers,
        }
    }

    /// Completes the handshake with a caller; does nothing on a plain text connection. Returns
    /// `None` if the caller was refused, or was slower than `limit`.
    pub(crate) async fn shake(
        &self,
        stream: TcpStream,
        accept: Option<Accept>,
        limit: Duration,
    ) -> Option<Arrival> {
        let Some(accept) = accept else {
            return Some(Arrival {
                stream: Wire::Plain(stream),
                shown: Presented::Plain,
            });
        };
        let from = stream.peer_addr().ok();
        let answers = accept.now();
        let acceptor = TlsAcceptor::from(answers.config.clone());
        let reason = match timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let leaf = certificates.and_then(|certificates| certificates.first());
                let node = leaf.and_then(|leaf| answers.peer_in(leaf, &accept.cluster_id));
                let shown = node.map_or(Presented::Nothing, Presented::Node);
                let stream = Wire::Tls(Box::new(stream));
                return Some(Arrival { stream, shown });
            }
            Ok(Err(error)) => reason_of(&error),
            Err(_) => "it does not finish the handshake".to_owned(),
        };
        let (from, callers) = (from?, self.callers);
        if self.refusals.should_log((from.ip(), reason.clone())) {
            tracing::warn!(%from, reason, "a connection for {callers} was refused");
        }
        None
    }
}

/// Returns why a handshake failed, for people.
fn reason_of(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|cause| cause.downcast_ref());
    match tls {
        Some(TlsError::InvalidCertificate(why)) => format!("its certificate {}", fault(why)),
        Some(TlsError::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        Some(TlsError::PeerIncompatible(_)) => "it does not speak TLS 1.3".to_owned(),
        Some(TlsError::AlertReceived(alert)) => {
            format!("it does not trust this node ({alert:?})")
        }
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ended in the middle of the handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn fault(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is not of this cluster's authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: compare the clocks".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not that of a peer".to_owned()
        }
        other => format!("is refused: {other}"),
    }
}

impl AsyncRead for Arrival {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Arrival {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
