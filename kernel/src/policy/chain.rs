//! The policies of a client, asked in their order, and an attempt's way through them.

use std::time::Duration;

use futures_util::future::{Either, select};

use super::{
    ActivePolicies, Admission, AttemptEnd, Ending, Policies, Policy, PolicyContext, PolicyId, Pushback, Rejection,
    Servers, each_policy,
};
use crate::{
    client::settings::Client,
    status::Code,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

/// The maximum number of picks that are discarded because of a server's weight. With a weight of a hundredth for every
/// candidate, a pick is accepted before that in all but one of a hundred cases.
const DISCARDED_PICKS_MAX: usize = 500;

/// A source of random numbers for one pick.
pub(crate) trait Draw {
    /// Draws a number from 0 to 1, without 1.
    fn draw_unit(&mut self) -> f64;
}

/// Evaluates `$action` for each policy that is on, in their order. It sees the policy as `$policy`, and its id as `$id`.
macro_rules! for_each_policy {
    ($policies:expr, |$policy:ident, $id:ident| $action:expr) => {
        each_policy!(for_each_policy [$policies, $policy, $id, $action])
    };
    ($policies:expr, |$policy:ident| $action:expr) => {
        each_policy!(for_each_policy [$policies, $policy, _id, $action])
    };
    ([$policies:expr, $policy:ident, $id:tt, $action:expr] $($key:ident: $table:ident,)*) => {
        $(
            if let Some($policy) = &$policies.$key {
                let $id = PolicyId::$key;
                $action;
            }
        )*
    };
}

/// The policies that are on, in their order.
pub(crate) struct Chain {
    world: SharedWorld,
    policies: ActivePolicies,
}

impl Chain {
    pub(crate) fn new(policies: &Policies, context: &PolicyContext<'_>) -> Self {
        Self { world: context.world.clone(), policies: policies.build(context) }
    }

    /// Goes on with other settings of the policies that are on, which keep their states.
    pub(crate) fn change(&self, client: &Client, now: Instant) {
        self.policies.change(client, now);
    }

    /// Returns the servers that must not be asked.
    pub(crate) fn blocked(&self, now: Instant) -> Servers {
        let mut blocked = Servers::NONE;
        for_each_policy!(self.policies, |policy| blocked = blocked.or(policy.blocked(now)));
        blocked
    }

    /// Returns the servers that are asked only if no other is left.
    pub(crate) fn ejected(&self) -> Servers {
        let mut ejected = Servers::NONE;
        for_each_policy!(self.policies, |policy| ejected = ejected.or(policy.ejected()));
        ejected
    }

    pub(crate) fn on_candidates(&self, candidates: Servers, now: Instant) {
        for_each_policy!(self.policies, |policy| policy.on_candidates(candidates, now));
    }

    /// Returns what `pick` picks of `candidates`, with servers picked in proportion to their weights.
    ///
    /// A pick of a server is accepted with a probability of its weight over the largest weight, and repeated otherwise. This
    /// works with any balancer, as it does not look into it.
    pub(crate) fn pick_by_weight<T: Draw>(
        &self,
        candidates: Servers,
        now: Instant,
        draw: &mut T,
        mut pick: impl FnMut(&mut T) -> usize,
    ) -> usize {
        let mut picked = pick(draw);
        let mut warming_up = Servers::NONE;
        for_each_policy!(self.policies, |policy| warming_up = warming_up.or(policy.warming_up(now)));
        // All candidates weigh the same most of the time: nothing is drawn then.
        if warming_up.and(candidates).is_empty() {
            return picked;
        }
        let heaviest = candidates.iter().map(|server| self.weight(server, now)).fold(0.0, f64::max);
        for _ in 0..DISCARDED_PICKS_MAX {
            let share = self.weight(picked, now) / heaviest;
            if share >= 1.0 || draw.draw_unit() < share {
                break;
            }
            picked = pick(draw);
        }
        picked
    }

    fn weight(&self, server: usize, now: Instant) -> f64 {
        let mut weight = 1.0;
        for_each_policy!(self.policies, |policy| weight *= policy.weight(server, now));
        weight
    }

    /// Returns the timeout of an attempt that begins now, if a policy sets it.
    pub(crate) fn attempt_timeout(&self, now: Instant) -> Option<Duration> {
        let mut timeout = None;
        for_each_policy!(self.policies, |policy| timeout = timeout.or_else(|| policy.attempt_timeout(now)));
        timeout
    }

    /// Returns the delay between the attempts of a call that begins now, if a policy sets it.
    pub(crate) fn hedging_delay(&self, now: Instant) -> Option<Duration> {
        let mut delay = None;
        for_each_policy!(self.policies, |policy| delay = delay.or_else(|| policy.hedging_delay(now)));
        delay
    }

    pub(crate) fn on_call_start(&self, now: Instant) {
        for_each_policy!(self.policies, |policy| policy.on_call_start(now));
    }

    /// Asks every policy for a permit for another attempt of a call, by retry or by hedge.
    pub(crate) fn permit_retry(&self) -> Result<RetryPermit<'_>, Rejection> {
        let now = self.world.now();
        let mut permit = RetryPermit { chain: self, granted_by: PolicySet::default() };
        // If a policy rejects, the permit is dropped, and those that have granted it already get it back.
        for_each_policy!(self.policies, |policy, id| {
            policy.permit_retry(now)?;
            permit.granted_by.add(id);
        });
        Ok(permit)
    }

    /// Starts the way of an attempt through the policies, `now`.
    pub(crate) fn begin_attempt(&self, now: Instant) -> AttemptPermit<'_> {
        let admitted_by = PolicySet::default();
        AttemptPermit { chain: self, admitted_by, entered: now, now, server: None, sent: now, has_ended: false }
    }
}

