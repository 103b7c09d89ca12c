//! Envoy's slow start: the traffic of a server that has come back grows gradually.
//!
//! FULL → STARTING when the server becomes a candidate again after it was none: it was unhealthy, not connected, or ejected.
//! STARTING → FULL after `slow_start_window`. Meanwhile its weight is `max(min_weight_percent, time_factor ^ (1 / aggression))`,
//! where `time_factor` is the time since it came back, at least a second, over the window. Servers are FULL when the run begins:
//! slow start changes nothing while all servers are new, as Envoy's documentation says.
//!
//! If the settings change, a server that is STARTING goes on at the place in the new window that its time since then has.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Policy, PolicyConfig, PolicyContext, Servers};
use crate::{
    client::settings::Client,
    record::{Event, Recorder},
    settings::{limits, samples, table_macro::table},
    sync::lock,
    time::Instant,
};

table! {
    /// `[client.slow_start]`: less traffic for a server that has just come back (Envoy).
    SlowStart {
        /// Time until the server gets its whole share.
        slow_start_window: Duration = Duration::from_secs(30), limits::DURATION, samples::TIMES;
        /// Curve of the share: over 1 the server gets more early, under 1 it gets less.
        aggression: f64 = 1.0, limits::AGGRESSION, &["0.01", "1.0", "100.0"];
        /// The least share, in percent of that of a server in full service.
        min_weight_percent: f64 = 10.0, limits::PERCENT_SOME, samples::SOME_PERCENTS;
    }
}

impl SlowStart {
    /// Returns the weight of a server that came back this long ago.
    fn weight(&self, since: Duration) -> f64 {
        if since >= self.slow_start_window {
            return 1.0;
        }
        // Envoy counts the first second as passed, or a new server would get no traffic.
        let factor = since.max(Duration::from_secs(1)).as_secs_f64() / self.slow_start_window.as_secs_f64();
        factor.powf(1.0 / self.aggression).max(self.min_weight_percent / 100.0).min(1.0)
    }
}

impl PolicyConfig for SlowStart {
    type Policy = WarmUp;

    fn build(&self, context: &PolicyContext<'_>) -> Option<WarmUp> {
        let count = context.servers.len();
        let state = WarmUpState {
            settings: self.clone(),
            candidates: Servers::below(count),
            starting: Servers::NONE,
            since: vec![Instant::START; count],
        };
        Some(WarmUp { recorder: context.recorder.clone(), servers: context.servers.clone(), state: Mutex::new(state) })
    }

    fn change(&self, policy: &WarmUp, _: &Client, _: Instant) {
        lock(&policy.state).settings = self.clone();
    }
}

/// Slow start with its state.
pub(crate) struct WarmUp {
    recorder: Recorder,
    servers: Arc<[String]>,
    state: Mutex<WarmUpState>,
}

struct WarmUpState {
    settings: SlowStart,
    /// The candidates of the last pick.
    candidates: Servers,
    /// The servers that were STARTING when they were last examined.
    starting: Servers,
    /// The time at which each server came back.
    since: Vec<Instant>,
}

impl WarmUp {
    #[cold]
    fn begin(&self, state: &mut WarmUpState, back: Servers, now: Instant) {
        for server in back.iter() {
            state.starting.set(server, true);
            state.since[server] = now;
            let event = self.recorder.event(Event::SlowStart).target(&self.servers[server]);
            event.duration(state.settings.slow_start_window).record();
        }
    }
}

impl Policy for WarmUp {
    fn on_candidates(&self, candidates: Servers, now: Instant) {
        let mut state = lock(&self.state);
        let back = candidates.without(state.candidates);
        state.candidates = candidates;
        if !back.is_empty() {
            self.begin(&mut state, back, now);
        }
    }

    fn warming_up(&self, now: Instant) -> Servers {
        let mut state = lock(&self.state);
        // All servers are in full service most of the time.
        if !state.starting.is_empty() {
            let window = state.settings.slow_start_window;
            let starting = state.starting.iter().filter(|server| now.since(state.since[*server]) < window);
            state.starting = starting.collect();
        }
        state.starting
    }

