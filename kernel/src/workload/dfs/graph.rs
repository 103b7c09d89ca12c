//! Generated graphs, and the depth-first search of them.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// All that a graph is generated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphSpec {
    /// At least 2.
    pub nodes: u32,
    /// At least one less than the nodes, so that all hang together.
    pub edges: u32,
    /// Decides which.
    pub seed: u64,
}

/// A connected, undirected graph. Two nodes may have several edges between them, and none has one to itself.
///
/// Each node's neighbours lie side by side, in the order of the edges (compressed sparse rows).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Where each node's neighbours begin in `neighbours`; one more entry than there are nodes.
    offsets: Vec<u32>,
    neighbours: Vec<u32>,
}

impl Graph {
    /// The graph of `spec`, the same on every machine and in every build: first a tree, in which each node hangs on any of
    /// those before it, then edges between any two nodes.
    ///
    /// Panics on fewer than 2 nodes.
    pub fn generate(spec: GraphSpec) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
        let tree = spec.nodes - 1;
        let edges: Vec<_> = (0..spec.edges)
            .map(|edge| if edge < tree { (edge + 1, rng.random_range(0..=edge)) } else { pair(spec.nodes, &mut rng) })
            .collect();
        Self::of_edges(spec.nodes, &edges)
    }

    fn of_edges(nodes: u32, edges: &[(u32, u32)]) -> Self {
        let mut offsets = vec![0; nodes as usize + 1];
        let arcs = || edges.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        arcs().for_each(|(from, _)| offsets[from as usize + 1] += 1);
        for node in 0..nodes as usize {
            offsets[node + 1] += offsets[node];
        }
        let (mut free, mut neighbours) = (offsets.clone(), vec![0; 2 * edges.len()]);
        for (from, to) in arcs() {
            neighbours[free[from as usize] as usize] = to;
            free[from as usize] += 1;
        }
        Self { offsets, neighbours }
    }

    /// Every node once, in the order in which a depth-first search from `start` comes to them that looks at neighbours in
    /// their order. Iterative: a path through a million nodes is no deeper on the stack than one through two.
    ///
    /// Panics if there is no node `start`.
    pub fn depth_first(&self, start: u32) -> Vec<u32> {
        let nodes = self.offsets.len() - 1;
        let (mut order, mut reached) = (Vec::with_capacity(nodes), vec![false; nodes]);
        // Where each node's next unseen neighbour is, and the nodes between the start and where the search is.
        let (mut next, mut path) = (self.offsets.clone(), vec![start]);
        reached[start as usize] = true;
        order.push(start);
        while let Some(&node) = path.last() {
            let node = node as usize;
            if next[node] == self.offsets[node + 1] {
                path.pop();
                continue;
            }
            let neighbour = self.neighbours[next[node] as usize];
            next[node] += 1;
            if !std::mem::replace(&mut reached[neighbour as usize], true) {
                order.push(neighbour);
                path.push(neighbour);
            }
        }
        order
    }
}

/// Any two of the nodes.
fn pair(nodes: u32, rng: &mut impl Rng) -> (u32, u32) {
    let (one, other) = (rng.random_range(0..nodes), rng.random_range(0..nodes - 1));
    (one, other + u32::from(other >= one))
}

#[cfg(test)]
mod tests;
