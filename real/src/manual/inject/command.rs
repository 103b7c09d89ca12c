//! The action of `real inject` on one target.

use std::{path::Path, time::Duration};

use kernel::{
    cli::Failure,
    link::{LinkEffect, Selection},
    scenario::duration,
    server::Injection,
    world::SharedWorld,
};
use rustix::process::Signal;

use super::{
    super::{
        control::{ControlClient, ControlError, ControlRequest},
        down::ends_within,
        fault_log::{Change, FaultLog, InjectedFaultId, OpenFaults},
        identity::{ProcessHandle, ProcessState},
        log::log_line,
        registry::{EntryKind, RegistryEntry},
    },
    revert::Revert,
};

/// Time that a killed process may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// An action on a running server or proxy.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    /// Sends SIGKILL.
    Crash,
    /// Sends SIGTERM, and SIGKILL after the grace.
    Drain {
        /// Time that calls under way have to finish.
        grace: Duration,
    },
    /// Sends SIGSTOP.
    Freeze,
    /// Sends SIGCONT.
    Resume,
    /// Resets the open connections that it selects.
    Reset(Selection),
    /// Ends all faults of the link and the server.
    Heal,
    /// Adds a fault.
    Inject(InjectedFault),
}

/// A target of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct InjectTarget<'a> {
    /// The server or proxy.
    pub(super) entry: &'a RegistryEntry,
    /// Its control socket.
    pub(super) socket: &'a Path,
    /// The folder of the registry.
    pub(super) folder: &'a Path,
    /// The text that is the same for all targets of the command.
    pub(super) command: &'a str,
}

/// A fault of a link or a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InjectedFault {
    /// Kind of the fault. A new one without a duration replaces the earlier one of its kind.
    pub(super) kind: &'static str,
    /// Effect on the link.
    pub(super) effect: LinkEffect,
    /// Effect on the server.
    pub(super) injection: Injection,
    /// Description for logs.
    pub(super) text: String,
}

impl InjectedFault {
    /// A fault that affects the link only.
    pub(super) fn on_link(kind: &'static str, effect: LinkEffect, text: String) -> Self {
        Self { kind, effect, injection: Injection::default(), text }
    }

    /// A fault that affects the server only.
    pub(super) fn on_server(kind: &'static str, injection: Injection, text: String) -> Self {
        Self { kind, effect: LinkEffect::default(), injection, text }
    }
}

