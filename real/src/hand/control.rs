//! How the link of a running server or proxy, and what a server does wrong, is steered from another process: lines of JSON
//! over a Unix socket.
//!
//! A fault that is given a time is held by whoever injected it: it lasts as long as their connection does, so that it is
//! lifted whatever ends them. One without a time stays, in place of an earlier one of its kind, until it is healed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kernel::{
    link::{Link, Shape},
    server::{Injection, Injector},
    world::{SharedWorld, timeout_at},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{UnixListener, UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
};

use super::log::say;
use crate::message::line;

/// How long a process that is not frozen may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a server or proxy is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Do this to what passes and to calls, on top of the other faults.
    Afflict {
        kind: String,
        shape: Shape,
        injection: Injection,
        /// As the log says it.
        what: String,
        /// Whether it is over when the connection is.
        held: bool,
    },
    /// Reset all connections.
    Reset,
    /// Lift all faults.
    Heal,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The faults that were there before, as the log says them.
    Done { before: Vec<String> },
}

/// The faults on a link and in a server, and who holds them.
pub(super) struct Faults {
    link: Arc<Link>,
    /// Of a server.
    injector: Option<Arc<Injector>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By kind and holder; those that nobody holds are of holder 0.
    faults: BTreeMap<(String, u64), Affliction>,
    /// Connections ever accepted.
    holders: u64,
}

struct Affliction {
    shape: Shape,
    injection: Injection,
    /// As the log says it.
    what: String,
}

impl Faults {
    pub(super) fn on(link: Arc<Link>, injector: Option<Arc<Injector>>) -> Arc<Self> {
        Arc::new(Self { link, injector, state: Mutex::default() })
    }

    /// Takes orders at `socket` from now on.
    pub(super) fn listen(self: Arc<Self>, world: &SharedWorld, socket: &Path) -> io::Result<()> {
        // What is there was left by one of the same name that was killed.
        let _ = fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let spawner = world.clone();
        world.spawn(Box::pin(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawner.spawn(Box::pin(self.clone().obey(stream)));
            }
        }));
        Ok(())
    }

    async fn obey(self: Arc<Self>, stream: UnixStream) {
        let holder = self.change(|state| state.holders += 1).1;
        let (orders, mut answers) = stream.into_split();
        let mut orders = BufReader::new(orders).lines();
        while let Ok(Some(order)) = orders.next_line().await {
            let Ok(order) = serde_json::from_str(&order) else { break };
            let before = self.take(order, holder);
            if answers.write_all((line(&Answer::Done { before }) + "\n").as_bytes()).await.is_err() {
                break;
            }
        }
        let (lifted, _) = self.change(|state| {
            let is_held = |(_, by): &(String, u64)| *by == holder;
            let lifted = state.faults.iter().filter(|(fault, _)| is_held(fault)).map(|(_, fault)| fault.what.clone());
            let lifted: Vec<_> = lifted.collect();
            state.faults.retain(|fault, _| !is_held(fault));
            lifted
        });
        for what in lifted {
            say(format!("{}: {what} is over", self.link.server()));
        }
    }

    /// Does what it is told, and says what faults there were before.
    fn take(&self, order: Order, holder: u64) -> Vec<String> {
        let server = self.link.server();
        let before = |state: &State| state.faults.values().map(|fault| fault.what.clone()).collect();
        match order {
            Order::Afflict { kind, shape, injection, what, held } => {
                say(format!("{server}: {what}"));
                self.change(|state| {
                    let before = before(state);
                    let affliction = Affliction { shape, injection, what };
                    state.faults.insert((kind, if held { holder } else { 0 }), affliction);
                    before
                })
                .0
            }
            Order::Reset => {
                say(format!("{server}: reset all connections"));
                self.link.reset();
                self.change(|state| before(state)).0
            }
            Order::Heal => {
                say(format!("{server}: heal"));
                self.change(|state| std::mem::take(&mut state.faults).into_values().map(|fault| fault.what).collect()).0
            }
        }
    }

    /// Changes the faults, and gives the link the shape and the server the injection that they come to. What `change` returns, and the holders so far.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> (T, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        let shape = state.faults.values().fold(Shape::default(), |all, fault| all.and(fault.shape));
        let injection = state.faults.values().fold(Injection::default(), |all, fault| all.and(&fault.injection));
        // Under the lock: of two changes at once the later one shapes the link last.
        self.link.set_shape(shape);
        if let Some(injector) = &self.injector {
            injector.set(injection);
        }
        (changed, state.holders)
    }
}

/// A connection to a link's process. What it holds is lifted when it is dropped.
pub(super) struct Control {
    answers: Lines<BufReader<OwnedReadHalf>>,
    orders: OwnedWriteHalf,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    #[error("it does not answer; if it is frozen, let it go on first, with `real inject resume`")]
    Silent,
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("it has ended")]
    Gone,
}

impl Control {
    pub(super) async fn of(socket: &Path) -> Result<Self, ControlError> {
        let (answers, orders) = UnixStream::connect(socket).await.map_err(ControlError::Unreachable)?.into_split();
        Ok(Self { answers: BufReader::new(answers).lines(), orders })
    }

    /// Gives an order; done when it has been carried out.
    pub(super) async fn tell(&mut self, world: &SharedWorld, order: &Order) -> Result<Answer, ControlError> {
        let late = world.now() + ANSWER_TIMEOUT;
        let answer = async {
            let told = self.orders.write_all((line(order) + "\n").as_bytes()).await;
            told.map_err(|_| ControlError::Gone)?;
            let answer = self.answers.next_line().await.ok().flatten().ok_or(ControlError::Gone)?;
            serde_json::from_str(&answer).map_err(|_| ControlError::Gone)
        };
        timeout_at(&**world, late, answer).await.unwrap_or(Err(ControlError::Silent))
    }
}

#[cfg(test)]
mod tests {
    use kernel::entropy::Entropy;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{clock::Clock, host::Host, timer::Timer};

    fn delay(ms: u64, held: bool) -> Order {
        let shape = Shape { latency: Duration::from_millis(ms), ..Shape::default() };
        let (kind, injection) = ("delay".to_owned(), Injection::default());
        Order::Afflict { kind, shape, injection, what: format!("delay {ms}"), held }
    }

    #[test]
    fn held_faults_end_with_their_holder_and_others_when_they_are_healed() {
        Runtime::new().unwrap().block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let socket = directory.path().join("s");
            let world = Host::new(Clock::MACHINE, Timer::start().unwrap()).shared();
            let faults = Faults::on(Link::new(world.clone(), Entropy::new(0), "s"), None);
            faults.clone().listen(&world, &socket).unwrap();
            let mut one = Control::of(&socket).await.unwrap();
            let mut other = Control::of(&socket).await.unwrap();
            let was = async |control: &mut Control, order| {
                let Answer::Done { before } = control.tell(&world, &order).await.unwrap();
                before
            };
            assert_eq!(was(&mut one, delay(1, false)).await, [""; 0]);
            assert_eq!(was(&mut other, delay(2, false)).await, ["delay 1"]);
            assert_eq!(was(&mut one, delay(3, true)).await, ["delay 2"]);
            assert_eq!(was(&mut other, Order::Reset).await, ["delay 2", "delay 3"]);
            drop(one);
            while was(&mut other, Order::Reset).await.len() > 1 {}
            assert_eq!(was(&mut other, Order::Heal).await, ["delay 2"]);
            assert_eq!(was(&mut other, Order::Heal).await, [""; 0]);
        });
    }
}
