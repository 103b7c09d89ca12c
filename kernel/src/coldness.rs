//! How cold the processors of a machine are, which decides how long a piece of work takes to begin and to run.
//!
//! A processor that has nothing to do is halted. The longer it has been, the longer it takes to wake up: it enters deeper states of sleep,
//! its caches are emptied, and its frequency falls. Work warms it up again. How soon it gets cold depends on how busy it was before, as
//! the governors of the operating system and of the hypervisor predict the next pause from the ones before it.
//!
//! While one process works, the processor of another one may go on sleeping: the work of a client warms the machine up, but not the processor that a
//! server wakes up on.
//!
//! [`Coldness`] is a model with that behaviour and seven parameters. A calibration fits them to the rows of measured runs, and a simulation
//! follows the same model, so it lives here and not in either of the two.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// The parameters of [`Coldness`].
///
/// After a pause of length `g` a machine of coldness `c` has the coldness `1 - (1 - c) * warmth`, in which
/// `warmth = (1 - slow_share) * exp(-(g / t)^shape) + slow_share * exp(-g / slow_cool_down_us)`, with
/// `t = cool_down_us * (1 + usage_factor * usage)`, and `usage` is the share of the last `usage_window_us` in which it worked, an
/// exponentially weighted mean. After work of length `w` it has the coldness `c * exp(-w / warm_up_us)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdnessRates {
    /// Time scale of getting cold without earlier work, in microseconds; more than 0.
    pub cool_down_us: f64,
    /// Exponent of the pause, from 0.1 to 10. Above 1, a machine stays warm at first and then gets cold rapidly.
    pub shape: f64,
    /// Effect of earlier work: a machine that worked without a break gets cold more slowly by this factor plus 1; at least 0.
    pub usage_factor: f64,
    /// Time constant of the memory of earlier work, in microseconds; more than 0.
    pub usage_window_us: f64,
    /// Time scale of getting warm by work, in microseconds; more than 0.
    pub warm_up_us: f64,
    /// Share of the warmth that outlasts the processors' deeper states of sleep, such as what other work has not yet replaced in caches;
    /// from 0 to 1. Calibrations of earlier versions have none.
    #[serde(default)]
    pub slow_share: f64,
    /// Time scale in which that share is lost, in microseconds; more than 0.
    #[serde(default = "slow_cool_down_us")]
    pub slow_cool_down_us: f64,
    /// True if the processor of a server sleeps while the client works, so that a message to a server meets the coldness that the machine had when it
    /// began to work. Calibrations of earlier versions do not have it.
    #[serde(default)]
    pub servers_sleep: bool,
}

/// The time scale of a calibration that does not state it. It has no effect while `slow_share` is 0.
const fn slow_cool_down_us() -> f64 {
    1e5
}

impl ColdnessRates {
    /// Returns the name and the limits of the first parameter that is outside of its limits, if one is.
    pub fn problem(&self) -> Option<&'static str> {
        const SCALE: std::ops::RangeInclusive<f64> = 0.001..=1e12;
        [
            (SCALE.contains(&self.cool_down_us), "`cool_down_us` is from 0.001 to 1e12"),
            ((0.1..=10.0).contains(&self.shape), "`shape` is from 0.1 to 10"),
            ((0.0..=1e6).contains(&self.usage_factor), "`usage_factor` is from 0 to 1e6"),
            (SCALE.contains(&self.usage_window_us), "`usage_window_us` is from 0.001 to 1e12"),
            (SCALE.contains(&self.warm_up_us), "`warm_up_us` is from 0.001 to 1e12"),
            ((0.0..=1.0).contains(&self.slow_share), "`slow_share` is from 0 to 1"),
            (SCALE.contains(&self.slow_cool_down_us), "`slow_cool_down_us` is from 0.001 to 1e12"),
        ]
        .into_iter()
        .find_map(|(holds, limits)| (!holds).then_some(limits))
    }
}

/// The coldness of a machine over time: 1 after a long pause, 0 after long work.
#[derive(Debug, Clone, PartialEq)]
pub struct Coldness {
    rates: ColdnessRates,
    /// The instant at which it last began or ended to work.
    since: Instant,
    /// True if it has worked since then.
    is_working: bool,
    /// Coldness at that instant.
    coldness: f64,
    /// Usage at that instant.
    usage: f64,
    /// Coldness at the instant at which it last began to work after a pause.
    slept: f64,
}