impl Command {
    /// Description for logs and messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Crash => "crash",
            Self::Drain { .. } => "drain",
            Self::Freeze => "freeze",
            Self::Resume => "resume",
            Self::Reset(_) => "reset",
            Self::Heal => "heal",
            Self::Inject(fault) => &fault.text,
        }
    }

    /// Applies the command to `target`. Returns how to revert it, for a fault with a
    /// `duration`.
    pub(super) async fn apply(
        &self,
        world: &SharedWorld,
        target: &InjectTarget<'_>,
        duration: Option<Duration>,
    ) -> Result<Option<Revert>, Failure> {
        let InjectTarget { entry: target, socket, folder, command } = *target;
        let id = &target.id;
        let log = FaultLog::new(folder, target);
        let fault = |kind: &str| InjectedFaultId {
            command: command.to_owned(),
            kind: kind.to_owned(),
            text: self.name().to_owned(),
        };
        let process = target.process.hold().map_err(|error| self.failed(id, error.to_string()))?;
        let process = process.ok_or_else(|| self.failed(id, "it has ended"))?;
        let until = duration.map_or_else(String::new, |time| format!(" for {}", duration::text(time)));
        let done = format!("{id} (pid {}): {}{until}", target.process.pid, self.name());
        match self {
            Self::Crash => {
                self.signal(id, &process, Signal::KILL)?;
                note(&log, Change::Begins(fault("crash")));
                if !ends_within(&**world, &process, KILL_TIMEOUT).await {
                    return Err(self.failed(id, "it does not end"));
                }
                log_line(done);
            }
            Self::Drain { grace } => {
                self.signal(id, &process, Signal::TERM)?;
                note(&log, Change::Begins(fault("drain")));
                let has_ended = ends_within(&**world, &process, *grace).await;
                if !has_ended {
                    self.signal(id, &process, Signal::KILL)?;
                    if !ends_within(&**world, &process, KILL_TIMEOUT).await {
                        return Err(self.failed(id, "it does not end"));
                    }
                }
                log_line(if has_ended { done } else { format!("{done}; killed after {}", duration::text(*grace)) });
            }
            Self::Freeze => {
                self.signal(id, &process, Signal::STOP)?;
                note(&log, Change::Begins(fault("freeze")));
                log_line(done + &remedy(duration, "resume", id));
                return Ok(duration.map(|_| Revert::Resume(Box::new(target.clone()), folder.to_owned(), process)));
            }
            Self::Resume => {
                let was_frozen = process.state() == Some(ProcessState::Frozen);
                self.signal(id, &process, Signal::CONT)?;
                end_freezes(folder, target);
                log_line(if was_frozen { done } else { format!("{done}; it was not frozen") });
            }
            Self::Reset(connections) => {
                self.send(world, id, socket, &ControlRequest::Reset { connections: *connections }).await?;
                // Over as soon as it has happened.
                note(&log, Change::Begins(fault("reset")));
                note(&log, Change::Ends(fault("reset")));
                log_line(done);
            }
            Self::Heal => {
                let (before, _) = self.send(world, id, socket, &ControlRequest::Heal).await?;
                let healed = if before.is_empty() { "it had no fault".to_owned() } else { before.join(", ") };
                log_line(format!("{done} ({healed})"));
            }
            Self::Inject(InjectedFault { kind, effect, injection, text }) => {
                // A proxy understands neither the calls in its byte streams nor their encryption.
                if target.kind != EntryKind::Server && *injection != Injection::default() {
                    return Err(Failure::wrong_input(format!("`{kind}` is a fault of a server, and {id} is a proxy")));
                }
                let request = ControlRequest::Inject {
                    kind: (*kind).to_owned(),
                    effect: Box::new(*effect),
                    injection: injection.clone(),
                    text: text.clone(),
                    held: duration.is_some(),
                    command: command.to_owned(),
                };
                let (_, control) = self.send(world, id, socket, &request).await?;
                log_line(done + &remedy(duration, "heal", id));
                return Ok(duration.map(|_| Revert::Disconnect(id.clone(), text.clone(), control)));
            }
        }
        Ok(None)
    }

    fn signal(&self, id: &str, process: &ProcessHandle, signal: Signal) -> Result<bool, Failure> {
        process.signal(signal).map_err(|error| self.failed(id, error.to_string()))
    }

    /// Sends a request. Returns the faults that the target had before, and the connection, which holds the new fault.
    async fn send(
        &self,
        world: &SharedWorld,
        id: &str,
        socket: &Path,
        request: &ControlRequest,
    ) -> Result<(Vec<String>, ControlClient), Failure> {
        let sent: Result<_, ControlError> = async {
            let mut control = ControlClient::connect(world, socket).await?;
            let before = control.send(world, request).await?;
            Ok((before, control))
        }
        .await;
        sent.map_err(|error| match error {
            ControlError::Refused(_) => Failure::wrong_input(self.message(id, &error.to_string())),
            _ => self.failed(id, error.to_string()),
        })
    }

    fn failed(&self, id: &str, reason: impl Into<String>) -> Failure {
        Failure::run_failed(self.message(id, &reason.into()))
    }

    fn message(&self, id: &str, reason: &str) -> String {
        match self {
            Self::Inject(fault) => format!("cannot inject `{}` into {id}: {reason}", fault.kind),
            _ => format!("cannot {} {id}: {reason}", self.name()),
        }
    }
}

/// Adds a line to the log of faults. The fault has its effect whether or not others learn of it.
fn note(log: &FaultLog, change: Change) {
    if let Err(error) = log.add(change) {
        log_line(format!("cannot log the fault: {error}"));
    }
}

/// Notes that a process continues, which ends all freezes of it.
pub(super) fn end_freezes(folder: &Path, target: &RegistryEntry) {
    let open = OpenFaults::now(folder).unwrap_or_default();
    let log = FaultLog::new(folder, target);
    open.of_kind(target, "freeze").into_iter().for_each(|fault| note(&log, Change::Ends(fault)));
}

/// The hint how to end a fault that has no duration.
fn remedy(duration: Option<Duration>, command: &str, id: &str) -> String {
    if duration.is_none() { format!("; `real inject {command} {id}` lifts it") } else { String::new() }
}
