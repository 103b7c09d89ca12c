//! The World of a process with a runtime of its own: that of its host, behind the process's inbox.

use std::{io, panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures_util::{
    FutureExt,
    future::{Either, select},
};
use kernel::{
    time::Instant,
    tls::Tls,
    world::{BoxFuture, BoxStream, Calm, Cost, Listener, Sleep, Work, World},
};
use tokio::sync::oneshot;

use super::{
    inbox::Inbox,
    socket::{self, ProcessEnd},
    turn,
};
use crate::{
    activity::Activity,
    byte_stream::ByteStream,
    host::Host,
    net::{Backlog, Connection},
};

/// The World of a process.
#[derive(Clone)]
pub(super) struct ProcessWorld {
    host: Arc<Host>,
    inbox: Arc<Inbox>,
}

impl ProcessWorld {
    pub(super) fn new(host: Arc<Host>, inbox: Arc<Inbox>) -> Self {
        Self { host, inbox }
    }

    /// Has the operating system do `work` on behalf of the process, at this instant, and returns its result. It ends with the process, and
    /// when the result is not waited for any more.
    async fn outside<T, F>(&self, work: impl FnOnce(Arc<Host>) -> F + Send + 'static) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let (mut done, result) = oneshot::channel();
        let host = self.host.clone();
        self.host.machine.in_turn(move || {
            let working = work(host.clone());
            host.spawn_outside(Box::pin(async move {
                let ended = match select(pin!(working), pin!(done.closed())).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(_) => return,
                };
                let _ = done.send(ended);
            }));
        });
        self.host.shared.net.activity.happened();
        let result = self.inbox.outer(result).await;
        result.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }
}

/// Returns the process's end of a connection, whose other end is a task of its operating system.
fn end_of(host: &Host, inbox: &Arc<Inbox>, connection: Connection) -> ByteStream<ProcessEnd> {
    let (end, outside) = socket::ends(connection, inbox, &host.shared.net.activity);
    host.spawn_outside(Box::pin(outside));
    end
}

impl World for ProcessWorld {
    fn now(&self) -> Instant {
        self.host.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(self.inbox.outer(self.host.sleep_until(at)))
    }

    fn sleep_idly_until(&self, at: Instant) -> Sleep {
        Box::pin(self.inbox.outer(self.host.sleep_idly_until(at)))
    }

    fn calm(&self) -> Option<Calm> {
        self.host.calm()
    }

    #[expect(clippy::disallowed_methods, reason = "the runtime is that of the process")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let activity = self.host.shared.net.activity.clone();
        let task = AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            // Code of a user catches panics of its own.
            if ended.is_err() {
                activity.panicked();
            }
        });
        if turn::is_of(self.inbox.key()) {
            tokio::spawn(task);
        } else {
            self.inbox.do_in_turn(Box::new(move || drop(tokio::spawn(task))));
        }
    }

    fn connect<'a>(&'a self, server: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let to = self.host.named(server)?;
            let inbox = self.inbox.clone();
            let open = move |host: Arc<Host>| async move {
                let connection = host.shared.net.connect(host.id, to).await?;
                Ok(end_of(&host, &inbox, connection))
            };
            Ok(Box::new(self.outside(open).await?) as BoxStream)
        })
    }

    fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async {
            let inbox = self.inbox.clone();
            let accept = move |host: Arc<Host>| async move {
                let accepting = host.clone();
                host.accept(move |connection| Box::new(end_of(&accepting, &inbox, connection)) as BoxStream).await
            };
            let backlog = self.outside(accept).await?;
            let activity = self.host.shared.net.activity.clone();
            Ok(Box::new(ProcessListener { backlog, inbox: self.inbox.clone(), activity }) as Box<dyn Listener>)
        })
    }

    fn tls(&self) -> Option<&Tls> {
        self.host.tls()
    }

    fn has_time_of(&self, what: &str) -> bool {
        self.host.has_time_of(what)
    }

    fn compute(&self, cost: Cost<'_>, work: Work) -> BoxFuture<'static, ()> {
        Box::pin(self.inbox.outer(self.host.compute(cost, work)))
    }
}

/// Connections that are complete and that the process has yet to accept.
struct ProcessListener {
    backlog: Backlog,
    inbox: Arc<Inbox>,
    activity: Activity,
}

impl Drop for ProcessListener {
    fn drop(&mut self) {
        // The operating system refuses connections from this instant on.
        self.activity.happened();
    }
}

impl Listener for ProcessListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<BoxStream>> {
        Box::pin(self.inbox.outer(self.backlog.accept()))
    }
}
