use petgraph::{
    adj::List,
    algo::connected_components,
    graph::{NodeIndex, UnGraph},
    visit::{Dfs, DfsEvent, EdgeRef, depth_first_search},
};
use proptest::prelude::*;

use super::*;

impl Graph {
    fn neighbours_of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.neighbours[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }

    /// Returns the graph in petgraph's adjacency lists, which keep the order of each node's neighbours.
    fn in_petgraph(&self, reversed: bool) -> List<(), u32> {
        let mut list = List::new();
        let nodes = 0..self.offsets.len() as u32 - 1;
        for _ in nodes.clone() {
            list.add_node();
        }
        for node in nodes {
            let neighbours = self.neighbours_of(node).iter();
            let neighbours: Vec<_> =
                if reversed { neighbours.rev().copied().collect() } else { neighbours.copied().collect() };
            for to in neighbours {
                list.add_edge(node, to, ());
            }
        }
        list
    }
}

/// Generates a small graph and one of its nodes.
fn small() -> impl Strategy<Value = (GraphSpec, u32)> {
    (2..200_u32, any::<u64>())
        .prop_flat_map(|(nodes, seed)| (Just(nodes), nodes - 1..4 * nodes, Just(seed), 0..nodes))
        .prop_map(|(nodes, edges, seed, start)| (GraphSpec { nodes, edges, seed }, start))
}

proptest! {
    #[test]
    fn the_order_is_that_of_petgraphs_recursive_search((spec, start) in small()) {
        let graph = Graph::generate(spec);
        let mut discovered = Vec::new();
        depth_first_search(&graph.in_petgraph(false), Some(start), |event| {
            if let DfsEvent::Discover(node, _) = event {
                discovered.push(node);
            }
        });
        prop_assert_eq!(graph.depth_first(start), discovered);
    }

    #[test]
    fn a_generated_graph_is_connected_and_as_large_as_asked((spec, start) in small()) {
        let graph = Graph::generate(spec);
        let mut same = UnGraph::<(), (), u32>::default();
        for _ in 0..spec.nodes {
            same.add_node(());
        }
        for node in 0..spec.nodes {
            for &to in graph.neighbours_of(node).iter().filter(|to| node < **to) {
                same.add_edge(NodeIndex::new(node as usize), NodeIndex::new(to as usize), ());
            }
        }
        prop_assert_eq!(same.edge_count(), spec.edges as usize);
        prop_assert_eq!(connected_components(&same), 1);
        prop_assert!(same.edge_references().all(|edge| edge.source() != edge.target()));
        prop_assert_eq!(graph.depth_first(start).len(), spec.nodes as usize);
    }
}

/// petgraph's iterative search takes the last neighbour first, so it gets them in reverse.
#[test]
fn the_order_of_a_large_graph_is_that_of_petgraphs_iterative_search() {
    let graph = Graph::generate(GraphSpec { nodes: 20_000, edges: 60_000, seed: 7 });
    let reversed = graph.in_petgraph(true);
    let mut search = Dfs::new(&reversed, 5);
    let order: Vec<u32> = std::iter::from_fn(|| search.next(&reversed)).collect();
    assert_eq!(graph.depth_first(5), order);
}

#[test]
fn a_path_of_a_million_nodes_does_not_overflow_the_stack() {
    let edges: Vec<_> = (1..1_000_000).map(|node| (node - 1, node)).collect();
    let graph = Graph::from_edges(1_000_000, &edges);
    assert!(graph.depth_first(0).into_iter().eq(0..1_000_000));
}

#[test]
fn a_small_graph_has_the_order_worked_out_by_hand() {
    // 0 - 1, 0 - 2, 1 - 3, 2 - 3: to 1, from there to 3, from there to 2.
    let graph = Graph::from_edges(4, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    assert_eq!(graph.depth_first(0), [0, 1, 3, 2]);
    assert_eq!(graph.depth_first(3), [3, 1, 0, 2]);
}

/// FNV-1a over the order.
#[test]
fn a_seed_fixes_the_graph() {
    let order = Graph::generate(GraphSpec { nodes: 1_000, edges: 3_000, seed: 1 }).depth_first(0);
    let bytes = order.iter().flat_map(|node| node.to_le_bytes());
    let checksum = crate::entropy::fnv1a(bytes);
    assert_eq!(checksum, 14_600_228_020_583_140_273, "a change here changes what every recorded seed replays");
}
