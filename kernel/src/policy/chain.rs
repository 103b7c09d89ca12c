//! The policies of a client, asked in their order, and the way of one attempt through them.

use futures_util::future::{Either, select};

use super::{
    Admission, End, Ending, Kit, Machines, Place, Policies, Policy, Pushback, Rejection, Servers, each_policy,
};
use crate::{
    status::Code,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

/// How often a pick is put back: with a weight of a hundredth each, it ends before that in all but one of a hundred.
const PUT_BACK_MAX: usize = 500;

/// Draws shares from 0 to 1.
pub(crate) trait Draw {
    fn share(&mut self) -> f64;
}

/// Has `$act` done with each machine that there is, in the order of the policies.
macro_rules! each_machine {
    ($machines:expr, |$machine:ident, $place:ident| $act:expr) => {
        each_policy!(each_machine [$machines, $machine, $place, $act])
    };
    ($machines:expr, |$machine:ident| $act:expr) => {
        each_policy!(each_machine [$machines, $machine, _place, $act])
    };
    ([$machines:expr, $machine:ident, $place:tt, $act:expr] $($key:ident: $table:ident,)*) => {
        $(
            if let Some($machine) = &$machines.$key {
                let $place = Place::$key;
                $act;
            }
        )*
    };
}

/// The policies that are on.
pub(crate) struct Chain {
    world: SharedWorld,
    machines: Machines,
}

impl Chain {
    pub(crate) fn new(policies: &Policies, kit: &Kit<'_>) -> Self {
        Self { world: kit.world.clone(), machines: policies.machines(kit) }
    }

    pub(crate) fn blocked(&self, now: Instant) -> Servers {
        let mut blocked = Servers::NONE;
        each_machine!(self.machines, |machine| blocked = blocked.or(machine.blocked(now)));
        blocked
    }

    pub(crate) fn ejected(&self) -> Servers {
        let mut ejected = Servers::NONE;
        each_machine!(self.machines, |machine| ejected = ejected.or(machine.ejected()));
        ejected
    }

    pub(crate) fn sees(&self, candidates: Servers, now: Instant) {
        each_machine!(self.machines, |machine| machine.sees(candidates, now));
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
        let mut light = Servers::NONE;
        each_machine!(self.machines, |machine| light = light.or(machine.light(now)));
        if light.and(candidates).is_empty() {
            return picked;
        }
        let heaviest = candidates.iter().map(|server| self.weight(server, now)).fold(0.0, f64::max);
        for _ in 0..PUT_BACK_MAX {
            let share = self.weight(picked, now) / heaviest;
            if share >= 1.0 || turn.share() < share {
                break;
            }
            picked = pick(turn);
        }
        picked
    }

    fn weight(&self, server: usize, now: Instant) -> f64 {
        let mut weight = 1.0;
        each_machine!(self.machines, |machine| weight *= machine.weighs(server, now));
        weight
    }

    pub(crate) fn called(&self, now: Instant) {
        each_machine!(self.machines, |machine| machine.called(now));
    }

    /// Asks for another attempt of a call.
    pub(crate) fn extra(&self) -> Result<Extra<'_>, Rejection> {
        let now = self.world.now();
        let mut extra = Extra { chain: self, allowed: Places::default() };
        each_machine!(self.machines, |machine, place| {
            machine.allows_extra(now)?;
            extra.allowed.add(place);
        });
        Ok(extra)
    }

    /// An attempt at the head of the chain, `now`.
    pub(crate) fn enter(&self, now: Instant) -> Pass<'_> {
        let admitted = Places::default();
        Pass { chain: self, admitted, entered: now, now, server: None, sent: now, ended: false }
    }
}

/// Some policies.
#[derive(Debug, Clone, Copy, Default)]
struct Places(u32);

impl Places {
    fn add(&mut self, place: Place) {
        self.0 |= 1 << place as u32;
    }

    fn has(self, place: Place) -> bool {
        self.0 & 1 << place as u32 != 0
    }
}

/// The leave for an attempt beyond a call's first, which lasts until that is over.
pub(crate) struct Extra<'a> {
    chain: &'a Chain,
    /// By these policies.
    allowed: Places,
}

impl Drop for Extra<'_> {
    fn drop(&mut self) {
        each_machine!(self.chain.machines, |machine, place| if self.allowed.has(place) {
            machine.extra_ended();
        });
    }
}

/// One attempt's way through the chain. Wherever it is dropped, every policy that admitted it is told of its end, once.
pub(crate) struct Pass<'a> {
    chain: &'a Chain,
    /// By these policies.
    admitted: Places,
    /// When it entered. The leave may begin a state of a policy then, and the attempt is of that.
    entered: Instant,
    /// When it entered, or last had waited.
    now: Instant,
    server: Option<usize>,
    sent: Instant,
    ended: bool,
}

/// Where an attempt has to wait.
type Gate<'a> = (Place, BoxFuture<'a, Result<(), Rejection>>);

impl<'a> Pass<'a> {
    /// Past the policies outside of the attempt's timeout.
    pub(crate) async fn outside(&mut self, until: Instant) -> Result<(), Rejection> {
        while let Some(gate) = self.gate::<false>(until)? {
            self.wait(gate).await?;
        }
        Ok(())
    }

    /// Past the policies inside of it, which is `until`.
    pub(crate) async fn inside(&mut self, until: Instant) -> Result<(), Rejection> {
        while let Some(gate) = self.gate::<true>(until)? {
            self.wait(gate).await?;
        }
        Ok(())
    }

    /// Past the policies on one side of the timeout, up to the next gate.
    fn gate<const IS_WITHIN_TIMEOUT: bool>(&mut self, until: Instant) -> Result<Option<Gate<'a>>, Rejection> {
        each_machine!(self.chain.machines, |machine, place| {
            if side(machine) == IS_WITHIN_TIMEOUT && !self.admitted.has(place) {
                match machine.admit(self.now, until) {
                    Admission::Granted => self.admitted.add(place),
                    Admission::Refused(rejection) => return Err(rejection),
                    Admission::Waits(admitted) => return Ok(Some((place, admitted))),
                }
            }
        });
        Ok(None)
    }

    async fn wait(&mut self, (place, admitted): Gate<'a>) -> Result<(), Rejection> {
        admitted.await?;
        self.admitted.add(place);
        self.now = self.chain.world.now();
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
        each_machine!(self.chain.machines, |machine| machine.picked(server, self.now));
    }

    /// The attempt came to `code`, `now`.
    pub(crate) fn end(mut self, now: Instant, code: Code, pushback: Option<Pushback>) {
        self.tell(now, Ending::Status(code, pushback));
    }

    fn tell(&mut self, now: Instant, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let end = End { server: self.server, admitted: self.entered, now, took: now.since(self.sent), ending };
        each_machine!(self.chain.machines, |machine, place| if self.admitted.has(place) {
            machine.ended(&end);
        });
    }
}

/// Whether a policy is inside of the timeout.
const fn side<P: Policy>(_: &P) -> bool {
    P::IS_WITHIN_TIMEOUT
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