/// A set of policies.
#[derive(Debug, Clone, Copy, Default)]
struct PolicySet(u32);

impl PolicySet {
    fn add(&mut self, id: PolicyId) {
        self.0 |= 1 << id as u32;
    }

    fn remove(&mut self, id: PolicyId) {
        self.0 &= !(1 << id as u32);
    }

    fn contains(self, id: PolicyId) -> bool {
        self.0 & 1 << id as u32 != 0
    }
}

/// A permit for an attempt beyond the first of its call. It lasts until it is dropped, when that attempt has ended.
pub(crate) struct RetryPermit<'a> {
    chain: &'a Chain,
    granted_by: PolicySet,
}

impl Drop for RetryPermit<'_> {
    fn drop(&mut self) {
        for_each_policy!(self.chain.policies, |policy, id| if self.granted_by.contains(id) {
            policy.on_retry_end();
        });
    }
}

/// The admission of one attempt by the policies. Every policy that has admitted it hears once that it has ended: at
/// [`finish`](Self::finish), or that it was abandoned if the permit is dropped before.
pub(crate) struct AttemptPermit<'a> {
    chain: &'a Chain,
    admitted_by: PolicySet,
    /// The time at which the first policy was asked. A policy whose state begins with this attempt begins it then, so that the
    /// attempt counts in the new state.
    entered: Instant,
    /// The time at which the first policy was asked, or when the last wait ended: the clock is read only if time has passed.
    now: Instant,
    server: Option<usize>,
    sent: Instant,
    has_ended: bool,
}

/// The admission of an attempt by one policy, for which it has to wait.
struct PendingAdmission<'a> {
    policy: PolicyId,
    admission: BoxFuture<'a, Result<(), Rejection>>,
}

/// The policies that admit an attempt before its timeout starts, or while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    BeforeTimeout,
    WithinTimeout,
}

impl<'a> AttemptPermit<'a> {
    /// Waits for admission by the policies outside of the attempt's timeout, which wait `until` then at the latest.
    pub(crate) async fn admit_before_timeout(&mut self, until: Instant) -> Result<(), Rejection> {
        while let Some(pending) = self.ask(Side::BeforeTimeout, until)? {
            self.wait(pending).await?;
        }
        Ok(())
    }

    /// Waits for admission by the policies inside of the attempt's timeout, which ends at `until`.
    pub(crate) async fn admit_within_timeout(&mut self, until: Instant) -> Result<(), Rejection> {
        while let Some(pending) = self.ask(Side::WithinTimeout, until)? {
            self.wait(pending).await?;
        }
        Ok(())
    }

