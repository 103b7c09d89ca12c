//! The control socket of a server or proxy, through which other processes inject faults: lines of JSON over a Unix socket.
//!
//! A fault with a duration is held by the connection that injected it: it ends with the connection, however that ends. A
//! fault without a duration stays until it is healed, and replaces an earlier one of its kind.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use kernel::{
    link::Shape,
    server::Injection,
    world::{SharedWorld, timeout_at},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
};

use super::{
    active_faults::{ActiveFault, ActiveFaults},
    log::log_line,
};
use crate::message::line;

/// Time that a process which is not frozen may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request to a server or proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ControlRequest {
    /// Adds a fault to those that are active.
    Inject {
        /// Kind of the fault, such as `delay`.
        kind: String,
        /// Effect on the link.
        shape: Shape,
        /// Effect on the server.
        injection: Injection,
        /// Description for logs.
        text: String,
        /// The fault ends with the connection.
        held: bool,
    },
    /// Resets all connections.
    Reset,
    /// Ends all faults.
    Heal,
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ControlResponse {
    /// The request was carried out. `before` describes the faults that were active before it.
    Done { before: Vec<String> },
}

/// The server's end of the control socket.
pub(super) struct ControlSocket {
    faults: ActiveFaults,
}

impl ControlSocket {
    /// Accepts connections at `socket` from now on, as a task of `world`. Fails if the socket cannot be made.
    pub(super) fn listen(faults: ActiveFaults, world: &SharedWorld, socket: &Path) -> io::Result<()> {
        // A process of the same id that was killed has left its socket, and `bind` refuses a path that exists.
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let control = Arc::new(Self { faults });
        let spawner = world.clone();
        world.spawn(Box::pin(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawner.spawn(Box::pin(control.clone().serve(stream)));
            }
        }));
        Ok(())
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        let connection = self.faults.new_connection();
        let (requests, mut responses) = stream.into_split();
        let mut requests = BufReader::new(requests).lines();
        while let Ok(Some(request)) = requests.next_line().await {
            let Ok(request) = serde_json::from_str(&request) else { break };
            let before = self.carry_out(request, connection);
            if responses.write_all((line(&ControlResponse::Done { before }) + "\n").as_bytes()).await.is_err() {
                break;
            }
        }
        for text in self.faults.end_connection(connection) {
            log_line(format!("{}: {text} is over", self.faults.server()));
        }
    }

    /// Carries a request out, and returns the descriptions of the faults before it.
    fn carry_out(&self, request: ControlRequest, connection: u64) -> Vec<String> {
        let server = self.faults.server();
        match request {
            ControlRequest::Inject { kind, shape, injection, text, held } => {
                log_line(format!("{server}: {text}"));
                self.faults.add(kind, held.then_some(connection), ActiveFault { shape, injection, text })
            }
            ControlRequest::Reset => {
                log_line(format!("{server}: reset all connections"));
                self.faults.reset_connections()
            }
            ControlRequest::Heal => {
                log_line(format!("{server}: heal"));
                self.faults.clear()
            }
        }
    }
}

/// The client's end of the control socket. The faults that it holds end when it is dropped.
pub(super) struct ControlClient {
    responses: Lines<BufReader<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
}

/// An error of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The process has not responded in time.
    #[error("it does not answer; if it is frozen, let it go on first, with `real inject resume`")]
    Silent,
    /// There is no connection to the process.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The connection ended before the response.
    #[error("it has ended")]
    Gone,
}

impl ControlClient {
    /// Connects to `socket`.
    pub(super) async fn connect(socket: &Path) -> Result<Self, ControlError> {
        let (responses, requests) = UnixStream::connect(socket).await.map_err(ControlError::Unreachable)?.into_split();
        Ok(Self { responses: BufReader::new(responses).lines(), requests })
    }

    /// Sends a request, and waits until it has been carried out, two seconds at most.
    pub(super) async fn send(
        &mut self,
        world: &SharedWorld,
        request: &ControlRequest,
    ) -> Result<ControlResponse, ControlError> {
        let late = world.now() + RESPONSE_TIMEOUT;
        let response = async {
            let sent = self.requests.write_all((line(request) + "\n").as_bytes()).await;
            sent.map_err(|_| ControlError::Gone)?;
            let response = self.responses.next_line().await.ok().flatten().ok_or(ControlError::Gone)?;
            serde_json::from_str(&response).map_err(|_| ControlError::Gone)
        };
        timeout_at(&**world, late, response).await.unwrap_or(Err(ControlError::Silent))
    }
}

#[cfg(test)]
mod tests {
    use kernel::{entropy::Entropy, link::Link};
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{clock::Clock, host::Host, timer::Timer};

    fn delay(ms: u64, held: bool) -> ControlRequest {
        ControlRequest::Inject {
            kind: "delay".to_owned(),
            shape: Shape { latency: Duration::from_millis(ms), ..Shape::default() },
            injection: Injection::default(),
            text: format!("delay {ms}"),
            held,
        }
    }

    /// Sends a request, and returns the faults before it.
    async fn before(control: &mut ControlClient, world: &SharedWorld, request: ControlRequest) -> Vec<String> {
        let ControlResponse::Done { before } = control.send(world, &request).await.unwrap();
        before
    }

    #[test]
    fn held_faults_end_with_their_connection_and_others_when_they_are_healed() {
        Runtime::new().unwrap().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("s");
            let world = Host::new(Clock::MACHINE, Timer::start().unwrap()).shared();
            let faults = ActiveFaults::new(Link::new(world.clone(), Entropy::new(0), "s"), None);
            ControlSocket::listen(faults, &world, &socket).unwrap();
            let mut one = ControlClient::connect(&socket).await.unwrap();
            let mut other = ControlClient::connect(&socket).await.unwrap();
            assert_eq!(before(&mut one, &world, delay(1, false)).await, [""; 0]);
            assert_eq!(before(&mut other, &world, delay(2, false)).await, ["delay 1"]);
            assert_eq!(before(&mut one, &world, delay(3, true)).await, ["delay 2"]);
            assert_eq!(before(&mut other, &world, ControlRequest::Reset).await, ["delay 2", "delay 3"]);
            drop(one);
            while before(&mut other, &world, ControlRequest::Reset).await.len() > 1 {}
            assert_eq!(before(&mut other, &world, ControlRequest::Heal).await, ["delay 2"]);
            assert_eq!(before(&mut other, &world, ControlRequest::Heal).await, [""; 0]);
        });
    }
}
