//! The backend workload of Lab 3: a service with one piece of data that fails or hangs at configured rates.
//!
//! The attempts that fail or hang depend only on the seed, the request and the attempt. So every replica, both worlds and
//! all variants of a scenario agree on them, and a change of one rate leaves the other attempts as they are.

use super::{AttemptBehavior, AttemptEnding, Input, Output, Workload};
use crate::{
    entropy::{Entropy, unit},
    load::{Mix, RequestKind},
};

/// The backend's data.
const DATA: &[u8] = b"data of the backend";

/// Returns the output of every attempt that is answered.
pub(super) fn answer() -> Output {
    Output::Data(DATA.into())
}

/// A service that fails on purpose.
#[derive(Debug, Clone)]
pub struct Backend {
    settings: crate::workload::settings::Backend,
    entropy: Entropy,
    /// The kinds of requests, and the settings for each.
    mix: Mix,
    kinds: Vec<crate::workload::settings::Backend>,
}

impl Backend {
    /// Creates a backend that draws its failures from `entropy`.
    pub fn new(settings: crate::workload::settings::Backend, entropy: Entropy) -> Self {
        Self { settings, entropy, mix: Mix::default(), kinds: Vec::new() }
    }

    /// Returns the backend with these kinds of requests, each of which may have settings of its own.
    pub fn with_kinds(self, kinds: &[RequestKind]) -> Self {
        let settings = kinds.iter().map(|kind| kind.backend(self.settings)).collect();
        Self { mix: Mix::new(kinds), kinds: settings, ..self }
    }
}

impl Workload for Backend {
    fn name(&self) -> &'static str {
        "backend"
    }

    fn check(&self, input: &Input) -> Result<(), String> {
        if *input == Input::Data { Ok(()) } else { Err("the input is not for a backend".to_owned()) }
    }

    fn run(&self, _: &Input) -> Output {
        answer()
    }

    fn behavior(&self, request: u64, attempt: u32) -> AttemptBehavior {
        let crate::workload::settings::Backend { failure_rate, failure_status, hang_rate, delay } =
            match self.mix.kind_of(self.entropy, request) {
                Some(kind) => self.kinds[kind],
                None => self.settings,
            };
        let draw = unit(&mut self.entropy.stream_of("backend.conduct", &[request, u64::from(attempt)]));
        // One draw decides both: with two draws, some attempts would both fail and hang, and the rates would not add up.
        let ending = if draw < failure_rate {
            AttemptEnding::Fail(failure_status)
        } else if draw < failure_rate + hang_rate {
            AttemptEnding::Hang
        } else {
            AttemptEnding::Answer
        };
        AttemptBehavior { delay, ending }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::Code;

    fn backend(failure_rate: f64, hang_rate: f64) -> Backend {
        let settings = crate::workload::settings::Backend {
            failure_rate,
            hang_rate,
            failure_status: Code::Internal,
            delay: Duration::from_millis(20),
        };
        Backend::new(settings, Entropy::new(42))
    }

    fn endings(attempt: u32) -> Vec<AttemptEnding> {
        let backend = backend(0.5, 0.0);
        (0..64).map(|request| backend.behavior(request, attempt).ending).collect()
    }

    fn count(backend: &Backend, ending: AttemptEnding) -> usize {
        (0..10_000).filter(|request| backend.behavior(*request, 1).ending == ending).count()
    }

    #[test]
    fn failures_and_hangs_occur_at_their_rates_and_every_attempt_is_delayed() {
        let backend = backend(0.3, 0.2);
        // Five standard deviations of the binomial distribution: 5 * sqrt(10000 * 0.3 * 0.7) = 229, and 200, and 250.
        let failed = count(&backend, AttemptEnding::Fail(Code::Internal));
        assert!((2_771..=3_229).contains(&failed), "{failed}");
        let hung = count(&backend, AttemptEnding::Hang);
        assert!((1_800..=2_200).contains(&hung), "{hung}");
        assert_eq!(failed + hung + count(&backend, AttemptEnding::Answer), 10_000);
        assert!((0..100).all(|request| backend.behavior(request, 1).delay == Duration::from_millis(20)));
    }

    #[test]
    fn a_rate_of_0_affects_no_attempt_and_a_rate_of_1_all() {
        assert_eq!(count(&backend(0.0, 0.0), AttemptEnding::Answer), 10_000);
        assert_eq!(count(&backend(1.0, 0.0), AttemptEnding::Fail(Code::Internal)), 10_000);
        assert_eq!(count(&backend(0.0, 1.0), AttemptEnding::Hang), 10_000);
    }

    #[test]
    fn an_attempt_is_treated_as_the_kind_of_its_request_says() {
        let kind = |failure_rate| RequestKind { failure_rate: Some(failure_rate), ..RequestKind::default() };
        let kinds = [kind(0.0), kind(1.0)];
        let backend = backend(0.5, 0.0).with_kinds(&kinds);
        let mix = Mix::new(&kinds);
        for request in 0..100 {
            let fails = backend.behavior(request, 1).ending == AttemptEnding::Fail(Code::Internal);
            assert_eq!(fails, mix.kind_of(Entropy::new(42), request) == Some(1));
        }
    }

    #[test]
    fn draws_of_attempts_are_independent_and_repeatable() {
        assert_eq!(endings(1), endings(1));
        assert_ne!(endings(1), endings(2));
    }
}
