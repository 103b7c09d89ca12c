//! The backend of Lab 3: it has one piece of data, and fails or hangs as often as it is set up to.
//!
//! Which attempts fail or hang depends on the seed, the request and the attempt only, so that every replica and both worlds
//! agree, and so do variants of a scenario. Of the others nothing is changed.

use super::{Conduct, Ending, Input, Output, Workload};
use crate::{
    entropy::{Entropy, unit},
    scenario,
};

/// What is asked for.
const DATA: &[u8] = b"data of the backend";

/// What it answers if it does.
pub(super) fn answer() -> Output {
    Output::Data(DATA.into())
}

/// A service that fails on purpose.
#[derive(Debug, Clone)]
pub struct Backend {
    settings: scenario::Backend,
    entropy: Entropy,
}

impl Backend {
    /// One whose failures are drawn from `entropy`.
    pub fn new(settings: scenario::Backend, entropy: Entropy) -> Self {
        Self { settings, entropy }
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

    fn conduct(&self, request: u64, attempt: u32) -> Conduct {
        let scenario::Backend { failure_rate, failure_status, hang_rate, delay } = self.settings;
        let draw = unit(&mut self.entropy.stream_of("backend.conduct", &[request, u64::from(attempt)]));
        // One draw for both, so that a share of hangs takes nothing from that of failures.
        let ending = if draw < failure_rate {
            Ending::Fail(failure_status)
        } else if draw < failure_rate + hang_rate {
            Ending::Hang
        } else {
            Ending::Answer
        };
        Conduct { delay, ending }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::status::Code;

    fn backend(failure_rate: f64, hang_rate: f64) -> Backend {
        let settings = scenario::Backend {
            failure_rate,
            hang_rate,
            failure_status: Code::Internal,
            delay: Duration::from_millis(20),
        };
        Backend::new(settings, Entropy::new(42))
    }

    fn count(backend: &Backend, ending: Ending) -> usize {
        (0..10_000).filter(|request| backend.conduct(*request, 1).ending == ending).count()
    }

    #[test]
    fn failures_and_hangs_have_their_shares_and_all_the_delay() {
        let backend = backend(0.3, 0.2);
        // Five standard deviations of the binomial distribution: 5 * sqrt(10000 * 0.3 * 0.7) = 229, and 200, and 250.
        let failed = count(&backend, Ending::Fail(Code::Internal));
        assert!((2_771..=3_229).contains(&failed), "{failed}");
        let hung = count(&backend, Ending::Hang);
        assert!((1_800..=2_200).contains(&hung), "{hung}");
        assert_eq!(failed + hung + count(&backend, Ending::Answer), 10_000);
        assert!((0..100).all(|request| backend.conduct(request, 1).delay == Duration::from_millis(20)));
    }

    #[test]
    fn nothing_or_everything_goes_wrong_at_the_ends_of_the_scale() {
        assert_eq!(count(&backend(0.0, 0.0), Ending::Answer), 10_000);
        assert_eq!(count(&backend(1.0, 0.0), Ending::Fail(Code::Internal)), 10_000);
        assert_eq!(count(&backend(0.0, 1.0), Ending::Hang), 10_000);
    }

    #[test]
    fn each_attempt_draws_for_itself_and_the_same_again() {
        let endings = |attempt| (0..64).map(move |request| backend(0.5, 0.0).conduct(request, attempt).ending);
        assert!(endings(1).eq(endings(1)));
        assert!(endings(1).ne(endings(2)));
    }
}