    /// Asks the policies on one side of the timeout that have not admitted the attempt yet, up to the first that has it wait.
    // Each of the two callers gets a copy of its own, with the policies of the other side left out by the compiler.
    #[inline(always)]
    fn ask(&mut self, side: Side, until: Instant) -> Result<Option<PendingAdmission<'a>>, Rejection> {
        for_each_policy!(self.chain.policies, |policy, id| {
            let is_asked = policy.is_within_timeout() == (side == Side::WithinTimeout);
            if is_asked && !self.admitted_by.contains(id) {
                match policy.admit(self.now, until) {
                    Admission::Granted => self.admitted_by.add(id),
                    Admission::Rejected(rejection) => return Err(rejection),
                    Admission::Waits(admission) => return Ok(Some(PendingAdmission { policy: id, admission })),
                }
            }
        });
        Ok(None)
    }

    async fn wait(&mut self, pending: PendingAdmission<'a>) -> Result<(), Rejection> {
        pending.admission.await?;
        self.admitted_by.add(pending.policy);
        self.now = self.chain.world.now();
        Ok(())
    }

    /// Returns the time at which the attempt has come this far.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Notes that the attempt is sent to `server`, now.
    pub(crate) fn on_pick(&mut self, server: usize) {
        self.sent = self.now;
        self.server = Some(server);
        for_each_policy!(self.chain.policies, |policy| policy.on_pick(server, self.now));
    }

    /// Notes that the attempt has got the headers of a reply that streams, `now`, and that it is `code` so far. It has ended for most
    /// policies then.
    pub(crate) fn commit(&mut self, now: Instant, code: Code) {
        let ending = Ending::Status(code, None);
        let end = AttemptEnd { server: self.server, entered: self.entered, now, took: now.since(self.sent), ending };
        for_each_policy!(self.chain.policies, |policy, id| {
            if self.admitted_by.contains(id) && !policy.lasts_to_end_of_stream() {
                self.admitted_by.remove(id);
                policy.on_attempt_end(&end);
            }
        });
    }

    /// Notes that the attempt has ended with `code`, `now`.
    pub(crate) fn finish(mut self, now: Instant, code: Code, pushback: Option<Pushback>) {
        self.end(now, Ending::Status(code, pushback));
    }

    fn end(&mut self, now: Instant, ending: Ending) {
        self.has_ended = true;
        let end = AttemptEnd { server: self.server, entered: self.entered, now, took: now.since(self.sent), ending };
        for_each_policy!(self.chain.policies, |policy, id| if self.admitted_by.contains(id) {
            policy.on_attempt_end(&end);
        });
    }
}

impl Drop for AttemptPermit<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(self.chain.world.now(), Ending::Abandoned);
        }
    }
}

