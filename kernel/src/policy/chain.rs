//! The policies of a client, asked in their order, and the way of one attempt through them.

use futures_util::future::{Either, select};

use super::{Admission, Choosing, End, Ending, Kit, Policies, Policy, Pushback, Rejection, Servers};
use crate::{status::Code, time::Instant, world::SharedWorld};

/// How often a pick is put back: with a weight of a hundredth each, it ends before that in all but one of a hundred.
const PUT_BACK_MAX: usize = 500;

/// Draws shares from 0 to 1.
pub(crate) trait Draw {
    fn share(&mut self) -> f64;
}

/// The state machines of the policies that are on.
pub(crate) struct Chain {
    world: SharedWorld,
    machines: Vec<Box<dyn Policy>>,
    /// How many of them are outside of the attempt's timeout.
    outside: usize,
    /// Those that have a say in which server is asked.
    choosing: Vec<usize>,
}

impl Chain {
    pub(crate) fn new(policies: &Policies, kit: &Kit<'_>) -> Self {
        let mut machines = policies.machines(kit);
        // Stable: within each side the order stays that of the list.
        machines.sort_by_key(|machine| machine.is_within_timeout());
        let outside = machines.iter().filter(|machine| !machine.is_within_timeout()).count();
        let choosing = (0..machines.len()).filter(|machine| machines[*machine].choosing().is_some()).collect();
        Self { world: kit.world.clone(), machines, outside, choosing }
    }

    fn choosing(&self) -> impl Iterator<Item = &dyn Choosing> {
        self.choosing.iter().filter_map(|machine| self.machines[*machine].choosing())
    }

    /// Those that some policy says so of.
    fn any(&self, of: impl Fn(&dyn Choosing) -> Servers) -> Servers {
        self.choosing().fold(Servers::NONE, |servers, machine| servers.or(of(machine)))
    }

    pub(crate) fn blocked(&self, now: Instant) -> Servers {
        self.any(|machine| machine.blocked(now))
    }

    pub(crate) fn ejected(&self) -> Servers {
        self.any(|machine| machine.ejected())
    }

    pub(crate) fn sees(&self, candidates: Servers, now: Instant) {
        self.choosing().for_each(|machine| machine.sees(candidates, now));
    }

    /// What `pick` picks of `candidates`, as often as their weights have it: a pick of a light one is put back, and
    /// another made, in proportion. So it is whatever the balancer does.
    pub(crate) fn weighed<T: Draw>(
        &self,
        candidates: Servers,
        now: Instant,
        turn: &mut T,
        mut pick: impl FnMut(&mut T) -> usize,
    ) -> usize {
        let mut picked = pick(turn);
        if self.any(|machine| machine.light(now)).and(candidates).is_empty() {
            return picked;
        }
        let weight = |server| self.choosing().map(|machine| machine.weighs(server, now)).product::<f64>();
        let heaviest = candidates.iter().map(weight).fold(0.0, f64::max);
        for _ in 0..PUT_BACK_MAX {
            let share = weight(picked) / heaviest;
            if share >= 1.0 || turn.share() < share {
                break;
            }
            picked = pick(turn);
        }
        picked
    }

    pub(crate) fn called(&self, now: Instant) {
        self.machines.iter().for_each(|machine| machine.called(now));
    }

    /// Asks for another attempt of a call.
    pub(crate) fn extra(&self) -> Result<Extra<'_>, Rejection> {
        let now = self.world.now();
        let mut extra = Extra { chain: self, allowed: 0 };
        for machine in &self.machines {
            machine.allows_extra(now)?;
            extra.allowed += 1;
        }
        Ok(extra)
    }

    /// An attempt at the head of the chain, `now`.
    pub(crate) fn enter(&self, now: Instant) -> Pass<'_> {
        Pass { chain: self, admitted: 0, now, entered: now, waited: false, server: None, sent: now, ended: false }
    }
}

/// The leave for an attempt beyond a call's first, which lasts until that is over.
pub(crate) struct Extra<'a> {
    chain: &'a Chain,
    allowed: usize,
}

impl Drop for Extra<'_> {
    fn drop(&mut self) {
        self.chain.machines[..self.allowed].iter().for_each(|machine| machine.extra_ended());
    }
}

/// One attempt's way through the chain. Wherever it is dropped, every policy that admitted it is told of its end, once.
pub(crate) struct Pass<'a> {
    chain: &'a Chain,
    /// By how many policies.
    admitted: usize,
    /// When it entered, or last had waited.
    now: Instant,
    /// When the last policy before one had it wait was asked.
    entered: Instant,
    waited: bool,
    server: Option<usize>,
    sent: Instant,
    ended: bool,
}

