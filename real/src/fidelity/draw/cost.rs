//! The estimate of the processor time of a call, client and server together, on a machine of the year 2020 or later.
//!
//! It decides how busy a scenario keeps the processors. It does not depend on a measurement, so that the draw is the same on every machine;
//! with a calibration, [`measured`](super::measured) bounds the rate where this estimate is too low. Kernels are those of
//! `reports/measured/calibration.toml`, rounded up.
//!
//! | what | processor time |
//! | --- | --- |
//! | a call: encoding, sending, receiving and decoding on both sides, and wake-ups | 250 µs |
//! | edge detection | 20 µs, and 1 ns a pixel |
//! | an image there and back: copies and system calls | 1.3 ns a pixel |
//! | a depth-first search | 14 ns for each node and each edge |
//! | the order of its nodes on its way back | 10 ns a node |
//! | a backend's answer | 8 µs |

use kernel::scenario::{Size, WorkloadName};

const CALL_S: f64 = 250e-6;
const EDGES_S: f64 = 20e-6;
const PIXEL_S: f64 = 1.0e-9;
const CARRIED_PIXEL_S: f64 = 1.3e-9;
const NODE_OR_EDGE_S: f64 = 14e-9;
const CARRIED_NODE_S: f64 = 10e-9;
const ANSWER_S: f64 = 8e-6;

/// The input of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// Images of these sizes, each as likely.
    Pictures(Vec<Size>),
    /// A graph.
    Graph {
        /// Number of nodes.
        nodes: u32,
        /// Number of edges.
        edges: u32,
    },
    /// A backend.
    Data,
}

/// Processor time of an attempt in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    /// Time of the workload function, for which a worker is held.
    pub(super) computing: f64,
    /// Time of everything, client and server together.
    pub(super) all: f64,
}

impl Input {
    /// Returns the workload.
    pub(super) fn workload(&self) -> WorkloadName {
        match self {
            Self::Pictures(_) => WorkloadName::Sobel,
            Self::Graph { .. } => WorkloadName::Dfs,
            Self::Data => WorkloadName::Backend,
        }
    }

    /// Returns the sizes as rows of a run have them, each as likely as the others.
    pub(super) fn sizes(&self) -> Vec<String> {
        match self {
            Self::Pictures(sizes) => sizes.iter().map(Size::to_string).collect(),
            Self::Graph { nodes, edges } => vec![format!("{nodes}+{edges}")],
            Self::Data => vec!["data".to_owned()],
        }
    }

    /// Returns what an attempt costs on average.
    pub(super) fn cost(&self) -> Cost {
        let (computing, carrying) = match self {
            Self::Pictures(sizes) => {
                let pixels = sizes.iter().map(|size| size.pixels() as f64).sum::<f64>() / sizes.len() as f64;
                (EDGES_S + PIXEL_S * pixels, CARRIED_PIXEL_S * pixels)
            }
            Self::Graph { nodes, edges } => {
                (NODE_OR_EDGE_S * (f64::from(*nodes) + f64::from(*edges)), CARRIED_NODE_S * f64::from(*nodes))
            }
            Self::Data => (ANSWER_S, 0.0),
        };
        Cost { computing, all: CALL_S + computing + carrying }
    }

    /// Returns the bytes of the longer one of request and reply, headers included; on average.
    pub(super) fn bytes(&self) -> f64 {
        const HEADERS: f64 = 150.0;
        let message = match self {
            Self::Pictures(sizes) => sizes.iter().map(|size| size.pixels() as f64).sum::<f64>() / sizes.len() as f64,
            // A number of a node has three bytes in most graphs.
            Self::Graph { nodes, .. } => 3.0 * f64::from(*nodes),
            Self::Data => 20.0,
        };
        HEADERS + message
    }
}

/// Returns the number of nodes of a graph with `ratio` edges a node whose search takes `all` seconds of processor time.
pub(super) fn nodes_for(all: f64, ratio: f64) -> f64 {
    (all - CALL_S).max(0.0) / (NODE_OR_EDGE_S * (1.0 + ratio) + CARRIED_NODE_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_for_a_time_takes_that_time() {
        let nodes = nodes_for(0.002, 3.0);
        let all = Input::Graph { nodes: nodes as u32, edges: (3.0 * nodes) as u32 }.cost().all;
        assert!((all - 0.002).abs() < 1e-6, "{all}");
        assert_eq!(nodes_for(0.0001, 3.0), 0.0);
    }

    #[test]
    fn larger_inputs_cost_more() {
        let size = |side| Input::Pictures(vec![Size { width: side, height: side }]).cost().all;
        assert!(Input::Data.cost().all < size(16) && size(16) < size(512));
        assert!((size(512) - 873e-6).abs() < 1e-6, "{}", size(512));
    }
}
