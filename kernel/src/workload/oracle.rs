//! The oracle: computes the right output of an input without a server.

use std::sync::Mutex;

use super::{Input, Inputs, Output, Workloads, settings::Backend};
use crate::{
    entropy::Entropy,
    sync::{ignore_poison, lock},
};

/// Largest size of all kept results, in bytes.
const MEMORY_BYTES: usize = 64 << 20;

/// Compares outputs with those that the workload function has here.
#[derive(Debug)]
pub struct Oracle {
    workloads: Workloads,
    known: Mutex<Known>,
    /// True if the oracle computes unknown results when it is asked.
    learns: bool,
}

/// The results that the oracle keeps.
#[derive(Debug, Default)]
struct Known {
    results: Vec<(Input, Output)>,
    bytes: usize,
}

impl Oracle {
    /// Creates an oracle that computes a result when it is first asked about an input. It fits a simulation, where that takes
    /// no simulated time.
    pub fn learning() -> Self {
        // The settings of a backend decide whether it answers, but not what.
        let workloads = Workloads::new(Backend::default(), &[], Entropy::new(0));
        Self { workloads, known: Mutex::default(), learns: true }
    }

    /// Creates an oracle that has computed the results of `inputs` in advance, as far as its memory allows. It confirms every
    /// output of other inputs: in a real run, computing during the run would disturb what is measured.
    pub fn learned(inputs: &Inputs) -> Self {
        let mut oracle = Self::learning();
        for input in inputs.all() {
            let output = oracle.compute(&input);
            let known = ignore_poison(oracle.known.get_mut());
            if !known.has_room_for(&output) {
                break;
            }
            known.keep(input, output);
        }
        oracle.learns = false;
        oracle
    }

    /// Returns true if `output` is the output of `input`, or if the oracle does not know it and does not learn.
    pub fn confirms(&self, input: &Input, output: &Output) -> bool {
        let mut known = lock(&self.known);
        if let Some((_, result)) = known.results.iter().find(|(known, _)| known.is_shared_with(input)) {
            return result == output;
        }
        if !self.learns {
            return true;
        }
        let result = self.compute(input);
        let is_right = result == *output;
        if !known.has_room_for(&result) {
            // All results are forgotten instead of the oldest: the order of inputs is random, so no choice is better.
            *known = Known::default();
        }
        known.keep(input.clone(), result);
        is_right
    }

    fn compute(&self, input: &Input) -> Output {
        self.workloads.for_input(input).run(input)
    }
}

impl Known {
    fn has_room_for(&self, output: &Output) -> bool {
        self.bytes + output.byte_count() <= MEMORY_BYTES
    }

    fn keep(&mut self, input: Input, output: Output) {
        self.bytes += output.byte_count();
        self.results.push((input, output));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::workload::{
        Workload, backend,
        dfs::Dfs,
        settings::{GraphSize, Images, Pictures, Workload as WorkloadSettings},
        size::Size,
        sobel::Sobel,
    };

    fn inputs(workload: &WorkloadSettings) -> Inputs {
        Inputs::for_workload(workload, Entropy::new(1)).unwrap()
    }

    fn pictures() -> Inputs {
        inputs(&WorkloadSettings::Sobel(Images::from(Pictures::Synthetic(vec![
            Size { width: 16, height: 8 },
            Size { width: 9, height: 9 },
        ]))))
    }

    #[test]
    fn an_image_is_right_as_computed_and_wrong_with_one_bit_flipped() {
        let pictures = pictures();
        for oracle in [Oracle::learning(), Oracle::learned(&pictures)] {
            for input in pictures.all() {
                let Output::Image(pixels) = Sobel.run(&input) else { panic!("no image") };
                let mut flipped = pixels.to_vec();
                flipped[0] ^= 1;
                assert!(oracle.confirms(&input, &Output::Image(pixels)));
                assert!(!oracle.confirms(&input, &Output::Image(flipped.into())));
            }
        }
    }

    #[test]
    fn an_order_is_right_as_computed_and_wrong_in_reverse() {
        let searches = inputs(&WorkloadSettings::Dfs(GraphSize { nodes: 20, edges: 30 }));
        for oracle in [Oracle::learning(), Oracle::learned(&searches)] {
            let search = searches.all().next().unwrap();
            let Output::Order(order) = Dfs::default().run(&search) else { panic!("no order") };
            let reversed: Vec<u32> = order.iter().rev().copied().collect();
            assert!(oracle.confirms(&search, &Output::Order(order)));
            assert!(!oracle.confirms(&search, &Output::Order(reversed.into())));
        }
    }

    fn data() -> Inputs {
        inputs(&WorkloadSettings::Backend(Backend::default()))
    }

    #[test]
    fn a_backends_data_are_known() {
        for oracle in [Oracle::learning(), Oracle::learned(&data())] {
            assert!(oracle.confirms(&Input::Data, &backend::answer()));
            assert!(!oracle.confirms(&Input::Data, &Output::Data("other data".into())));
        }
    }

    #[test]
    fn an_oracle_that_does_not_learn_confirms_unknown_outputs() {
        let oracle = Oracle::learned(&data());
        let input = pictures().all().next().unwrap();
        let wrong = Output::Image(Bytes::new());
        assert!(oracle.confirms(&input, &wrong));
        assert!(!Oracle::learning().confirms(&input, &wrong));
    }
}
