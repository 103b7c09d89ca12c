//! The inputs of a scenario's requests.

use rand::{Rng, RngExt};

use super::{
    Input,
    dfs::{GraphSpec, Search},
    pictures::{Gallery, PictureFileError, VARIANTS},
};
use crate::{
    entropy::Entropy,
    workload::settings::{GraphSize, Pictures, Workload},
};

/// The inputs that requests are drawn from. They are in memory before the first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// Inputs of `sobel`.
    Pictures(Gallery),
    /// Inputs of `dfs`: searches of one graph from different nodes.
    Searches(Vec<Search>),
    /// The input of `backend`.
    Data,
}

impl Inputs {
    /// Creates the inputs of `workload` in a run with `entropy`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Gallery::from_files`].
    pub fn for_workload(workload: &Workload, entropy: Entropy) -> Result<Self, PictureFileError> {
        Ok(match workload {
            Workload::Sobel(pictures) => Self::Pictures(Gallery::for_pictures(pictures, entropy)?),
            Workload::Dfs(size) => Self::Searches(searches(*size, &mut entropy.stream("workload.graph"))),
            Workload::Backend(_) => Self::Data,
        })
    }

    /// Draws one input, each with the same probability.
    pub fn draw(&self, rng: &mut impl Rng) -> Input {
        match self {
            Self::Pictures(gallery) => Input::Image(gallery.draw(rng).clone()),
            // `u64` and not `usize`: a draw must not depend on the word size of the machine.
            Self::Searches(searches) => Input::Search(searches[rng.random_range(0..searches.len() as u64) as usize]),
            Self::Data => Input::Data,
        }
    }

    /// Returns the input of request `id`.
    pub fn of_request(&self, entropy: Entropy, id: u64) -> Input {
        self.draw(&mut stream(entropy, id))
    }

    /// Returns every input once.
    pub fn all(&self) -> impl Iterator<Item = Input> {
        // An iterator of one type for all kinds: only one of the three parts has elements.
        let (pictures, searches, data) = match self {
            Self::Pictures(gallery) => (gallery.pictures(), &[][..], None),
            Self::Searches(searches) => (&[][..], &searches[..], None),
            Self::Data => (&[][..], &[][..], Some(Input::Data)),
        };
        let pictures = pictures.iter().cloned().map(Input::Image);
        pictures.chain(searches.iter().copied().map(Input::Search)).chain(data)
    }
}

/// Returns the random stream of the input of request `id`.
fn stream(entropy: Entropy, id: u64) -> impl Rng {
    entropy.stream_of("load.input", &[id])
}

/// The identities of a run's inputs, which say which requests have equal inputs without creating them.
#[derive(Debug, Clone)]
pub(crate) enum InputIdentities {
    /// Inputs are drawn from this many different ones.
    Numbered(u64),
    /// Inputs are searches of one graph.
    Searches(Vec<Search>),
    /// All inputs are equal.
    One,
}

impl InputIdentities {
    /// Number of pixels below which two random pictures may be equal by chance.
    const PIXELS_MIN: u32 = 64;

    /// Returns the identities of the inputs of `workload`, or `None` if they are files, or so small that two may be equal by
    /// chance.
    pub(crate) fn for_workload(workload: &Workload, entropy: Entropy) -> Option<Self> {
        match workload {
            Workload::Sobel(Pictures::Synthetic(sizes)) => {
                let differ = sizes.iter().all(|size| size.width.saturating_mul(size.height) >= Self::PIXELS_MIN);
                differ.then_some(Self::Numbered((sizes.len() * VARIANTS) as u64))
            }
            Workload::Sobel(Pictures::Files(_)) => None,
            Workload::Dfs(size) => Some(Self::Searches(searches(*size, &mut entropy.stream("workload.graph")))),
            Workload::Backend(_) => Some(Self::One),
        }
    }

    /// Returns the identity of the input of request `id`. Requests with the same identity have equal inputs.
    pub(crate) fn of_request(&self, entropy: Entropy, id: u64) -> u64 {
        let mut rng = stream(entropy, id);
        match self {
            Self::Numbered(count) => rng.random_range(0..*count),
            Self::Searches(searches) => searches[rng.random_range(0..searches.len() as u64) as usize].start.into(),
            Self::One => 0,
        }
    }
}

/// Draws [`VARIANTS`] searches of one graph.
fn searches(size: GraphSize, rng: &mut impl Rng) -> Vec<Search> {
    let graph = GraphSpec { nodes: size.nodes, edges: size.edges, seed: rng.next_u64() };
    (0..VARIANTS).map(|_| Search { graph, start: rng.random_range(0..graph.nodes) }).collect()
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

    fn searches_with(seed: u64) -> Vec<Search> {
        let workload = Workload::Dfs(GraphSize { nodes: 1_000, edges: 2_000 });
        let inputs = Inputs::for_workload(&workload, Entropy::new(seed));
        let Ok(Inputs::Searches(searches)) = inputs else { panic!("no graph") };
        searches
    }

    #[test]
    fn a_seed_fixes_graph_and_starts_and_another_seed_changes_them() {
        let first = searches_with(1);
        assert_eq!(first, searches_with(1));
        assert_ne!(first[0].graph.seed, searches_with(2)[0].graph.seed);
        assert!(first.iter().all(|search| search.graph == first[0].graph && search.start < 1_000));
        assert!(first.iter().any(|search| search.start != first[0].start));
    }
}
