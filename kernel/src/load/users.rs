//! The closed loop: users who call, wait for the reply, think, and call again.

use std::time::Duration;

use super::{
    profile::Profile,
    settings::{Load, ThinkTime},
};
use crate::{
    entropy::{Entropy, TimedStream, unit},
    time::Instant,
};

/// The plan of one user: when each of its calls is due, if it is known when the call before it ended.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// The stretches of the run in which the user makes calls, from a start to just before an end, in order.
    stays: Vec<(Instant, Instant)>,
    think_time: Duration,
    distribution: ThinkTime,
    rng: TimedStream,
}

impl User {
    /// Returns the users of a run of this duration, each of which makes a call at some time. The one at index `N` is there while
    /// there are more than `N` users.
    pub(crate) fn all(load: &Load, duration: Duration, entropy: Entropy) -> Vec<Self> {
        let profile = load.user_profile();
        let most = profile.peak(duration.as_secs_f64()) as u64;
        let users = (0..most).map(|number| Self {
            stays: stays(&profile, number, duration),
            think_time: load.think_time.unwrap_or_default(),
            distribution: load.think_time_distribution.unwrap_or(ThinkTime::Constant),
            rng: entropy.timed_stream_of("load.think", &[number]),
        });
        users.filter(|user| !user.stays.is_empty()).collect()
    }

    /// Returns when the first call is due.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.stays.first().map(|(start, _)| *start)
    }

    /// Returns when the call after one that ended at `done` is due; `None` if the user makes no other.
    pub(crate) fn next(&mut self, done: Instant) -> Option<Instant> {
        let ready = self.ready(done);
        self.due(ready)
    }

    /// Returns when the user has thought, after a call that ended at `done`.
    pub(crate) fn ready(&mut self, done: Instant) -> Instant {
        done + self.think(done)
    }

    /// Returns when the next call is due of a user who is ready for it; `None` if the user makes no other.
    pub(crate) fn due(&self, ready: Instant) -> Option<Instant> {
        let stay = self.stays.iter().find(|(_, end)| ready < *end)?;
        Some(ready.max(stay.0))
    }

    /// Continues as the user at index `number` of another load, in a run of this duration.
    #[cfg(feature = "service")]
    pub(crate) fn follow(&mut self, load: &Load, number: u64, duration: Duration) {
        self.stays = stays(&load.user_profile(), number, duration);
    }

    /// Draws how long the user thinks after a call that ended at `done`.
    fn think(&mut self, done: Instant) -> Duration {
        match self.distribution {
            ThinkTime::Constant => self.think_time,
            // 1 - u is never 0, so the logarithm is finite.
            ThinkTime::Exponential => self.think_time.mul_f64(-(1.0 - unit(self.rng.at(done))).ln()),
        }
    }
}

/// Returns the stretches of a run of this duration in which the profile of users is at least `number + 1`.
fn stays(profile: &Profile, number: u64, duration: Duration) -> Vec<(Instant, Instant)> {
    let mut stays: Vec<(Instant, Instant)> = Vec::new();
    for segment in profile.segments() {
        let Some((start, end)) = segment.at_least((number + 1) as f64) else { continue };
        let start = Duration::from_nanos((start * 1e9).round() as u64);
        let end = Duration::from_nanos((end * 1e9).round() as u64).min(duration);
        if start >= end {
            continue;
        }
        let start = Instant::START + start;
        let end = Instant::START + end;
        match stays.last_mut() {
            Some(last) if last.1 >= start => last.1 = end,
            _ => stays.push((start, end)),
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::settings::{Shape, Stage};

    fn millis(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn load(users: usize, stages: &[(u64, usize, Shape)]) -> Load {
        let stage = |(seconds, users, shape): &(u64, usize, Shape)| Stage {
            duration: Duration::from_secs(*seconds),
            users: Some(*users),
            shape: *shape,
            ..Stage::default()
        };
        let think_time = Some(Duration::from_secs(1));
        Load { users: Some(users), think_time, stage: stages.iter().map(stage).collect(), ..Load::at(0.0) }
    }

    fn stays_of(load: &Load, seconds: u64) -> Vec<Vec<(Instant, Instant)>> {
        let users = User::all(load, Duration::from_secs(seconds), Entropy::new(1));
        users.into_iter().map(|user| user.stays).collect()
    }

    #[test]
    fn without_stages_every_user_is_there_all_the_time() {
        assert_eq!(stays_of(&load(2, &[]), 9), [[(millis(0), millis(9_000))], [(millis(0), millis(9_000))]]);
        assert!(stays_of(&load(0, &[]), 9).is_empty());
    }

    #[test]
    fn users_come_and_go_where_a_ramp_passes_their_number() {
        // 0 to 2 in 4 s, then as many for 2 s, then to 0 in 4 s.
        let ramps = load(0, &[(4, 2, Shape::Ramp), (2, 2, Shape::Step), (4, 0, Shape::Ramp)]);
        assert_eq!(stays_of(&ramps, 60), [[(millis(2_000), millis(8_000))], [(millis(4_000), millis(6_000))]]);
        assert_eq!(stays_of(&ramps, 3), [[(millis(2_000), millis(3_000))]]);
    }

    #[test]
    fn a_user_may_come_again() {
        let steps = load(1, &[(2, 0, Shape::Step), (3, 1, Shape::Step), (4, 0, Shape::Step)]);
        let mut user = User::all(&steps, Duration::from_secs(60), Entropy::new(1)).remove(0);
        assert_eq!(user.stays, [(millis(2_000), millis(5_000))], "the first stage begins with the run");
        user.stays.push((millis(9_000), millis(12_000)));
        assert_eq!(user.first(), Some(millis(2_000)));
        let next = [2_100, 3_999, 4_000, 8_500, 11_000].map(|done| user.next(millis(done)));
        assert_eq!(next, [Some(millis(3_100)), Some(millis(4_999)), Some(millis(9_000)), Some(millis(9_500)), None]);
    }

    #[test]
    fn exponential_think_times_have_their_mean_and_are_those_of_the_seed() {
        let load = Load { think_time_distribution: Some(ThinkTime::Exponential), ..load(2, &[]) };
        let times = |user: usize, seed| {
            let mut user = User::all(&load, Duration::from_secs(9), Entropy::new(seed)).remove(user);
            (0..10_000).map(|_| user.think(Instant::START)).collect::<Vec<_>>()
        };
        let all = times(0, 7);
        let mean = all.iter().sum::<Duration>().as_secs_f64() / 10_000.0;
        assert!((0.95..1.05).contains(&mean), "{mean}");
        assert_eq!(all, times(0, 7));
        assert_ne!(all, times(1, 7));
        assert_ne!(all, times(0, 8));
    }
}