impl Coldness {
    /// Creates a machine that has not worked for a long time.
    pub fn new(rates: ColdnessRates) -> Self {
        Self { rates, since: Instant::START, is_working: false, coldness: 1.0, usage: 0.0, slept: 1.0 }
    }

    /// Returns the coldness at `now`, from 0 to 1.
    pub fn at(&self, now: Instant) -> f64 {
        self.after(now.since(self.since)).0
    }

    /// Returns the coldness with which the machine began the work that it does or continues at `now`, from 0 to 1.
    pub fn slept(&self, now: Instant) -> f64 {
        // Earlier work may have ended at this instant, which is no pause.
        if self.is_working || now == self.since { self.slept } else { self.at(now) }
    }

    /// Returns the coldness that a message to a server meets at `now`, from 0 to 1.
    pub fn of_server(&self, now: Instant) -> f64 {
        if self.rates.servers_sleep { self.slept(now) } else { self.at(now) }
    }

    /// Notes that the machine begins to work at `now`. Nothing happens if it works already.
    pub fn begin_work(&mut self, now: Instant) {
        self.change(now, true);
    }

    /// Notes that the machine has nothing left to do at `now`. Nothing happens if it does nothing.
    pub fn end_work(&mut self, now: Instant) {
        self.change(now, false);
    }

    fn change(&mut self, now: Instant, is_working: bool) {
        if self.is_working != is_working {
            (self.coldness, self.usage) = self.after(now.since(self.since));
            // Work that begins at the instant at which other work ends continues it: the machine did not sleep between them.
            if is_working && now > self.since {
                self.slept = self.coldness;
            }
            self.since = now;
            self.is_working = is_working;
        }
    }