/// Waits for `work` until `until` at the latest, for policies that queue. Returns `None` if the time is up first.
pub(super) async fn wait<T>(world: &SharedWorld, until: Instant, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), world.sleep_until(until)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        io,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use futures_util::FutureExt;

    use super::*;
    use crate::{
        entropy::Entropy,
        policy::{Bulkhead, CircuitBreaker, RetryBudget},
        record::{Event, Recorder, Records},
        sync::lock,
        world::{BoxFuture, BoxStream, Cost, Listener, Sleep, Work, World},
    };

    /// A world whose clock advances by a microsecond at every read, as a real clock does.
    #[derive(Default)]
    pub(in crate::policy) struct TickingWorld(AtomicU64);

    impl World for TickingWorld {
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

        fn compute(&self, _: Cost<'_>, _: Work) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn chain(world: &SharedWorld, policies: &Policies, sink: Arc<Mutex<Records>>) -> Chain {
        let recorder = Recorder::new(world.clone(), "client", sink);
        let context = PolicyContext {
            world,
            entropy: Entropy::new(1),
            recorder: &recorder,
            servers: ["server-0".to_owned()].into(),
            client: &crate::client::settings::Client::default(),
            changes: &crate::policy::Changes::default(),
        };
        Chain::new(policies, &context)
    }

    /// Sends an attempt through `chain` to the only server, where it ends with `code`.
    fn attempt(chain: &Chain, code: Code) {
        let mut permit = chain.begin_attempt(chain.world.now());
        let admitted = permit.admit_before_timeout(Instant::NEVER).now_or_never();
        assert_eq!(admitted, Some(Ok(())));
        permit.on_pick(0);
        permit.finish(chain.world.now(), code, None);
    }

    /// The call that half-opens a breaker reads the clock before the breaker changes its state.
    #[test]
    fn the_call_that_half_opens_a_breaker_closes_it_although_the_clock_advances_meanwhile() {
        let world: SharedWorld = Arc::new(TickingWorld::default());
        let records = Arc::<Mutex<Records>>::default();
        let breaker = CircuitBreaker {
            consecutive_failures: Some(1),
            reset_timeout: Duration::from_nanos(1),
            permitted_calls_in_half_open: 1,
            ..CircuitBreaker::default()
        };
        let policies = Policies { circuit_breaker: Some(breaker), ..Policies::default() };
        let chain = chain(&world, &policies, records.clone());
        attempt(&chain, Code::Unavailable);
        attempt(&chain, Code::Ok);
        attempt(&chain, Code::Ok);
        let records = lock(&records);
        let events: Vec<_> = records.events.iter().map(|row| row.event).collect();
        assert_eq!(events, [Event::BreakerOpened, Event::BreakerHalfOpened, Event::BreakerClosed]);
    }

    #[test]
    fn an_attempt_that_is_abandoned_gives_its_slot_back() {
        let world: SharedWorld = Arc::new(TickingWorld::default());
        let bulkhead = Bulkhead { max_concurrent_calls: 1, ..Bulkhead::default() };
        let policies = Policies { bulkhead: Some(bulkhead), ..Policies::default() };
        let chain = chain(&world, &policies, Arc::default());
        let mut first = chain.begin_attempt(world.now());
        let mut second = chain.begin_attempt(world.now());
        assert_eq!(first.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Ok(())));
        assert!(matches!(second.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Err(_))));
        drop(first);
        assert_eq!(second.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn a_stream_has_ended_at_its_headers_for_a_breaker_and_later_for_a_bulkhead() {
        let world: SharedWorld = Arc::new(TickingWorld::default());
        let bulkhead = Bulkhead { max_concurrent_calls: 1, ..Bulkhead::default() };
        let breaker = CircuitBreaker { consecutive_failures: Some(1), ..CircuitBreaker::default() };
        let policies = Policies { bulkhead: Some(bulkhead), circuit_breaker: Some(breaker), ..Policies::default() };
        let records = Arc::<Mutex<Records>>::default();
        let chain = chain(&world, &policies, records.clone());
        let mut stream = chain.begin_attempt(world.now());
        assert_eq!(stream.admit_before_timeout(Instant::NEVER).now_or_never(), Some(Ok(())));
        assert_eq!(stream.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Ok(())));
        stream.on_pick(0);
        stream.commit(world.now(), Code::Ok);
        let mut second = chain.begin_attempt(world.now());
        assert!(matches!(second.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Err(_))));
        stream.finish(world.now(), Code::Unavailable, None);
        assert_eq!(second.admit_within_timeout(Instant::NEVER).now_or_never(), Some(Ok(())));
        assert!(lock(&records).events.is_empty(), "the breaker has not heard of the failure behind the headers");
    }

    #[test]
    fn a_retry_holds_its_share_of_the_budget_until_its_permit_is_dropped() {
        let world: SharedWorld = Arc::new(TickingWorld::default());
        let budget = RetryBudget { min_retry_concurrency: Some(1), ..RetryBudget::default() };
        let policies = Policies { retry_budget: Some(budget), ..Policies::default() };
        let chain = chain(&world, &policies, Arc::default());
        let permit = chain.permit_retry();
        assert!(permit.is_ok() && chain.permit_retry().is_err());
        drop(permit);
        assert!(chain.permit_retry().is_ok());
    }
}
