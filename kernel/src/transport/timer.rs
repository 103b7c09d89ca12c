//! hyper's timer on a World, for keepalive pings.

#![expect(
    clippy::disallowed_types,
    reason = "hyper's timer has instants of std; here they are a World's, counted from an anchor"
)]

use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant as StdInstant},
};

use hyper::rt;

use crate::{
    time::Instant,
    world::{SharedWorld, Sleep},
};

/// A World's clock as hyper takes it.
pub(crate) struct WorldTimer {
    world: SharedWorld,
    /// An instant of std that stands for `begun`. Only differences from it count, so that its own value has no effect.
    anchor: StdInstant,
    begun: Instant,
}

impl WorldTimer {
    #[expect(clippy::disallowed_methods, reason = "an anchor, whose value has no effect")]
    pub(crate) fn new(world: SharedWorld) -> Self {
        Self { anchor: StdInstant::now(), begun: world.now(), world }
    }
}

impl rt::Timer for WorldTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(WorldSleep(Mutex::new(self.world.sleep_until(self.world.now() + duration))))
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn rt::Sleep>> {
        let after = deadline.saturating_duration_since(self.anchor);
        Box::pin(WorldSleep(Mutex::new(self.world.sleep_until(self.begun + after))))
    }

    fn now(&self) -> StdInstant {
        self.anchor + self.world.now().since(self.begun)
    }
}

/// A sleep of a World. hyper wants one that threads can share.
struct WorldSleep(Mutex<Sleep>);

impl Future for WorldSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(sleep).poll(cx)
    }
}

impl rt::Sleep for WorldSleep {}