    fn weight(&self, server: usize, now: Instant) -> f64 {
        let state = lock(&self.state);
        if state.starting.contains(server) { state.settings.weight(now.since(state.since[server])) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(settings: &SlowStart, seconds: &[u64]) -> Vec<f64> {
        seconds.iter().map(|seconds| settings.weight(Duration::from_secs(*seconds))).collect()
    }

    #[test]
    fn the_weight_grows_from_its_minimum_to_a_full_share() {
        let settings = SlowStart { slow_start_window: Duration::from_secs(10), ..SlowStart::default() };
        assert_eq!(weights(&settings, &[0, 1, 5, 9, 10, 99]), [0.1, 0.1, 0.5, 0.9, 1.0, 1.0]);
    }

    /// Envoy's documentation: traffic grows fast at first with an aggression over 1, and slowly at first with one under 1.
    #[test]
    fn aggression_bends_the_ramp() {
        let linear =
            SlowStart { slow_start_window: Duration::from_secs(100), aggression: 1.0, min_weight_percent: 1.0 };
        assert_eq!(weights(&SlowStart { aggression: 2.0, ..linear.clone() }, &[25]), [0.5]);
        assert_eq!(weights(&SlowStart { aggression: 0.5, ..linear }, &[50]), [0.25]);
    }

    #[cfg(feature = "service")]
    mod warming {
        use super::*;
        use crate::{
            client::settings::Client, entropy::Entropy, fuzzing::network::Network, policy::Changes, policy::Policies,
            policy::chain::Chain, policy::chain::Draw, record::Records,
        };

        /// Slow start for two servers over ten seconds, and what it records.
        fn built() -> (WarmUp, Chain, Arc<Mutex<Records>>) {
            let world = Arc::new(Network::default()).host("client");
            let records = Arc::<Mutex<Records>>::default();
            let recorder = Recorder::new(world.clone(), "client", records.clone());
            let client = Client::default();
            let servers: Arc<[String]> = ["server-0".to_owned(), "server-1".to_owned()].into();
            let context = PolicyContext {
                world: &world,
                entropy: Entropy::new(1),
                recorder: &recorder,
                servers,
                client: &client,
                changes: &Changes::default(),
            };
            let settings = SlowStart { slow_start_window: Duration::from_secs(10), ..SlowStart::default() };
            let warm_up = settings.build(&context).expect("it is a policy with hooks");
            // Another policy has no weights of its own, and leaves those of slow start.
            let bulkhead = Some(crate::policy::Bulkhead::default());
            let policies = Policies { slow_start: Some(settings), bulkhead, ..Policies::default() };
            let chain = Chain::new(&policies, &context);
            (warm_up, chain, records)
        }

        fn at(seconds: u64) -> Instant {
            Instant::START + Duration::from_secs(seconds)
        }

        #[test]
        fn a_server_that_is_a_candidate_again_warms_up_until_the_window_has_passed() {
            let (warm_up, _, records) = built();
            let both = Servers::from([0, 1]);
            warm_up.on_candidates(both, at(1));
            assert!(warm_up.warming_up(at(1)).is_empty(), "all servers are new");
            warm_up.on_candidates([0].into(), at(2));
            assert!(warm_up.warming_up(at(2)).is_empty());
            warm_up.on_candidates(both, at(5));
            assert_eq!(warm_up.warming_up(at(5)), [1].into());
            assert_eq!([warm_up.weight(0, at(10)), warm_up.weight(1, at(10))], [1.0, 0.5]);
            warm_up.on_candidates(both, at(12));
            assert_eq!(warm_up.warming_up(at(14)), [1].into());
            assert_eq!((warm_up.warming_up(at(15)), warm_up.weight(1, at(15))), (Servers::NONE, 1.0));
            let rows = lock(&records).events.clone();
            let rows: Vec<_> = rows.into_iter().map(|row| (row.event, row.target.unwrap(), row.duration_us)).collect();
            assert_eq!(rows, [(Event::SlowStart, "server-1".into(), Some(10_000_000))]);
        }

        /// Returns the numbers that it was created with, and counts them.
        struct Numbers(Vec<f64>);

        impl Draw for Numbers {
            fn draw_unit(&mut self) -> f64 {
                self.0.remove(0)
            }
        }

        #[test]
        fn a_pick_of_a_server_that_warms_up_is_accepted_with_the_probability_of_its_weight() {
            let (_, chain, _) = built();
            let both = Servers::from([0, 1]);
            chain.on_candidates([0].into(), at(0));
            chain.on_candidates(both, at(0));
            let pick = |candidates: Servers, now, picks: &[usize], numbers: &[f64]| {
                let mut picks = picks.iter().copied();
                let mut draw = Numbers(numbers.to_vec());
                let picked = chain.pick_by_weight(candidates, now, &mut draw, |_| picks.next().expect("a pick"));
                (picked, picks.len(), draw.0.len())
            };
            // Its weight is a half after five seconds: a number below that accepts it.
            assert_eq!(pick(both, at(5), &[1, 0], &[0.49, 0.9]), (1, 1, 1));
            assert_eq!(pick(both, at(5), &[1, 0], &[0.5, 0.9]), (0, 0, 1), "a server in full service needs no number");
            assert_eq!(pick(both, at(5), &[1, 1, 1, 0], &[0.9, 0.6, 0.1]), (1, 1, 0));
            // Alone it has the largest weight, and nothing is drawn.
            assert_eq!(pick([1].into(), at(5), &[1], &[]), (1, 0, 0));
            assert_eq!(pick([0].into(), at(5), &[0], &[]), (0, 0, 0));
            assert_eq!(pick(both, at(10), &[1], &[]), (1, 0, 0), "the window has passed");
        }

        #[test]
        fn a_pick_is_accepted_after_five_hundred_that_were_not() {
            let (_, chain, _) = built();
            chain.on_candidates([0].into(), at(0));
            chain.on_candidates([0, 1].into(), at(0));
            let mut picks = 0;
            chain.pick_by_weight([0, 1].into(), at(5), &mut Numbers(vec![0.9; 1_000]), |_| {
                picks += 1;
                1
            });
            assert_eq!(picks, 501);
        }
    }

    #[test]
    fn no_weight_is_below_the_minimum() {
        let settings = SlowStart { min_weight_percent: 40.0, ..SlowStart::default() };
        assert_eq!(weights(&settings, &[1, 12]), [0.4, 0.4]);
    }
}
