//! Where a server or proxy that is steered by hand is entered: a listening socket whose connections go through a link.

use std::{io, sync::Arc};

use kernel::{
    link::Link,
    world::{BoxFuture, BoxStream, Listener},
};

use crate::tcp::Backlog;

/// Accepts connections and puts them on the link.
pub(super) struct Door {
    backlog: Backlog,
    link: Arc<Link>,
}

impl Door {
    pub(super) fn new(backlog: Backlog, link: Arc<Link>) -> Self {
        Self { backlog, link }
    }
}

impl Listener for Door {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(async {
            let socket = self.backlog.accept().await?;
            Ok(Box::new(self.link.accept(socket)) as BoxStream)
        })
    }
}
