//! What the requests of a scenario carry.

use rand::{Rng, RngExt};

use super::{
    Input,
    dfs::{GraphSpec, Search},
    pictures::{Gallery, PictureFileError, VARIANTS},
};
use crate::{
    entropy::Entropy,
    scenario::{GraphSize, Workload},
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

/// As many as there are pictures of a size, all on one graph.
fn searches(size: GraphSize, rng: &mut impl Rng) -> Vec<Search> {
    let graph = GraphSpec { nodes: size.nodes, edges: size.edges, seed: rng.next_u64() };
    (0..VARIANTS).map(|_| Search { graph, start: rng.random_range(0..graph.nodes) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
