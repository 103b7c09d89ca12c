//! The graph workload of Task 2: a depth-first search of a generated graph, whose output is the order of the nodes.

mod graph;

use std::sync::{Arc, Mutex};

pub use graph::{Graph, GraphSpec};
use rand::{Rng, RngExt};

use super::{Input, Output, Workload, pictures::VARIANTS, settings::GraphSize};
use crate::{entropy::Entropy, settings::limits, sync::lock};

/// A search of a graph, as a request asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Search {
    /// The graph.
    pub graph: GraphSpec,
    /// Node at which the search begins, counted from 0.
    pub start: u32,
}

impl Search {
    /// Checks sizes and start. The error says what is wrong and what would be right.
    fn validate(self) -> Result<(), String> {
        let GraphSpec { nodes, edges, .. } = self.graph;
        if !limits::NODES.contains(&nodes) {
            let min = limits::NODES.start();
            let max = limits::NODES.end();
            return Err(format!("graph has {nodes} nodes: {min} to {max} are accepted"));
        }
        if edges < nodes - 1 || edges > *limits::EDGES.end() {
            let min = nodes - 1;
            let max = limits::EDGES.end();
            return Err(format!("graph of {nodes} nodes has {edges} edges: {min} to {max} are accepted"));
        }
        if self.start >= nodes {
            return Err(format!("start is node {}, but the last one is {}", self.start, nodes - 1));
        }
        Ok(())
    }
}

/// Creates the inputs of a run: searches of one graph from different nodes.
pub(super) fn inputs(size: GraphSize, entropy: Entropy, numbers: &[u64]) -> Vec<Input> {
    searches(size, entropy, numbers).map(Input::Search).collect()
}

/// Returns a number for each search: its start, as all are of one graph.
pub(super) fn input_numbers(size: GraphSize, entropy: Entropy, numbers: &[u64]) -> Vec<u64> {
    searches(size, entropy, numbers).map(|search| search.start.into()).collect()
}

/// Draws [`VARIANTS`] searches of one graph.
fn searches(size: GraphSize, entropy: Entropy, numbers: &[u64]) -> impl Iterator<Item = Search> + use<> {
    let mut rng = entropy.stream_of("workload.graph", numbers);
    let graph = GraphSpec { nodes: size.nodes, edges: size.edges, seed: rng.next_u64() };
    (0..VARIANTS).map(move |_| Search { graph, start: rng.random_range(0..graph.nodes) })
}

/// Depth-first search. It keeps the last graphs, because the requests of a run search few of them: one of each kind.
#[derive(Debug, Default)]
pub struct Dfs {
    /// The graphs, the last one at the end.
    graphs: Mutex<Vec<(GraphSpec, Arc<Graph>)>>,
}

/// The most nodes and edges of all graphs that are kept, beside the last one. The largest graph has nearly as many.
const KEPT_MAX: u64 = 10_000_000;

impl Dfs {
    /// Returns the graph of `spec`, which is generated unless it is kept.
    fn graph(&self, spec: GraphSpec) -> Arc<Graph> {
        // The lock is held during the generation, so that a second search of the same graph waits instead of generating it too.
        let mut graphs = lock(&self.graphs);
        let graph = match graphs.iter().position(|(known, _)| *known == spec) {
            Some(place) => graphs.remove(place).1,
            None => {
                forget(&mut graphs, KEPT_MAX);
                Arc::new(Graph::generate(spec))
            }
        };
        graphs.push((spec, graph.clone()));
        graph
    }
}

/// Removes the graphs that were not searched for the longest time, until the others have at most `most` nodes and
/// edges.
fn forget(graphs: &mut Vec<(GraphSpec, Arc<Graph>)>, most: u64) {
    let mut room = most;
    let kept = graphs.iter().rev().take_while(|(spec, _)| {
        let rest = room.checked_sub(u64::from(spec.nodes) + u64::from(spec.edges));
        room = rest.unwrap_or(0);
        rest.is_some()
    });
    let kept = kept.count();
    graphs.drain(..graphs.len() - kept);
}

const NO_SEARCH: &str = "the input is no graph to search";

impl Workload for Dfs {
    fn name(&self) -> &'static str {
        "dfs"
    }

    fn check(&self, input: &Input) -> Result<(), String> {
        let Input::Search(search) = input else { return Err(NO_SEARCH.to_owned()) };
        search.validate()
    }

    fn run(&self, input: &Input) -> Output {
        let Input::Search(search) = input else { panic!("{NO_SEARCH}") };
        Output::Order(self.graph(search.graph).depth_first(search.start).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(nodes: u32, edges: u32, start: u32) -> Input {
        Input::Search(Search { graph: GraphSpec { nodes, edges, seed: 1 }, start })
    }

    fn message(nodes: u32, edges: u32, start: u32) -> String {
        Dfs::default().check(&search(nodes, edges, start)).unwrap_err()
    }

    #[test]
    fn an_invalid_search_is_rejected_with_the_reason() {
        assert_eq!(message(0, 0, 0), "graph has 0 nodes: 2 to 1000000 are accepted");
        assert_eq!(message(u32::MAX, u32::MAX, 0), "graph has 4294967295 nodes: 2 to 1000000 are accepted");
        assert_eq!(message(10, 8, 0), "graph of 10 nodes has 8 edges: 9 to 8000000 are accepted");
        assert_eq!(message(10, u32::MAX, 0), "graph of 10 nodes has 4294967295 edges: 9 to 8000000 are accepted");
        assert_eq!(message(10, 9, 10), "start is node 10, but the last one is 9");
        assert_eq!(Dfs::default().check(&search(10, 9, 9)), Ok(()));
    }

    fn searches_with(seed: u64) -> Vec<Search> {
        searches(GraphSize { nodes: 1_000, edges: 2_000 }, Entropy::new(seed), &[]).collect()
    }

    #[test]
    fn a_seed_fixes_graph_and_starts_and_another_seed_changes_them() {
        let first = searches_with(1);
        assert_eq!(first, searches_with(1));
        assert_ne!(first[0].graph.seed, searches_with(2)[0].graph.seed);
        assert!(first.iter().all(|search| search.graph == first[0].graph && search.start < 1_000));
        assert!(first.iter().any(|search| search.start != first[0].start));
    }

    /// Searches graphs of 30 nodes and edges with these seeds, and returns those that are left if `most` may be kept.
    fn kept(seeds: &[u64], most: u64) -> Vec<u64> {
        let dfs = Dfs::default();
        seeds.iter().for_each(|seed| drop(dfs.graph(GraphSpec { nodes: 10, edges: 20, seed: *seed })));
        let mut graphs = lock(&dfs.graphs);
        forget(&mut graphs, most);
        graphs.iter().map(|(spec, _)| spec.seed).collect()
    }

    #[test]
    fn graphs_are_kept_as_long_as_they_are_few_enough_together_and_the_last_one_the_longest() {
        assert_eq!(kept(&[1, 2, 3, 1], u64::MAX), [2, 3, 1]);
        assert_eq!(kept(&[1, 2, 3, 1], 60), [3, 1]);
        assert_eq!(kept(&[1, 2, 3, 1], 59), [1]);
        assert_eq!(kept(&[1, 2, 3, 1], 29), [0; 0]);
    }

    #[test]
    fn a_kept_graph_has_the_same_output_as_a_new_one() {
        let dfs = Dfs::default();
        for input in [search(50, 80, 3), search(50, 80, 4), search(40, 80, 3), search(50, 80, 3)] {
            assert_eq!(dfs.run(&input), Dfs::default().run(&input));
        }
    }
}