impl Pass<'_> {
    /// Past the policies outside of the attempt's timeout.
    pub(crate) async fn outside(&mut self, until: Instant) -> Result<(), Rejection> {
        self.pass(self.chain.outside, until).await
    }

    /// Past the policies inside of it, which is `until`.
    pub(crate) async fn inside(&mut self, until: Instant) -> Result<(), Rejection> {
        self.pass(self.chain.machines.len(), until).await
    }

    async fn pass(&mut self, end: usize, until: Instant) -> Result<(), Rejection> {
        for machine in &self.chain.machines[self.admitted..end] {
            match machine.admit(self.now, until) {
                // The leave may begin a state of the policy then, and the attempt is of that.
                Admission::Granted if !self.waited => self.entered = self.now,
                Admission::Granted => {}
                Admission::Refused(rejection) => return Err(rejection),
                Admission::Waits(admitted) => {
                    self.waited = true;
                    admitted.await?;
                    self.now = self.chain.world.now();
                }
            }
            self.admitted += 1;
        }
        Ok(())
    }

    /// The time on the way: policies that had it wait took some, others none.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The attempt goes to `server`, now.
    pub(crate) fn picked(&mut self, server: usize) {
        self.sent = self.now;
        self.server = Some(server);
        self.chain.choosing().for_each(|machine| machine.picked(server, self.sent));
    }

    /// The attempt came to `code`, `now`.
    pub(crate) fn end(mut self, now: Instant, code: Code, pushback: Option<Pushback>) {
        self.tell(now, Ending::Status(code, pushback));
    }

    fn tell(&mut self, now: Instant, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) || self.admitted == 0 {
            return;
        }
        let end = End { server: self.server, admitted: self.entered, now, took: now.since(self.sent), ending };
        self.chain.machines[..self.admitted].iter().for_each(|machine| machine.ended(&end));
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(self.chain.world.now(), Ending::Abandoned);
        }
    }
}

/// Waits for `work` until `until` at the latest. For policies that queue.
pub(super) async fn wait<T>(world: &SharedWorld, until: Instant, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), world.sleep_until(until)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use super::*;
    use crate::{
        entropy::Entropy,
        policy::CircuitBreaker,
        record::{Event, Recorder, Records},
        scenario,
        workload::{Job, Output},
        world::{BoxFuture, BoxStream, Listener, Sleep, World},
    };

    /// A clock that goes on by a microsecond whenever someone looks, as that of a machine does.
    #[derive(Default)]
    struct Ticking(AtomicU64);

    impl World for Ticking {
        fn now(&self) -> Instant {
            Instant::START + Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
        }

        fn sleep_until(&self, _: Instant) -> Sleep {
            Box::pin(std::future::pending())
        }

        fn spawn(&self, _: BoxFuture<'static, ()>) {}

        fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
            Box::pin(std::future::pending())
        }

        fn listen(&self) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
            Box::pin(std::future::pending())
        }

        fn compute(&self, _: Job) -> BoxFuture<'static, Output> {
            Box::pin(std::future::pending())
        }
    }

    /// The call that half-opens a breaker enters the chain before the breaker changes its state.
    #[test]
    fn the_call_that_half_opens_a_breaker_closes_it_though_the_clock_goes_on_meanwhile() {
        let world: SharedWorld = Arc::new(Ticking::default());
        let records = Arc::<Mutex<Records>>::default();
        let recorder = Recorder::new(world.clone(), "client", records.clone());
        let breaker = CircuitBreaker {
            consecutive_failures: Some(1),
            reset_timeout: Duration::from_nanos(1),
            permitted_calls_in_half_open: 1,
            ..CircuitBreaker::default()
        };
        let policies = Policies { circuit_breaker: Some(breaker), ..Policies::default() };
        let (entropy, servers) = (Entropy::new(1), ["server-0".to_owned()].into());
        let kit = Kit { world: &world, entropy, recorder: &recorder, servers, client: &scenario::Client::default() };
        let chain = Chain::new(&policies, &kit);
        let attempt = |code| {
            let mut pass = chain.enter(world.now());
            let admitted = futures_util::FutureExt::now_or_never(pass.outside(Instant::NEVER));
            assert_eq!(admitted, Some(Ok(())));
            pass.picked(0);
            pass.end(world.now(), code, None);
        };
        attempt(Code::Unavailable);
        attempt(Code::Ok);
        attempt(Code::Ok);
        let records = records.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let events: Vec<_> = records.events.iter().map(|row| row.event).collect();
        assert_eq!(events, [Event::BreakerOpened, Event::BreakerHalfOpened, Event::BreakerClosed]);
    }
}
