//! The listening of a proxy, which ends before a client is answered.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use futures_util::future::select;
use kernel::{
    sync::lock,
    world::{BoxFuture, SharedWorld},
};
use tokio::sync::Notify;

/// Accepts connections in a task until it is dropped. The socket is closed when the drop returns: no later connection is accepted, and
/// another socket can listen at the address.
pub(super) struct Listening {
    /// What accepts, with the socket in it; `None` after the end.
    accepting: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
    /// Ends the task, which nothing else wakes after the socket is closed.
    ended: Arc<Notify>,
}

impl Listening {
    /// Spawns `accepting`, which owns the socket.
    pub(super) fn start(world: &SharedWorld, accepting: BoxFuture<'static, ()>) -> Self {
        let listening = Self { accepting: Arc::new(Mutex::new(Some(accepting))), ended: Arc::default() };
        let (accepting, ended) = (listening.accepting.clone(), listening.ended.clone());
        world.spawn(Box::pin(async move {
            // Polled under the lock, so that the end waits for a connection that is being accepted.
            let accepted = poll_fn(|cx| match &mut *lock(&accepting) {
                Some(accepting) => accepting.as_mut().poll(cx),
                None => Poll::Ready(()),
            });
            select(accepted, pin!(ended.notified())).await;
        }));
        listening
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // A task that only drops its socket when it is run next accepts connections after the answer to the client, and an address
        // that is asked for again would be taken.
        drop(lock(&self.accepting).take());
        self.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::ErrorKind};

    use kernel::world::Listener as _;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{host, tcp, timer::Timer};

    #[test]
    fn a_socket_is_closed_and_its_address_is_free_when_the_drop_returns() {
        Runtime::new().unwrap().block_on(async {
            let world = host::world(BTreeMap::new()).unwrap();
            let mut address = ([127, 0, 0, 1], 0).into();
            for _ in 0..50 {
                let mut backlog = tcp::listen_at(address, Timer::start().unwrap()).expect("the address is free");
                address = backlog.address().unwrap();
                let accepting = Box::pin(async move { while backlog.accept().await.is_ok() {} });
                let listening = Listening::start(&world, accepting);
                assert!(tcp::connect(address).await.is_ok());
                drop(listening);
                let refused = tcp::connect(address).await.err().map(|error| error.kind());
                assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
            }
        });
    }
}
