//! What the requests of a scenario carry.

use rand::{Rng, RngExt};

use super::{
    Input,
    dfs::{GraphSpec, Search},
    pictures::{Gallery, PictureFileError, VARIANTS},
};
use crate::{
    entropy::Entropy,
    scenario::{GraphSize, Pictures, Workload},
};

/// All that requests are drawn from, in memory before the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// For `sobel`.
    Pictures(Gallery),
    /// For `dfs`: one graph, from different nodes.
    Searches(Vec<Search>),
    /// For `backend`.
    Data,
}

impl Inputs {
    /// What the requests of `workload` carry, in a run with `entropy`.
    ///
    /// # Errors
    ///
    /// Those of [`Gallery::from_files`].
    pub fn of(workload: &Workload, entropy: Entropy) -> Result<Self, PictureFileError> {
        Ok(match workload {
            Workload::Sobel(pictures) => Self::Pictures(Gallery::of(pictures, entropy)?),
            Workload::Dfs(size) => Self::Searches(searches(*size, &mut entropy.stream("workload.graph"))),
            Workload::Backend(_) => Self::Data,
        })
    }

    /// Any of them, each as likely.
    pub fn draw(&self, rng: &mut impl Rng) -> Input {
        match self {
            Self::Pictures(gallery) => Input::Image(gallery.draw(rng).clone()),
            // Not `usize`: what is drawn from a seed must not depend on the machine's word.
            Self::Searches(searches) => Input::Search(searches[rng.random_range(0..searches.len() as u64) as usize]),
            Self::Data => Input::Data,
        }
    }

    /// What request `id` carries.
    pub(crate) fn of_request(&self, entropy: Entropy, id: u64) -> Input {
        self.draw(&mut stream(entropy, id))
    }

    /// Each of them, once.
    pub fn all(&self) -> impl Iterator<Item = Input> {
        let (pictures, searches, data) = match self {
            Self::Pictures(gallery) => (gallery.pictures(), &[][..], None),
            Self::Searches(searches) => (&[][..], &searches[..], None),
            Self::Data => (&[][..], &[][..], Some(Input::Data)),
        };
        let pictures = pictures.iter().cloned().map(Input::Image);
        pictures.chain(searches.iter().copied().map(Input::Search)).chain(data)
    }
}

fn stream(entropy: Entropy, id: u64) -> impl Rng {
    entropy.stream_of("load.input", &[id])
}

/// Tells inputs of a run apart, without having them.
#[derive(Debug, Clone)]
pub(crate) enum Identities {
    /// They are drawn of so many that differ.
    Numbered(u64),
    Searches(Vec<Search>),
    One,
}

impl Identities {
    /// Pictures with fewer pixels may be the same by chance.
    const PIXELS_MIN: u32 = 64;

    /// Those of the inputs of `workload`; `None` if they are files, or so small that two may be the same.
    pub(crate) fn of(workload: &Workload, entropy: Entropy) -> Option<Self> {
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

    /// Two requests with the same carry the same input.
    pub(crate) fn of_request(&self, entropy: Entropy, id: u64) -> u64 {
        let mut rng = stream(entropy, id);
        match self {
            Self::Numbered(count) => rng.random_range(0..*count),
            Self::Searches(searches) => searches[rng.random_range(0..searches.len() as u64) as usize].start.into(),
            Self::One => 0,
        }
    }
}

/// As many as there are pictures of a size, all on one graph.
fn searches(size: GraphSize, rng: &mut impl Rng) -> Vec<Search> {
    let graph = GraphSpec { nodes: size.nodes, edges: size.edges, seed: rng.next_u64() };
    (0..VARIANTS).map(|_| Search { graph, start: rng.random_range(0..graph.nodes) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_told_apart_without_having_them() {
        let entropy = Entropy::new(7);
        let text =
            |workload: &str| format!("name = \"a\"\nduration = \"1s\"\n[load]\nrate = 1\n[workload]\n{workload}");
        for workload in ["sizes = [\"8x8\", \"16x4\"]", "kind = \"dfs\"\nnodes = 6\nedges = 9", "kind = \"backend\""] {
            let workload = crate::scenario::Scenario::parse("a.toml", &text(workload), &[]).unwrap().workload;
            let inputs = Inputs::of(&workload, entropy).unwrap();
            let identities = Identities::of(&workload, entropy).unwrap();
            for (one, other) in (0..40).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let same = inputs.of_request(entropy, one) == inputs.of_request(entropy, other);
                let said = identities.of_request(entropy, one) == identities.of_request(entropy, other);
                assert_eq!(said, same, "{workload:?}: {one} and {other}");
            }
        }
    }

    #[test]
    fn a_seed_fixes_graph_and_starts_and_another_seed_changes_them() {
        let of = |seed| {
            let workload = Workload::Dfs(GraphSize { nodes: 1_000, edges: 2_000 });
            let Ok(Inputs::Searches(searches)) = Inputs::of(&workload, Entropy::new(seed)) else { panic!("no graph") };
            searches
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1)[0].graph.seed, of(2)[0].graph.seed);
        assert!(of(1).iter().all(|search| search.graph == of(1)[0].graph && search.start < 1_000));
        assert!(of(1).iter().any(|search| search.start != of(1)[0].start));
    }
}
