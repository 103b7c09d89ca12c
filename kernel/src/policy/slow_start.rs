//! Envoy's slow start: a server that comes back gets its share of the traffic little by little.
//!
//! FULL → STARTING when it is good to ask again after it was not: it was unhealthy, not connected, or ejected. STARTING →
//! FULL after `slow_start_window`. Meanwhile its weight is `max(min_weight_percent, time_factor ^ (1 / aggression))`, where
//! `time_factor` is the time since, a second at least, over the window. Servers are in full service when the run begins:
//! where all are new, Envoy's documentation says, slow start changes nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Policy, PolicyConfig, PolicyContext, Servers};
use crate::{
    record::{Event, Recorder},
    scenario::keys::{limits, table},
    time::Instant,
};

table! {
    /// `[client.slow_start]`: traffic for a server that has come back.
    SlowStart {
        /// Until it gets its whole share.
        slow_start_window: Duration = Duration::from_secs(30), limits::DURATION;
        /// Over 1 it gets more early, under 1 it gets less.
        aggression: f64 = 1.0, limits::AGGRESSION;
        /// The least share, of that of a server in full service.
        min_weight_percent: f64 = 10.0, limits::PERCENT_SOME;
    }
}

impl SlowStart {
    fn weight(&self, since: Duration) -> f64 {
        if since >= self.slow_start_window {
            return 1.0;
        }
        let factor = since.max(Duration::from_secs(1)).as_secs_f64() / self.slow_start_window.as_secs_f64();
        factor.powf(1.0 / self.aggression).max(self.min_weight_percent / 100.0).min(1.0)
    }
}

impl PolicyConfig for SlowStart {
    type Policy = Starting;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Starting> {
        let good = Servers::below(context.servers.len());
        let starts = Starts { good, starting: Servers::NONE, since: vec![Instant::START; context.servers.len()] };
        let (recorder, servers) = (context.recorder.clone(), context.servers.clone());
        Some(Starting { settings: self.clone(), recorder, servers, starts: Mutex::new(starts) })
    }
}

pub(crate) struct Starting {
    settings: SlowStart,
    recorder: Recorder,
    servers: Arc<[String]>,
    starts: Mutex<Starts>,
}

struct Starts {
    /// Those that were good to ask when last looked at.
    good: Servers,
    /// Those that have come back, and had not been back for the whole window when last looked at.
    starting: Servers,
    /// When they came back.
    since: Vec<Instant>,
}

impl Starting {
    fn starts(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn begin(&self, starts: &mut Starts, back: Servers, now: Instant) {
        for server in back.iter() {
            starts.starting.set(server, true);
            starts.since[server] = now;
            let event = self.recorder.event(Event::SlowStart).target(&self.servers[server]);
            event.duration(self.settings.slow_start_window).record();
        }
    }
}

impl Policy for Starting {
    fn on_candidates(&self, candidates: Servers, now: Instant) {
        let mut starts = self.starts();
        let back = candidates.without(starts.good);
        starts.good = candidates;
        if !back.is_empty() {
            self.begin(&mut starts, back, now);
        }
    }

    fn warming_up(&self, now: Instant) -> Servers {
        let mut starts = self.starts();
        if !starts.starting.is_empty() {
            let is_light = |server: &usize| now.since(starts.since[*server]) < self.settings.slow_start_window;
            starts.starting = starts.starting.iter().filter(is_light).collect();
        }
        starts.starting
    }

    fn weight(&self, server: usize, now: Instant) -> f64 {
        let starts = self.starts();
        if starts.starting.contains(server) { self.settings.weight(now.since(starts.since[server])) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(settings: &SlowStart, seconds: &[u64]) -> Vec<f64> {
        seconds.iter().map(|seconds| settings.weight(Duration::from_secs(*seconds))).collect()
    }

    #[test]
    fn the_weight_grows_with_time_from_its_minimum_to_a_whole_share() {
        let settings = SlowStart { slow_start_window: Duration::from_secs(10), ..SlowStart::default() };
        assert_eq!(weights(&settings, &[0, 1, 5, 9, 10, 99]), [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]);
    }

    /// Envoy's documentation: with an aggression over 1 traffic grows fast at first, and slowly at first under 1.
    #[test]
    fn aggression_bends_the_ramp() {
        let window = Duration::from_secs(100);
        let bent = |aggression| SlowStart { slow_start_window: window, aggression, min_weight_percent: 1.0 };
        assert_eq!(weights(&bent(2.0), &[25]), [0.5]);
        assert_eq!(weights(&bent(0.5), &[50]), [0.25]);
    }

    #[test]
    fn no_weight_is_below_the_minimum() {
        let settings = SlowStart { min_weight_percent: 40.0, ..SlowStart::default() };
        assert_eq!(weights(&settings, &[1, 12]), [0.4, 0.4]);
    }
}