    /// Returns coldness and usage after `time` of what it has done since the last change.
    fn after(&self, time: Duration) -> (f64, f64) {
        let ColdnessRates {
            cool_down_us,
            shape,
            usage_factor,
            usage_window_us,
            warm_up_us,
            slow_share,
            slow_cool_down_us,
            servers_sleep: _,
        } = self.rates;
        let us = time.as_secs_f64() * 1e6;
        let forgotten = (-us / usage_window_us).exp();
        if self.is_working {
            (self.coldness * (-us / warm_up_us).exp(), 1.0 - (1.0 - self.usage) * forgotten)
        } else {
            let scale = cool_down_us * (1.0 + usage_factor * self.usage);
            let rapid = (1.0 - slow_share) * (-(us / scale).powf(shape)).exp();
            let slow = slow_share * (-us / slow_cool_down_us).exp();
            (1.0 - (1.0 - self.coldness) * (rapid + slow), self.usage * forgotten)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: ColdnessRates = ColdnessRates {
        cool_down_us: 8_000.0,
        shape: 1.5,
        usage_factor: 8.0,
        usage_window_us: 10_000.0,
        warm_up_us: 600.0,
        slow_share: 0.0,
        slow_cool_down_us: slow_cool_down_us(),
        servers_sleep: false,
    };

    fn at(micros: u64) -> Instant {
        Instant::START + Duration::from_micros(micros)
    }

    /// A machine that works for 300 µs in every `period` of microseconds, after a second of it and 6 ms of rest.
    fn rested(period: u64) -> f64 {
        let mut machine = Coldness::new(RATES);
        let periods = 1_000_000 / period;
        for number in 0..periods {
            machine.begin_work(at(number * period));
            machine.end_work(at(number * period + 300));
        }
        machine.at(at((periods - 1) * period + 300 + 6_000))
    }

    #[test]
    fn work_warms_a_machine_up_and_rest_cools_it_down() {
        let mut machine = Coldness::new(RATES);
        assert_eq!(machine.at(at(0)), 1.0);
        machine.begin_work(at(1_000));
        assert!((machine.at(at(1_600)) - (-1.0_f64).exp()).abs() < 1e-12);
        machine.end_work(at(11_000));
        assert!(machine.at(at(11_000)) < 1e-6);
        let cooling = [12_000, 20_000, 60_000, 1_000_000].map(|micros| machine.at(at(micros)));
        assert!(cooling.is_sorted() && cooling[0] < 0.02 && cooling[3] > 0.999, "{cooling:?}");
    }

    #[test]
    fn a_busy_machine_stays_warm_for_longer() {
        let rested = [1_000, 10_000, 100_000].map(rested);
        assert!(rested.is_sorted() && rested[0] < 0.25 && rested[2] > 0.55, "{rested:?}");
    }

    #[test]
    fn a_share_of_the_warmth_outlasts_short_pauses() {
        let cooled = |rates, pause: u64| {
            let mut machine = Coldness::new(rates);
            machine.begin_work(at(0));
            machine.end_work(at(100_000));
            machine.at(at(100_000 + pause))
        };
        let rapid = ColdnessRates { usage_factor: 0.0, ..RATES };
        let slow = ColdnessRates { slow_share: 0.25, slow_cool_down_us: 200_000.0, ..rapid };
        // After a fifth of a second all but that share is cold, of which 1 / e is left.
        assert!((cooled(slow, 200_000) - (1.0 - 0.25 * (-1.0_f64).exp())).abs() < 1e-9);
        assert!((cooled(rapid, 200_000) - 1.0).abs() < 1e-9);
        assert!(cooled(slow, 3_000_000) > 0.999_999);
        // Before, both lose the rest of their warmth in one time.
        assert!((cooled(slow, 100) - cooled(rapid, 100)).abs() < 0.01);
    }

    #[test]
    fn the_processor_of_a_server_sleeps_until_the_machine_has_rested_again() {
        let sleeping = ColdnessRates { servers_sleep: true, ..RATES };
        let [mut one, mut other] = [sleeping, RATES].map(Coldness::new);
        for machine in [&mut one, &mut other] {
            machine.begin_work(at(1_000));
            machine.end_work(at(1_600));
            assert_eq!(
                machine.of_server(at(1_600)),
                if machine.rates.servers_sleep { 1.0 } else { machine.at(at(1_600)) }
            );
            // Another process goes on without a pause.
            machine.begin_work(at(1_600));
        }
        assert_eq!(one.at(at(2_200)), other.at(at(2_200)));
        assert_eq!((one.of_server(at(2_200)), other.of_server(at(2_200))), (1.0, other.at(at(2_200))));
        one.end_work(at(2_200));
        assert_eq!(one.of_server(at(3_000)), one.at(at(3_000)), "it does not work");
        let rested = one.at(at(4_000));
        one.begin_work(at(4_000));
        assert_eq!(one.of_server(at(4_500)), rested);
        assert!(one.at(at(4_500)) < rested && rested < 1.0, "{rested}");
    }

    #[test]
    fn rates_of_an_earlier_version_have_no_slow_share_and_one_coldness() {
        let text =
            "cool_down_us = 8000.0\nshape = 1.5\nusage_factor = 8.0\nusage_window_us = 10000.0\nwarm_up_us = 600.0\n";
        assert_eq!(toml::from_str::<ColdnessRates>(text).unwrap(), RATES);
    }

    #[test]
    fn beginning_twice_changes_nothing() {
        let mut machine = Coldness::new(RATES);
        machine.begin_work(at(100));
        let once = machine.clone();
        machine.begin_work(at(200));
        assert_eq!(machine, once);
    }

    #[test]
    fn parameters_have_limits() {
        assert_eq!(RATES.problem(), None);
        for wrong in [
            ColdnessRates { cool_down_us: 0.0, ..RATES },
            ColdnessRates { shape: f64::NAN, ..RATES },
            ColdnessRates { usage_factor: -1.0, ..RATES },
            ColdnessRates { usage_window_us: f64::INFINITY, ..RATES },
            ColdnessRates { warm_up_us: -5.0, ..RATES },
            ColdnessRates { slow_share: 1.1, ..RATES },
            ColdnessRates { slow_cool_down_us: 0.0, ..RATES },
        ] {
            assert!(wrong.problem().is_some(), "{wrong:?}");
        }
    }
}
