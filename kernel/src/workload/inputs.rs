//! The inputs of a scenario's requests.

use rand::{Rng, RngExt};

use super::{Input, pictures::PictureFileError, settings::Workload};
use crate::{
    entropy::Entropy,
    load::{Mix, RequestKind},
    record::Name,
};

/// The inputs that requests are drawn from, at least one of each kind of requests. They are in memory before the first request.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    groups: Groups<Input>,
    /// The names of the kinds, in the order of the groups.
    kinds: Vec<Name>,
    /// Number of tiles in which replies stream; `None` if they are one message.
    tiles: Option<u32>,
}

impl Inputs {
    /// Creates the inputs of `workload` in a run with `entropy`, where all requests are alike.
    ///
    /// # Errors
    ///
    /// Returns an error if the pictures of the workload are files that cannot be found, read or decoded.
    pub fn for_workload(workload: &Workload, entropy: Entropy) -> Result<Self, PictureFileError> {
        Self::for_kinds(workload, &[], entropy)
    }

    /// Creates the inputs of `workload` in a run with `entropy` and these kinds of requests.
    ///
    /// # Errors
    ///
    /// Returns an error if the pictures of the workload are files that cannot be found, read or decoded.
    pub fn for_kinds(workload: &Workload, kinds: &[RequestKind], entropy: Entropy) -> Result<Self, PictureFileError> {
        let groups = Groups::new(workload, kinds, |workload, numbers| workload.inputs(entropy, numbers))?;
        let tiles = if let Workload::Sobel(images) = workload { images.tiles } else { None };
        Ok(Self { groups, kinds: kinds.iter().map(|kind| kind.name.as_str().into()).collect(), tiles })
    }

    /// Returns the number of tiles in which replies stream; `None` if they are one message.
    pub fn tiles(&self) -> Option<u32> {
        self.tiles
    }

    /// Returns the input of request `id`: one of its kind, each with the same probability.
    pub fn of_request(&self, entropy: Entropy, id: u64) -> Input {
        self.groups.of_request(entropy, id).clone()
    }

    /// Returns the name of the kind of request `id`; `None` if there are no kinds.
    pub fn kind_of_request(&self, entropy: Entropy, id: u64) -> Option<Name> {
        self.groups.mix.kind_of(entropy, id).map(|kind| self.kinds[kind].clone())
    }

    /// Returns every input; one that several kinds have is there once for each.
    pub fn all(&self) -> impl Iterator<Item = Input> {
        self.groups.groups.iter().flatten().cloned()
    }
}

/// Things of which each request has one, drawn from those of its kind.
#[derive(Debug, Clone, PartialEq)]
struct Groups<T> {
    mix: Mix,
    /// Those of each kind, or of all requests if there are no kinds.
    groups: Vec<Vec<T>>,
}

impl<T: Clone> Groups<T> {
    /// Creates the things of all kinds by `create`, which gets the workload of a kind, and numbers that are different for
    /// different workloads.
    fn new<E>(
        workload: &Workload,
        kinds: &[RequestKind],
        create: impl Fn(&Workload, &[u64]) -> Result<Vec<T>, E>,
    ) -> Result<Self, E> {
        let mut known: Vec<(Workload, Vec<T>)> = Vec::new();
        let mut groups = Vec::new();
        for own in kinds.iter().map(|kind| kind.workload(workload)).chain(kinds.is_empty().then(|| workload.clone())) {
            let group = match known.iter().find(|(other, _)| *other == own) {
                // Kinds of equal workloads share their pictures.
                Some((_, group)) => group.clone(),
                // The scenario's own workload has no number, so that its inputs are the same with and without kinds.
                None if own == *workload => create(&own, &[])?,
                None => create(&own, &[known.len() as u64])?,
            };
            known.push((own, group.clone()));
            groups.push(group);
        }
        Ok(Self { mix: Mix::new(kinds), groups })
    }

    fn of_request(&self, entropy: Entropy, id: u64) -> &T {
        let kind = self.mix.kind_of(entropy, id).unwrap_or(0);
        any(&self.groups[kind], &mut entropy.constant_stream_of("load.input", &[id]))
    }
}

