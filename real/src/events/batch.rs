//! The rows that are being sent, as messages to the partitions of a topic.

use std::mem;

use super::{
    message::{Messages, partition},
    waiting::{Rows, Waiting},
};

/// Bytes of the messages that are sent together, all that is around the rows included: three quarters of the 1,048,588 that a broker takes for one
/// partition by default (`message.max.bytes`). All of them may be for one partition.
const BATCH_BYTES: usize = 768 << 10;

/// The fewest. A broker that takes less than the default gets smaller batches, but not without end.
const BATCH_BYTES_MIN: usize = 16 << 10;

/// Bytes of rows that fill about one batch: as messages they take twice as much.
const FULL_BYTES: usize = BATCH_BYTES / 2;

/// Rows on their way to a broker, until it has acknowledged all of them.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) rows: Rows,
    /// Index of the first of them that was in no batch.
    next: usize,
    /// The indexes of those that were in a batch that failed, in order.
    failed: Vec<usize>,
    pub(super) batch: Batch,
    /// The bytes of a batch.
    batch_bytes: usize,
}

/// The messages that are under way, and that no broker has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Part>);

/// Rows of one partition, by their indexes.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) partition: usize,
    pub(super) rows: Vec<usize>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { rows: Rows::default(), next: 0, failed: Vec::new(), batch: Batch::default(), batch_bytes: BATCH_BYTES }
    }
}

impl Outgoing {
    /// Takes the rows that wait in place of those that have been delivered.
    pub(super) fn take(&mut self, waiting: &Waiting) {
        waiting.take(&mut self.rows);
        self.next = 0;
    }

    /// Returns whether all rows that were taken have been delivered.
    pub(super) fn is_delivered(&self) -> bool {
        self.batch.0.is_empty() && self.failed.is_empty() && self.next == self.rows.len()
    }

    /// Returns whether enough rows wait for a batch.
    pub(super) fn is_full(waiting: &Waiting) -> bool {
        waiting.bytes() >= FULL_BYTES
    }

    /// Makes the next batch, for so many partitions. All of the last one has been acknowledged, or has failed.
    pub(super) fn make_batch(&mut self, messages: &Messages, partitions: usize) {
        let mut parts: Vec<_> = (0..partitions).map(|partition| Part { partition, rows: Vec::new() }).collect();
        let mut failed = mem::take(&mut self.failed).into_iter().peekable();
        let mut key = Vec::new();
        let mut bytes = 0;
        // The rows of one request, which have one key, often come together.
        let mut last = None;
        while let Some(&index) = failed.peek().or((self.next < self.rows.len()).then_some(&self.next)) {
            let row = self.rows.get(index);
            let chosen = match last {
                Some((request, partition)) if request == row.request => partition,
                _ => {
                    key.clear();
                    messages.add_key(&mut key, row);
                    partition(&key, partitions)
                }
            };
            last = Some((row.request, chosen));
            let size = key.len() + messages.size(row);
            // A row that is larger than a batch is sent by itself.
            if bytes > 0 && bytes + size > self.batch_bytes {
                break;
            }
            bytes += size;
            parts[chosen].rows.push(index);
            if failed.next().is_none() {
                self.next += 1;
            }
        }
        self.failed = failed.collect();
        parts.retain(|part| !part.rows.is_empty());
        self.batch = Batch(parts);
    }

    /// Puts the rows of the batch that have not been acknowledged in front of the others.
    pub(super) fn fail(&mut self) {
        let batch = mem::take(&mut self.batch).0;
        self.failed.extend(batch.into_iter().flat_map(|part| part.rows));
        self.failed.sort_unstable();
    }

    /// Halves the batches that follow. Returns whether they were not the smallest already.
    pub(super) fn shrink(&mut self) -> bool {
        let is_larger = self.batch_bytes > BATCH_BYTES_MIN;
        self.batch_bytes = (self.batch_bytes / 2).max(BATCH_BYTES_MIN);
        is_larger
    }
}

