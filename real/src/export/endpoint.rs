//! The socket of an endpoint, and the thread that answers its clients.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::{Either, select};
use kernel::{cli::Failure, export::Observer};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
};

use super::http::answer;
use crate::{accept::Door, clock::machine_ns, tcp, timer::Timer};

/// Most connections at once; further ones are closed.
const CONNECTIONS_MAX: usize = 16;

/// Time that a client may take from its connection to the end of its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// An endpoint that listens and does not answer yet.
pub(crate) struct Endpoint {
    address: SocketAddr,
    #[expect(clippy::disallowed_types, reason = "an endpoint is not of the World: no fault applies to it")]
    listener: tokio::net::TcpListener,
    runtime: Runtime,
    timer: Timer,
}

impl Endpoint {
    /// Listens at `address`, or at a free port of its host if its port is 0. Fails with the remedy if the port is in use.
    pub(crate) fn listen(address: SocketAddr) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_io().build().map_err(Failure::run_failed)?;
        let timer = Timer::start().map_err(Failure::run_failed)?;
        let listening = {
            let _entered = runtime.enter();
            tcp::listener(address, CONNECTIONS_MAX as u32)
        };
        let listener = listening.map_err(|error| {
            let port = address.port();
            let reason = match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "the port is in use; `ss -ltnp 'sport = :{port}'` says by what, or choose another --metrics, such as 127.0.0.1:0 \
                     for a free one"
                ),
                io::ErrorKind::PermissionDenied => "ports below 1024 are the system's; choose another --metrics".to_owned(),
                _ => format!("{error}; choose another --metrics"),
            };
            Failure::run_failed(format!("cannot serve metrics at {address}: {reason}"))
        })?;
        let address = listener.local_addr().map_err(Failure::run_failed)?;
        Ok(Self { address, listener, runtime, timer })
    }

    /// Returns the address, with the port that was chosen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts a thread that answers with the values of `observer`. Fails if the operating system allows no more threads.
    pub(super) fn serve(self, observer: Arc<Mutex<Observer>>) -> io::Result<Serving> {
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            let Self { listener, runtime, timer, .. } = self;
            let mut door = Door::new(CONNECTIONS_MAX, timer.clone());
            runtime.block_on(async {
                let accepting = async {
                    // It fails only if the socket does not listen.
                    while let Ok(((mut client, _), place)) = door.next(|cx| listener.poll_accept(cx), drop).await {
                        let observer = observer.clone();
                        let late = timer.sleep_until(machine_ns() + CLIENT_TIMEOUT.as_nanos() as u64);
                        runtime.handle().spawn(async move {
                            let answering = pin!(answer(&mut client, &observer));
                            // What is not answered by then is closed with the connection.
                            let _ = select(answering, late).await;
                            drop(place);
                        });
                    }
                };
                if let Either::Left(_) = select(pin!(accepting), pin!(stopped.notified())).await {
                    stopped.notified().await;
                }
            });
        })?;
        Ok(Serving { stop, thread: Some(thread) })
    }
}

/// An endpoint that answers. Dropped, it closes its connections.
pub(super) struct Serving {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.notify_one();
        // A panic of the thread has been reported.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use kernel::{cli::Exit, sync::lock};

    use super::*;

    #[expect(clippy::disallowed_types, reason = "the client is not of the World either")]
    fn connect(address: SocketAddr) -> std::net::TcpStream {
        std::net::TcpStream::connect(address).unwrap()
    }

    fn get(address: SocketAddr, request: &str) -> String {
        let mut client = connect(address);
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    fn serving() -> (SocketAddr, Arc<Mutex<Observer>>, Serving) {
        let endpoint = Endpoint::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = endpoint.address();
        let observer = Arc::new(Mutex::new(Observer::of_process()));
        let serving = endpoint.serve(observer.clone()).unwrap();
        (address, observer, serving)
    }

    #[test]
    fn clients_that_hang_delay_neither_others_nor_the_process() {
        let (address, observer, serving) = serving();
        let hanging: Vec<_> = (0..CONNECTIONS_MAX - 1).map(|_| connect(address)).collect();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        lock(&observer).set_fault("0", "crash", "server-0", true);
        let answer = get(address, request);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("rehearsal_fault_active{fault=\"0\",kind=\"crash\",target=\"server-0\"} 1\n"),
            "{answer}"
        );
        // It does not wait for them either.
        drop(serving);
        drop(hanging);
    }

    #[test]
    fn connections_beyond_the_limit_are_closed_and_places_become_free() {
        let (address, _, _serving) = serving();
        let mut hanging: Vec<_> = (0..CONNECTIONS_MAX).map(|_| connect(address)).collect();
        let mut closed = connect(address);
        let mut read = Vec::new();
        assert!(closed.read_to_end(&mut read).is_err() || read.is_empty());
        hanging.clear();
        let request = "GET /metrics HTTP/1.0\r\n\r\n";
        // The thread learns of the ends one after the other.
        let answered = (0..1_000).any(|_| {
            let mut client = connect(address);
            let mut answer = String::new();
            client.write_all(request.as_bytes()).is_ok()
                && client.read_to_string(&mut answer).is_ok()
                && answer.starts_with("HTTP/1.1 200")
        });
        assert!(answered);
    }

    #[test]
    fn a_port_in_use_is_an_error_with_the_remedy() {
        let taken = Endpoint::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let failure = Endpoint::listen(taken.address()).map(|endpoint| endpoint.address()).unwrap_err();
        assert_eq!(failure.exit, Exit::RunFailed);
        assert!(failure.message.contains("the port is in use; `ss -ltnp 'sport = :"), "{}", failure.message);
        assert!(failure.message.contains("127.0.0.1:0 for a free one"), "{}", failure.message);
    }
}
