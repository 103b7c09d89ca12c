//! A listening socket whose connections pass through a link.

use std::{io, sync::Arc};

use kernel::{
    link::Link,
    world::{BoxFuture, BoxStream, Listener, PeerTerms},
};

use crate::tcp::Backlog;

/// Accepts connections and puts them on the link, so that its faults apply to every client.
pub(super) struct LinkListener {
    backlog: Backlog,
    link: Arc<Link>,
}

impl LinkListener {
    /// Listens at the socket of `backlog`.
    pub(super) fn new(backlog: Backlog, link: Arc<Link>) -> Self {
        Self { backlog, link }
    }
}

impl Listener for LinkListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let socket = self.backlog.accept().await?;
            Ok(Box::new(self.link.accept(socket)) as BoxStream)
        })
    }

    fn adapt(&self, stream: BoxStream) -> BoxStream {
        self.backlog.adapt(stream)
    }

    fn terms(&self) -> PeerTerms {
        self.backlog.terms()
    }
}
