//! The control socket of a server or proxy, through which other processes inject faults: lines of JSON over a Unix socket.
//!
//! It takes requests of its own user only, even if others can open the socket: the operating system says whose process has connected.
//!
//! A fault with a duration is held by the connection that injected it: it ends with the connection, however that ends. A
//! fault without a duration stays until it is healed, and replaces an earlier one of its kind.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use kernel::{
    link::{LinkEffect, Selection},
    scenario::limits,
    server::Injection,
    time::Instant,
    world::{SharedWorld, timeout_at},
};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
};
use tracing::warn;

use super::{
    active_faults::{ActiveFault, ActiveFaults},
    fault_log::InjectedFaultId,
    log::log_line,
    registry::is_socket,
};
use crate::{
    accept::Door,
    message::{line, read_line},
    timer::Timer,
};

/// Time that a process which is not frozen may take to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time that a connection which holds no fault may take for a request, and any connection for reading a response. A longer one
/// would keep its place from others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Most connections to one control socket. A fault with a duration needs one.
const CONNECTIONS_MAX: usize = 64;

/// Largest message, in bytes. The longest that this program sends has less than 1 KB for a request, and a response has the texts
/// of all faults.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Largest text of a fault and largest name of its kind, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Most settings of one request.
const SETTINGS_MAX: usize = 64;

/// Most faults that are active at once, of all kinds and holders.
const FAULTS_MAX: usize = 256;

/// A request to a server or proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlRequest {
    /// Adds a fault to those that are active.
    Inject {
        /// Kind of the fault, such as `delay`.
        kind: String,
        /// Effect on the link.
        #[serde(flatten)]
        effect: Box<LinkEffect>,
        /// Effect on the server.
        injection: Injection,
        /// Description for logs.
        text: String,
        /// The fault ends with the connection.
        held: bool,
        /// The command that injects it, the same for all its targets.
        #[serde(default)]
        command: String,
    },
    /// Resets the open connections that it selects.
    Reset {
        /// The connections.
        connections: Selection,
    },
    /// Ends all faults.
    Heal,
    /// Gives settings of the server, or of the link of the proxy, other values: all of them, or none if one is refused.
    Set {
        /// The keys, as `--set` takes them, with their values as TOML.
        settings: Vec<(String, String)>,
        /// Nothing changes: the response says what would.
        only_check: bool,
    },
}

/// The response to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlResponse {
    /// The request was carried out. `before` describes the faults that were active before it, or the changes of settings.
    Done { before: Vec<String> },
    /// The request cannot be carried out, for this reason.
    Refused { reason: String },
}

impl ControlRequest {
    /// Checks the values, which another program can have written. The command line of `real inject` has the same bounds.
    fn validate(&self) -> Result<(), String> {
        let (kind, effect, injection, text, command) = match self {
            Self::Inject { kind, effect, injection, text, command, .. } => (kind, effect, injection, text, command),
            Self::Reset { connections } if !limits::SHARE_SOME.contains(&connections.share) => {
                return Err("`share` is beyond its bounds".to_owned());
            }
            Self::Set { settings, .. } if settings.len() > SETTINGS_MAX => {
                return Err(format!("more than {SETTINGS_MAX} settings"));
            }
            Self::Set { settings, .. } if settings.iter().any(|(key, to)| key.len().max(to.len()) > TEXT_BYTES_MAX) => {
                return Err("the setting is too long".to_owned());
            }
            Self::Reset { .. } | Self::Heal | Self::Set { .. } => return Ok(()),
        };
        let shape = &effect.shape;
        let waits = [shape.latency, shape.jitter].iter().all(|wait| limits::WAIT.contains(wait));
        let bandwidth = shape.bandwidth.is_none_or(|rate| limits::BANDWIDTH.contains(&rate));
        let errors = &injection.errors;
        let rates =
            errors.iter().map(|errors| errors.rate).chain([shape.loss]).all(|rate| limits::SHARE.contains(&rate));
        let wrong = [
            ("kind", is_plain(kind)),
            ("text", is_plain(text)),
            ("command", is_plain(command)),
            ("latency or jitter", waits),
            ("bandwidth", bandwidth),
            ("rate", rates),
            ("share", limits::SHARE_SOME.contains(&effect.connections.share)),
            ("burst", effect.burst.is_none_or(|burst| burst.is_valid())),
            ("errors", errors.len() <= FAULTS_MAX),
            ("slow", limits::SLOW_FACTOR.contains(&injection.slow)),
        ];
        let wrong = wrong.into_iter().find(|(_, right)| !right);
        wrong.map_or(Ok(()), |(name, _)| Err(format!("`{name}` is beyond its bounds")))
    }
}