impl Batch {
    /// Returns the rows of each partition that has some.
    pub(super) fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Removes the rows of this partition, which have been acknowledged. Returns their number.
    pub(super) fn acknowledge(&mut self, partition: usize) -> usize {
        self.0.extract_if(.., |part| part.partition == partition).map(|part| part.rows.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::waiting::tests::attempt, *};

    const PARTITIONS: usize = 4;

    /// What Kafka takes for one partition by default.
    const MESSAGE_MAX_BYTES: usize = 1_048_588;

    /// Rows of as many requests, two of each, with lines of this length.
    fn outgoing(requests: u64, line: usize) -> Outgoing {
        let waiting = Waiting::default();
        for request in 0..requests {
            (0..2).for_each(|_| waiting.push(&attempt(request), &vec![b'1'; line]));
        }
        let mut outgoing = Outgoing::default();
        outgoing.take(&waiting);
        outgoing
    }

    fn messages() -> Messages {
        Messages::new("crash_then_freeze-42-20261129T230845.730317Z", "real")
    }

    /// Returns the bytes of keys and values of each message.
    fn sizes(outgoing: &Outgoing) -> Vec<usize> {
        let size = |&index: &usize| {
            let row = outgoing.rows.get(index);
            messages().key(row).len() + messages().value(row).len()
        };
        outgoing.batch.0.iter().map(|part| part.rows.iter().map(size).sum()).collect()
    }

    /// Returns the rows of all messages, in order.
    fn indexes(outgoing: &Outgoing) -> Vec<usize> {
        let mut indexes: Vec<_> = outgoing.batch.0.iter().flat_map(|part| part.rows.iter().copied()).collect();
        indexes.sort_unstable();
        indexes
    }

    fn acknowledge_all(outgoing: &mut Outgoing) {
        (0..PARTITIONS).for_each(|partition| {
            outgoing.batch.acknowledge(partition);
        });
    }

    #[test]
    fn no_message_is_larger_than_kafka_takes_whatever_the_length_of_lines_and_the_number_of_partitions() {
        for (requests, line) in [(20_000, 20), (20_000, 140), (3_000, 2_000), (4, 900_000)] {
            for partitions in [1, PARTITIONS] {
                let mut outgoing = outgoing(requests, line);
                let mut all = Vec::new();
                while !outgoing.is_delivered() {
                    outgoing.make_batch(&messages(), partitions);
                    let sizes = sizes(&outgoing);
                    let sum: usize = sizes.iter().sum();
                    // Each record has up to 24 bytes of its own, and the first 61 of the batch.
                    let frames = 61 * sizes.len() + 24 * indexes(&outgoing).len();
                    assert!(sum + frames < MESSAGE_MAX_BYTES, "{requests} x {line}: {sum}");
                    all.extend(indexes(&outgoing));
                    assert!(sum > BATCH_BYTES / 2 || all.len() == outgoing.rows.len(), "{requests} x {line}: {sum}");
                    acknowledge_all(&mut outgoing);
                }
                assert_eq!(all, (0..2 * requests as usize).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn rows_of_one_key_are_of_one_partition_in_their_order() {
        let mut outgoing = outgoing(500, 100);
        outgoing.make_batch(&messages(), PARTITIONS);
        for part in outgoing.batch.parts() {
            assert!(part.rows.is_sorted());
            for &index in &part.rows {
                assert_eq!(partition(&messages().key(outgoing.rows.get(index)), PARTITIONS), part.partition);
            }
        }
        assert_eq!(outgoing.batch.parts().len(), PARTITIONS);
    }

    #[test]
    fn what_was_not_acknowledged_comes_first_in_the_next_batch() {
        let mut outgoing = outgoing(4_000, 140);
        outgoing.make_batch(&messages(), PARTITIONS);
        let lost = outgoing.batch.0[1].rows.clone();
        let delivered: usize = [0, 2, 3].map(|partition| outgoing.batch.acknowledge(partition)).iter().sum();
        outgoing.fail();
        assert!(!outgoing.is_delivered());
        // The topic has fewer partitions than before.
        outgoing.make_batch(&messages(), 1);
        assert_eq!(indexes(&outgoing)[..lost.len()], lost);
        let mut rest = Vec::new();
        while !outgoing.is_delivered() {
            rest.extend(indexes(&outgoing));
            outgoing.batch.acknowledge(0);
            outgoing.make_batch(&messages(), 1);
        }
        assert_eq!(rest.len() + delivered, 8_000, "none is left out, and none comes twice");
    }

    #[test]
    fn batches_that_a_broker_finds_too_large_are_halved_down_to_a_bound() {
        let mut outgoing = outgoing(4_000, 140);
        let mut halved = 0;
        let mut before = usize::MAX;
        loop {
            outgoing.make_batch(&messages(), PARTITIONS);
            let count = indexes(&outgoing).len();
            assert!(count < before && indexes(&outgoing) == (0..count).collect::<Vec<_>>(), "{before} {count}");
            before = count;
            outgoing.fail();
            if !outgoing.shrink() {
                break;
            }
            halved += 1;
        }
        assert_eq!((halved, outgoing.batch_bytes), (6, BATCH_BYTES_MIN));
    }
}
