//! The inputs of a scenario's requests.

use rand::{Rng, RngExt};

use super::{Input, pictures::PictureFileError, settings::Workload};
use crate::entropy::Entropy;

/// The inputs that requests are drawn from, at least one. They are in memory before the first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs(Vec<Input>);

impl Inputs {
    /// Creates the inputs of `workload` in a run with `entropy`.
    ///
    /// # Errors
    ///
    /// Returns an error if the pictures of the workload are files that cannot be found, read or decoded.
    pub fn for_workload(workload: &Workload, entropy: Entropy) -> Result<Self, PictureFileError> {
        workload.inputs(entropy).map(Self)
    }

    /// Draws one input, each with the same probability.
    pub fn draw(&self, rng: &mut impl Rng) -> Input {
        any(&self.0, rng).clone()
    }

    /// Returns the input of request `id`.
    pub fn of_request(&self, entropy: Entropy, id: u64) -> Input {
        self.draw(&mut stream(entropy, id))
    }

    /// Returns every input once.
    pub fn all(&self) -> impl Iterator<Item = Input> {
        self.0.iter().cloned()
    }
}

/// Returns the random stream of the input of request `id`.
fn stream(entropy: Entropy, id: u64) -> impl Rng {
    entropy.stream_of("load.input", &[id])
}

/// Draws one of `items`, each with the same probability.
fn any<'a, T>(items: &'a [T], rng: &mut impl Rng) -> &'a T {
    // `u64` and not `usize`: a draw must not depend on the word size of the machine.
    &items[rng.random_range(0..items.len() as u64) as usize]
}

/// The identities of a run's inputs, which say which requests have equal inputs without creating them.
#[derive(Debug, Clone)]
pub(crate) struct InputIdentities(Vec<u64>);

impl InputIdentities {
    /// Returns the identities of the inputs of `workload`, or `None` if they are files, or so small that two may be equal by
    /// chance.
    pub(crate) fn for_workload(workload: &Workload, entropy: Entropy) -> Option<Self> {
        workload.input_numbers(entropy).map(Self)
    }

    /// Returns the identity of the input of request `id`. Requests with the same identity have equal inputs.
    pub(crate) fn of_request(&self, entropy: Entropy, id: u64) -> u64 {
        *any(&self.0, &mut stream(entropy, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_equal_exactly_where_inputs_are() {
        let entropy = Entropy::new(7);
        for workload in ["sizes = [\"8x8\", \"16x4\"]", "kind = \"dfs\"\nnodes = 6\nedges = 9", "kind = \"backend\""] {
            let text = format!("name = \"a\"\nduration = \"1s\"\n[load]\nrate = 1\n[workload]\n{workload}");
            let workload = crate::scenario::Scenario::parse("a.toml", &text, &[]).unwrap().workload;
            let inputs = Inputs::for_workload(&workload, entropy).unwrap();
            let identities = InputIdentities::for_workload(&workload, entropy).unwrap();
            for (one, other) in (0..40).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let same = inputs.of_request(entropy, one) == inputs.of_request(entropy, other);
                let identical = identities.of_request(entropy, one) == identities.of_request(entropy, other);
                assert_eq!(identical, same, "{workload:?}: {one} and {other}");
            }
        }
    }
}