/// Returns true if the text is short and can be written to a terminal.
fn is_plain(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// The server's end of the control socket.
pub(super) struct ControlSocket {
    faults: Arc<ActiveFaults>,
    world: SharedWorld,
}

/// A connection to the control socket.
struct ControlConnection {
    requests: BufReader<OwnedReadHalf>,
    responses: OwnedWriteHalf,
    /// Its number, by which its faults are found.
    number: u64,
}

impl ControlSocket {
    /// Accepts connections at `socket` from now on, as a task of `world`, and for as long as the process lives: a shortage is
    /// waited for with `timer`. Fails if the socket cannot be made.
    pub(super) fn listen(
        faults: Arc<ActiveFaults>,
        world: &SharedWorld,
        timer: Timer,
        socket: &Path,
    ) -> io::Result<()> {
        // A process of the same id that was killed has left its socket, and `bind` refuses a path that exists. Anything else
        // there is not ours to remove.
        if is_socket(socket) {
            fs::remove_file(socket)?;
        }
        let listener = UnixListener::bind(socket)?;
        let control = Arc::new(Self { faults, world: world.clone() });
        let mut door = Door::new(CONNECTIONS_MAX, timer);
        world.spawn(Box::pin(async move {
            // An error means that the socket is none, and no connection can come any more.
            while let Ok(((stream, _), place)) = door.next(|cx| listener.poll_accept(cx), drop).await {
                if !is_of_this_user(&stream) {
                    warn!("a process of another user has connected to the control socket: its connection is closed");
                    continue;
                }
                let serving = control.clone().serve(stream);
                control.world.spawn(Box::pin(async move {
                    serving.await;
                    drop(place);
                }));
            }
        }));
        Ok(())
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        let number = self.faults.new_connection();
        let (requests, responses) = stream.into_split();
        let mut connection = ControlConnection { requests: BufReader::new(requests), responses, number };
        while let Some(request) = self.next(&mut connection).await {
            let response = match request.and_then(|request| request.validate().map(|()| request)) {
                Ok(request) => self.carry_out(request, number),
                Err(reason) => ControlResponse::Refused { reason },
            };
            if !self.respond(&mut connection, &response).await {
                break;
            }
        }
        for text in self.faults.end_connection(number) {
            log_line(format!("{}: {text} is over", self.faults.server()));
        }
    }

    /// The next request, or the reason why it is none. `None` after the last one: the connection has ended, takes too long
    /// without holding a fault, or does not speak the protocol.
    async fn next(&self, connection: &mut ControlConnection) -> Option<Result<ControlRequest, String>> {
        let holds = self.faults.is_held_by(connection.number);
        let request = read_line(&mut connection.requests, MESSAGE_BYTES_MAX);
        // A connection that holds a fault stays for as long as the fault does, which may be hours.
        let read = if holds { Ok(request.await) } else { timeout_at(&*self.world, self.timeout(), request).await };
        let request = read.ok()?.ok()??;
        Some(serde_json::from_str(&request).map_err(|error| format!("it is no request: {error}")))
    }

    /// Sends a response. Returns false if it is not read.
    async fn respond(&self, connection: &mut ControlConnection, response: &ControlResponse) -> bool {
        let response = line(response) + "\n";
        let sent = connection.responses.write_all(response.as_bytes());
        timeout_at(&*self.world, self.timeout(), sent).await.is_ok_and(|sent| sent.is_ok())
    }

    fn timeout(&self) -> Instant {
        self.world.now() + REQUEST_TIMEOUT
    }

    /// Carries a request out, and responds with the descriptions of the faults before it.
    fn carry_out(&self, request: ControlRequest, connection: u64) -> ControlResponse {
        let server = self.faults.server();
        let before = match request {
            ControlRequest::Inject { kind, effect, injection, text, held, command } => {
                if self.faults.count() >= FAULTS_MAX {
                    return ControlResponse::Refused { reason: format!("{FAULTS_MAX} faults are active; heal some") };
                }
                if let Some(reason) = self.faults.refusal(&injection) {
                    return ControlResponse::Refused { reason: reason.to_owned() };
                }
                log_line(format!("{server}: {text}"));
                let id = InjectedFaultId { command, kind: kind.clone(), text };
                self.faults.add(kind, held.then_some(connection), ActiveFault { effect: *effect, injection, id })
            }
            ControlRequest::Reset { connections } => {
                let which = if connections.share < 1.0 { "some" } else { "all" };
                log_line(format!("{server}: reset {which} connections"));
                self.faults.reset_connections(connections)
            }
            ControlRequest::Heal => {
                log_line(format!("{server}: heal"));
                self.faults.clear()
            }
            ControlRequest::Set { settings, only_check } => match self.faults.set(&settings, only_check) {
                Ok(changes) => {
                    if !only_check {
                        changes.iter().for_each(|change| log_line(format!("{server}: {change}")));
                    }
                    changes
                }
                Err(reason) => return ControlResponse::Refused { reason },
            },
        };
        ControlResponse::Done { before }
    }
}

/// Returns whether the other end is a process of the user that this process belongs to, as it was when it connected.
fn is_of_this_user(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

/// The client's end of the control socket. The faults that it holds end when it is dropped.
pub(super) struct ControlClient {
    responses: BufReader<OwnedReadHalf>,
    requests: OwnedWriteHalf,
}

/// An error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The process has not responded in time.
    #[error("it does not answer; if it is frozen, let it go on first, with `real inject resume`")]
    Silent,
    /// There is no connection to the process.
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The connection ended before the response.
    #[error("it has ended")]
    Gone,
    /// The response is none of ours.
    #[error("its control socket answers what no server of this version does; start it again")]
    Invalid,
    /// The process refuses the request, for this reason.
    #[error("{0}")]
    Refused(String),
}

impl ControlClient {
    /// Connects to `socket`, within two seconds.
    pub(super) async fn connect(world: &SharedWorld, socket: &Path) -> Result<Self, ControlError> {
        // A frozen process accepts nothing, and the connections that wait for it are few.
        let connected = timeout_at(&**world, world.now() + RESPONSE_TIMEOUT, UnixStream::connect(socket)).await;
        let stream = connected.map_err(|_| ControlError::Silent)?.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => ControlError::Silent,
            _ => ControlError::Unreachable(error),
        })?;
        let (responses, requests) = stream.into_split();
        Ok(Self { responses: BufReader::new(responses), requests })
    }

    /// Sends a request, and waits until it has been carried out, two seconds at most. Returns the faults before it.
    pub(super) async fn send(
        &mut self,
        world: &SharedWorld,
        request: &ControlRequest,
    ) -> Result<Vec<String>, ControlError> {
        let late = world.now() + RESPONSE_TIMEOUT;
        let response = async {
            let sent = self.requests.write_all((line(request) + "\n").as_bytes()).await;
            sent.map_err(|_| ControlError::Gone)?;
            let response = read_line(&mut self.responses, MESSAGE_BYTES_MAX).await;
            let response = response.map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => ControlError::Invalid,
                _ => ControlError::Gone,
            })?;
            serde_json::from_str(&response.ok_or(ControlError::Gone)?).map_err(|_| ControlError::Invalid)
        };
        match timeout_at(&**world, late, response).await {
            Ok(Ok(ControlResponse::Done { before })) => Ok(before),
            Ok(Ok(ControlResponse::Refused { reason })) => Err(ControlError::Refused(reason)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ControlError::Silent),
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::{
        entropy::Entropy,
        link::{Link, Shape},
    };
    use tokio::{io::AsyncReadExt, runtime::Runtime};

    use super::*;
    use crate::{clock::Clock, host::Host, timer::Timer};

    fn delay(ms: u64, held: bool) -> ControlRequest {
        ControlRequest::Inject {
            kind: "delay".to_owned(),
            effect: Box::new(Shape { latency: Duration::from_millis(ms), ..Shape::default() }.into()),
            injection: Injection::default(),
            text: format!("delay {ms}"),
            held,
            command: String::new(),
        }
    }

    const RESET: ControlRequest = ControlRequest::Reset { connections: Selection { open_at_start: false, share: 1.0 } };

    /// Sends a request, and returns the faults before it.
    async fn before(control: &mut ControlClient, world: &SharedWorld, request: ControlRequest) -> Vec<String> {
        control.send(world, &request).await.unwrap()
    }

    /// A control socket without faults, in a directory of its own.
    fn listening() -> (SharedWorld, tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let timer = Timer::start().unwrap();
        let world = Host::new(Clock::MACHINE, timer.clone()).shared();
        let faults = Arc::new(ActiveFaults::new(Link::new(world.clone(), Entropy::new(0), "s"), None, None));
        ControlSocket::listen(faults, &world, timer, &socket).unwrap();
        (world, directory, socket)
    }

    #[test]
    fn held_faults_end_with_their_connection_and_others_when_they_are_healed() {
        Runtime::new().unwrap().block_on(async {
            let (world, _directory, socket) = listening();
            let mut one = ControlClient::connect(&world, &socket).await.unwrap();
            let mut other = ControlClient::connect(&world, &socket).await.unwrap();
            assert_eq!(before(&mut one, &world, delay(1, false)).await, [""; 0]);
            assert_eq!(before(&mut other, &world, delay(2, false)).await, ["delay 1"]);
            assert_eq!(before(&mut one, &world, delay(3, true)).await, ["delay 2"]);
            assert_eq!(before(&mut other, &world, RESET).await, ["delay 2", "delay 3"]);
            drop(one);
            while before(&mut other, &world, RESET).await.len() > 1 {}
            assert_eq!(before(&mut other, &world, ControlRequest::Heal).await, ["delay 2"]);
            assert_eq!(before(&mut other, &world, ControlRequest::Heal).await, [""; 0]);
        });
    }

    /// Another user is at hand for a test that runs as root, as those of containers do.
    #[test]
    fn a_process_of_another_user_is_not_heard() {
        use std::{
            io::{Read, Write},
            os::unix::{fs::PermissionsExt, net::UnixStream},
            thread,
        };

        const OTHER: rustix::process::Uid = rustix::process::Uid::from_raw_unchecked(65_534);
        if !geteuid().is_root() {
            return;
        }
        Runtime::new().unwrap().block_on(async {
            let (world, directory, socket) = listening();
            for path in [directory.path(), &socket] {
                fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
            }
            let at = socket.clone();
            let other = thread::Builder::new().spawn(move || {
                // Of this thread alone: the other threads of the process stay root's.
                rustix::thread::set_thread_uid(OTHER).unwrap();
                let mut stream = UnixStream::connect(at).unwrap();
                let _ = stream.write_all((line(&delay(1, false)) + "\n").as_bytes());
                let mut heard = String::new();
                let _ = stream.read_to_string(&mut heard);
                heard
            });
            let other = other.unwrap();
            while !other.is_finished() {
                tokio::task::yield_now().await;
            }
            assert_eq!(other.join().unwrap(), "");
            let mut own = ControlClient::connect(&world, &socket).await.unwrap();
            assert_eq!(before(&mut own, &world, ControlRequest::Heal).await, [""; 0], "no fault was injected");
        });
    }

    /// A request to inject, with one value replaced.
    fn with(path: &str, value: serde_json::Value) -> String {
        let mut request = serde_json::to_value(delay(1, false)).unwrap();
        *request.pointer_mut(path).expect("there is such a value") = value;
        request.to_string()
    }

    #[test]
    fn hostile_requests_are_refused_or_end_their_connection_only() {
        Runtime::new().unwrap().block_on(async {
            let (world, _directory, socket) = listening();
            let deep = "[".repeat(100_000);
            let long = serde_json::Value::from("x".repeat(TEXT_BYTES_MAX + 1));
            let refused = [
                String::new(),
                "{}".to_owned(),
                deep,
                with("/inject/kind", long.clone()),
                with("/inject/text", long),
                with("/inject/text", "\u{1b}[2J".into()),
                with("/inject/shape/latency/secs", u64::MAX.into()),
                with("/inject/shape/bandwidth", 0.into()),
                with("/inject/shape/loss", 1.5.into()),
                with("/inject/connections/share", 0.into()),
                with(
                    "/inject/burst",
                    serde_json::json!({ "enter": 0.1, "exit": 0, "loss_in_burst": 1, "loss_outside": 0 }),
                ),
                r#"{"reset":{"connections":{"open_at_start":false,"share":0}}}"#.to_owned(),
                with("/inject/injection/slow", (-1).into()),
                with("/inject/injection/presented", "expired".into()),
                with("/inject/injection/presented", "stolen".into()),
                serde_json::json!({ "set": { "settings": vec![("a", "1"); SETTINGS_MAX + 1], "only_check": true } })
                    .to_string(),
                serde_json::json!({ "set": { "settings": [["a", "1".repeat(TEXT_BYTES_MAX + 1)]], "only_check": true } })
                    .to_string(),
                serde_json::json!({ "set": { "settings": [["servers.queue", "1"]], "only_check": false } }).to_string(),
            ];
            let mut control = ControlClient::connect(&world, &socket).await.unwrap();
            for request in refused {
                control.requests.write_all((request.clone() + "\n").as_bytes()).await.unwrap();
                let response = read_line(&mut control.responses, MESSAGE_BYTES_MAX).await.unwrap().unwrap();
                assert!(response.starts_with("{\"refused\":"), "{request:.99}: {response}");
            }
            let endless = "x".repeat(2 * MESSAGE_BYTES_MAX).into_bytes();
            for ends in [&endless[..], b"\xff\n"] {
                let mut control = ControlClient::connect(&world, &socket).await.unwrap();
                // It may be closed before all of this is written.
                let _ = control.requests.write_all(ends).await;
                assert!(!matches!(read_line(&mut control.responses, 99).await, Ok(Some(_))));
            }
            assert_eq!(before(&mut control, &world, ControlRequest::Heal).await, [""; 0]);
        });
    }

    #[test]
    fn too_many_faults_and_connections_are_refused_and_the_others_go_on() {
        Runtime::new().unwrap().block_on(async {
            let (world, _directory, socket) = listening();
            let mut control = ControlClient::connect(&world, &socket).await.unwrap();
            for number in 0..FAULTS_MAX {
                let request = with("/inject/kind", format!("kind {number}").into());
                let request = serde_json::from_str(&request).unwrap();
                control.send(&world, &request).await.unwrap();
            }
            let refused = control.send(&world, &delay(1, false)).await;
            assert!(matches!(refused, Err(ControlError::Refused(reason)) if reason.contains("faults are active")));
            let mut others = Vec::new();
            for _ in 0..2 * CONNECTIONS_MAX {
                others.push(ControlClient::connect(&world, &socket).await);
            }
            assert_eq!(before(&mut control, &world, ControlRequest::Heal).await.len(), FAULTS_MAX);
            drop(others);
            // A place is free when the server has seen the end of a connection.
            loop {
                let mut next = ControlClient::connect(&world, &socket).await.unwrap();
                if next.send(&world, &ControlRequest::Heal).await.is_ok() {
                    break;
                }
            }
        });
    }

    #[test]
    fn a_socket_that_answers_something_else_is_said_to() {
        Runtime::new().unwrap().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("s");
            let listener = UnixListener::bind(&socket).unwrap();
            let world = Host::new(Clock::MACHINE, Timer::start().unwrap()).shared();
            for answer in [&b"hello\n"[..], &vec![b'x'; 2 * MESSAGE_BYTES_MAX]] {
                let mut control = ControlClient::connect(&world, &socket).await.unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer = answer.to_vec();
                world.spawn(Box::pin(async move {
                    // It is not read to its end, and the connection stays open for as long as the client wants it.
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }));
                let sent = control.send(&world, &ControlRequest::Heal).await;
                assert!(matches!(sent, Err(ControlError::Invalid)), "{sent:?}");
            }
        });
    }
}
