//! Generated graphs and their depth-first search.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The parameters of a generated graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphSpec {
    /// Number of nodes, at least 2.
    pub nodes: u32,
    /// Number of edges, at least one less than the nodes, so that the graph is connected.
    pub edges: u32,
    /// Seed of the edges.
    pub seed: u64,
}

/// A connected, undirected graph. There may be several edges between two nodes, and no edge from a node to itself.
///
/// Each node's neighbours lie side by side, in the order of the edges (compressed sparse rows).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Index in `neighbours` of each node's first neighbour, and the length of `neighbours` as the last entry.
    offsets: Vec<u32>,
    neighbours: Vec<u32>,
}

impl Graph {
    /// Generates the graph of `spec`, which is the same on every machine and in every build. First comes a tree, in which
    /// each node is connected to a random node before it, then edges between random pairs of nodes.
    ///
    /// # Panics
    ///
    /// Panics on fewer than 2 nodes.
    pub fn generate(spec: GraphSpec) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(spec.seed);
        let tree = spec.nodes - 1;
        let edges: Vec<_> = (0..spec.edges)
            .map(|edge| if edge < tree { (edge + 1, rng.random_range(0..=edge)) } else { pair(spec.nodes, &mut rng) })
            .collect();
        Self::from_edges(spec.nodes, &edges)
    }

    /// Builds the graph with `nodes` nodes and `edges`.
    fn from_edges(nodes: u32, edges: &[(u32, u32)]) -> Self {
        let mut offsets = vec![0; nodes as usize + 1];
        arcs(edges).for_each(|(from, _)| offsets[from as usize + 1] += 1);
        for node in 0..nodes as usize {
            offsets[node + 1] += offsets[node];
        }
        // The next free place of each node.
        let mut free = offsets.clone();
        let mut neighbours = vec![0; 2 * edges.len()];
        for (from, to) in arcs(edges) {
            neighbours[free[from as usize] as usize] = to;
            free[from as usize] += 1;
        }
        Self { offsets, neighbours }
    }

    /// Returns every node once, in the order in which a depth-first search from `start` reaches them. Neighbours are visited
    /// in their order. The search is iterative, so that a path through a million nodes does not overflow the stack.
    ///
    /// # Panics
    ///
    /// Panics if there is no node `start`.
    pub fn depth_first(&self, start: u32) -> Vec<u32> {
        let nodes = self.offsets.len() - 1;
        let mut order = Vec::with_capacity(nodes);
        let mut reached = vec![false; nodes];
        // Index of the neighbour to visit next, for each node.
        let mut next = self.offsets.clone();
        // Nodes from the start to the present one.
        let mut path = vec![start];
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

/// Returns both directions of each of `edges`.
fn arcs(edges: &[(u32, u32)]) -> impl Iterator<Item = (u32, u32)> {
    edges.iter().flat_map(|&(a, b)| [(a, b), (b, a)])
}

/// Draws two different nodes of `nodes`.
fn pair(nodes: u32, rng: &mut impl Rng) -> (u32, u32) {
    let one = rng.random_range(0..nodes);
    // One value less, and the values from `one` on moved up by one, so that the two always differ.
    let other = rng.random_range(0..nodes - 1);
    (one, other + u32::from(other >= one))
}

#[cfg(test)]
mod tests;
