//! The connections of a client stack that is the user's own.

use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::rt::TokioIo;

use super::NoEdge;
use crate::{
    link::{Link, ShapedStream},
    tls::Secured,
    world::BoxFuture,
};

/// Connects to one replica of a service, over the link of the scenario: with its latency and the faults on it, and without the policies of
/// `[client]`. It is what `tonic::transport::Endpoint::connect_with_connector` takes, and a layer of tower around it.
///
/// With `[tls]` the connection is encrypted, by the certificates of the run: what is built on it needs no TLS of its own.
///
/// The URI that it is called with is not read. Its clones share the link.
#[derive(Clone)]
pub struct Connector {
    link: Arc<Link>,
}

/// A service or a replica that nothing connects to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoConnector {
    /// The process does not call such a service.
    #[error(transparent)]
    NoEdge(#[from] NoEdge),
    /// The service has fewer replicas.
    #[error("`{service}` has {replicas} replica(s), numbered from 0, and none is {replica}")]
    UnknownReplica {
        /// The name of the service.
        service: String,
        /// The number of its replicas.
        replicas: usize,
        /// The replica that was asked for.
        replica: usize,
    },
}

impl Connector {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Returns the name of the server that it connects to, such as `server-0`.
    pub fn server(&self) -> &str {
        self.link.server()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.server()).finish()
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Secured<ShapedStream>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Secured<ShapedStream>>>>;

    /// Returns that it is ready, always.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Opens a connection. It is lost when the server's process ends or a fault resets it.
    fn call(&mut self, _: Uri) -> Self::Future {
        let link = self.link.clone();
        Box::pin(async move { Ok(TokioIo::new(link.connect_securely().await?)) })
    }
}