/// Draws one of `items`, each with the same probability.
fn any<'a, T>(items: &'a [T], rng: &mut impl Rng) -> &'a T {
    // `u64` and not `usize`: a draw must not depend on the word size of the machine.
    &items[rng.random_range(0..items.len() as u64) as usize]
}

/// The identities of a run's inputs, which say which requests have equal inputs without creating them.
#[derive(Debug, Clone)]
pub(crate) struct InputIdentities(Groups<(u64, u64)>);

impl InputIdentities {
    /// Returns the identities of the inputs of `workload` with these kinds of requests, or `None` if they are files, or so small
    /// that two may be equal by chance.
    pub(crate) fn for_kinds(workload: &Workload, kinds: &[RequestKind], entropy: Entropy) -> Option<Self> {
        let groups = Groups::new(workload, kinds, |workload, numbers| {
            let inputs = workload.input_numbers(entropy, numbers).ok_or(())?;
            // All that is asked of a backend is the same, whatever the kind.
            let group = if matches!(workload, Workload::Backend(_)) {
                0
            } else {
                numbers.iter().sum::<u64>() + numbers.len() as u64
            };
            Ok::<_, ()>(inputs.into_iter().map(|number| (group, number)).collect())
        });
        groups.ok().map(Self)
    }

    /// Returns the identity of the input of request `id`. Requests with the same identity have equal inputs.
    pub(crate) fn of_request(&self, entropy: Entropy, id: u64) -> (u64, u64) {
        *self.0.of_request(entropy, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn scenario(workload: &str) -> Scenario {
        let text = format!("name = \"a\"\nduration = \"1s\"\n[load]\nrate = 1\n[workload]\n{workload}");
        Scenario::parse("a.toml", &text, &[]).unwrap()
    }

    #[test]
    fn identities_are_equal_exactly_where_inputs_are() {
        let entropy = Entropy::new(7);
        let small = "[[load.request]]\nname = \"usual\"\n[[load.request]]\nname = \"small\"\n";
        for workload in [
            "sizes = [\"8x8\", \"16x4\"]",
            &format!(
                "sizes = [\"8x8\"]\n{small}sizes = [\"16x4\"]\n[[load.request]]\nname = \"same\"\nsizes = [\"16x4\"]"
            ),
            "kind = \"dfs\"\nnodes = 6\nedges = 9",
            &format!("kind = \"dfs\"\nnodes = 6\nedges = 9\n{small}nodes = 5\n"),
            "kind = \"backend\"",
            &format!("kind = \"backend\"\n{small}delay = \"1s\"\n"),
        ] {
            let scenario = scenario(workload);
            let kinds = &scenario.load.request;
            let inputs = Inputs::for_kinds(&scenario.workload, kinds, entropy).unwrap();
            let identities = InputIdentities::for_kinds(&scenario.workload, kinds, entropy).unwrap();
            for (one, other) in (0..40).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let same = inputs.of_request(entropy, one) == inputs.of_request(entropy, other);
                let identical = identities.of_request(entropy, one) == identities.of_request(entropy, other);
                assert_eq!(identical, same, "{workload:?}: {one} and {other}");
            }
        }
    }

    #[test]
    fn a_request_has_an_input_of_its_kind_and_kinds_do_not_change_those_of_the_workload() {
        let entropy = Entropy::new(7);
        let scenario = scenario(
            "sizes = [\"8x8\"]\n[[load.request]]\nname = \"usual\"\n[[load.request]]\nname = \"large\"\nsizes = [\"9x9\"]",
        );
        let inputs = Inputs::for_kinds(&scenario.workload, &scenario.load.request, entropy).unwrap();
        let plain = Inputs::for_workload(&scenario.workload, entropy).unwrap();
        let mut large = 0;
        for id in 0..100 {
            let input = inputs.of_request(entropy, id);
            match inputs.kind_of_request(entropy, id).unwrap().as_str() {
                "usual" => assert_eq!(input, plain.of_request(entropy, id)),
                _ => {
                    assert_eq!(input.size(), "9x9");
                    large += 1;
                }
            }
        }
        assert!((25..75).contains(&large), "{large}");
        assert_eq!(plain.kind_of_request(entropy, 1), None);
    }
}
