//! A table of packed rows.

use std::{
    marker::PhantomData,
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    pack::{PackedRow, Packer, Unpacker},
    spill::{Chunk, Spill},
};

/// The greatest number of rows of a chunk.
pub const CHUNK_ROWS: usize = 1 << 16;

/// Rows of one kind, packed, in the order in which they were added.
#[derive(Debug)]
pub struct RowTable<T> {
    chunks: Vec<(usize, Chunk)>,
    rows: usize,
    row: PhantomData<fn() -> T>,
}

/// Makes a table of rows that come one by one.
#[derive(Debug)]
pub struct TableBuilder<T: PackedRow> {
    table: RowTable<T>,
    spill: Spill,
    packer: Packer,
    before: T::Before,
    rows: usize,
}

impl<T> Default for RowTable<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), rows: 0, row: PhantomData }
    }
}

impl<T: PackedRow> TableBuilder<T> {
    /// Returns the builder of a table whose rows `spill` stores.
    pub fn new(spill: &Spill) -> Self {
        Self {
            table: RowTable::default(),
            spill: spill.clone(),
            packer: Packer::default(),
            before: T::Before::default(),
            rows: 0,
        }
    }

    /// Adds a row behind the others.
    pub fn push(&mut self, row: &T) {
        row.pack(&mut self.before, &mut self.packer);
        self.rows += 1;
        if self.rows == CHUNK_ROWS {
            self.seal();
        }
    }

    /// Returns the table of all rows that were added.
    pub fn finish(mut self) -> RowTable<T> {
        self.seal();
        self.table
    }

    fn seal(&mut self) {
        if self.rows > 0 {
            self.table.chunks.push((self.rows, self.spill.store(&self.packer.bytes)));
            self.table.rows += self.rows;
            self.packer.clear();
            self.before = T::Before::default();
            self.rows = 0;
        }
    }
}

impl<T: PackedRow> RowTable<T> {
    /// Returns the table of these rows.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let mut builder = TableBuilder::new(&Spill::default());
        rows.into_iter().for_each(|row| builder.push(row));
        builder.finish()
    }

    /// Adds the rows of `other` behind these.
    pub fn append(&mut self, other: Self) {
        self.chunks.extend(other.chunks);
        self.rows += other.rows;
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns true if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Calls `visit` with each row in order. This is faster than [`iter`](Self::iter), as no row needs memory of its own.
    pub fn each(&self, mut visit: impl FnMut(&T)) {
        let mut row = T::blank();
        self.chunks.iter().for_each(|chunk| each_of(chunk, &mut row, &mut visit));
    }

    /// Visits the rows on all processors: `start` makes the result of a thread, and `visit` adds a row to it. Returns the
    /// results of all threads. Which thread visits which rows is not known, so a sum of the results must not depend on it.
    pub fn fold<P: Send>(&self, start: impl Fn() -> P + Sync, visit: impl Fn(&mut P, &T) + Sync) -> Vec<P> {
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(self.chunks.len());
        let work = || {
            let mut result = start();
            while let Some(chunk) = self.chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                each_of(chunk, &mut T::blank(), |row| visit(&mut result, row));
            }
            result
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            results.collect()
        })
    }

    /// Returns the rows in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.chunks.iter().flat_map(|(rows, chunk)| {
            let mut before = T::Before::default();
            let mut from = Unpacker::new(chunk.bytes());
            (0..*rows).map(move |_| {
                let mut row = T::blank();
                row.unpack(&mut before, &mut from);
                row
            })
        })
    }
}

/// Calls `visit` with each row of a chunk, which is unpacked into `row`.
fn each_of<T: PackedRow>((rows, chunk): &(usize, Chunk), row: &mut T, mut visit: impl FnMut(&T)) {
    let mut before = T::Before::default();
    let mut from = Unpacker::new(chunk.bytes());
    for _ in 0..*rows {
        row.unpack(&mut before, &mut from);
        visit(row);
    }
}

#[cfg(test)]
mod tests {
    use kernel::record::{AttemptRow, EventRow, RequestRow};
    use proptest::prelude::*;

    use super::*;

    fn comes_back<T: PackedRow + PartialEq + std::fmt::Debug>(rows: &[T]) {
        let table = RowTable::from_rows(rows);
        assert_eq!(table.len(), rows.len());
        assert!(table.iter().eq(rows.iter().map(|row| {
            let mut copy = T::blank();
            let mut packer = Packer::default();
            row.pack(&mut T::Before::default(), &mut packer);
            copy.unpack(&mut T::Before::default(), &mut Unpacker::new(packer.bytes.into()));
            assert_eq!(copy, *row);
            copy
        })));
        let mut at = 0;
        table.each(|row| {
            assert_eq!(*row, rows[at]);
            at += 1;
        });
    }

    fn time() -> impl Strategy<Value = Option<u64>> {
        prop::option::of(prop_oneof![0..2_000_000_u64, Just(u64::MAX), any::<u64>()])
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::of("[a-zé]{0,3}")
    }

    prop_compose! {
        fn request()(
            id in any::<u64>(), times in [time(), time(), time(), time()], status in 0..19_usize, server in text(),
            counts in any::<[u32; 3]>(), size in "[a-c]{0,4}", rejected in any::<bool>(), answer in 0..4_usize,
            kind in text(), user in prop::option::of(any::<u32>()),
            stream in prop::option::of([time(), time(), time(), time()]),
        ) -> RequestRow {
            let answers = [None, Some("cached"), Some("stale"), Some("fallback")];
            let names: Vec<&str> = kernel::status::Code::names().chain(["DROPPED", "DEGRADED"]).collect();
            let json = serde_json::json!({
                "id": id, "intended_us": times[0].unwrap_or(7), "sent_us": times[1], "done_us": times[2],
                "latency_us": times[3], "status": names[status], "server": server, "attempts": counts[0],
                "failovers": counts[1], "hedges": counts[2], "size": size, "rejected": rejected,
                "answer": answers[answer], "kind": kind,
                "user": user,
                "stream": stream.map(|[messages, first_us, gap_us, lost]| serde_json::json!({
                    "messages": messages.unwrap_or_default(), "first_us": first_us, "gap_us": gap_us, "lost": lost,
                })),
            });
            serde_json::from_value(json).unwrap()
        }
    }

    prop_compose! {
        fn attempt()(
            numbers in any::<[u64; 3]>(), attempt in any::<u32>(), status in 0..17_usize, server in "[a-z]{0,2}",
            cause in text(), committed in time(),
        ) -> AttemptRow {
            let json = serde_json::json!({
                "request": numbers[0], "attempt": attempt, "server": server, "start_us": numbers[1],
                "end_us": numbers[2], "status": kernel::status::Code::names().nth(status), "cause": cause,
                "committed_us": committed,
            });
            serde_json::from_value(json).unwrap()
        }
    }

    prop_compose! {
        fn event()(
            at_us in any::<u64>(), event in 0..4_usize, texts in [text(), text(), text()],
            numbers in [time(), time(), time(), time()], attempt in prop::option::of(any::<u32>()),
        ) -> EventRow {
            let events = ["fault_start", "listening", "pick", "idle"];
            let json = serde_json::json!({
                "at_us": at_us, "source": texts[0].clone().unwrap_or_default(),
                "event": events[event], "target": texts[1], "cause": texts[2],
                "fault": numbers[0], "request": numbers[1], "duration_us": numbers[2], "attempt": attempt,
                "call": numbers[3],
            });
            serde_json::from_value(json).unwrap()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_row_comes_back_as_it_was(
            requests in prop::collection::vec(request(), 0..40),
            attempts in prop::collection::vec(attempt(), 0..40),
            events in prop::collection::vec(event(), 0..40),
        ) {
            comes_back(&requests);
            comes_back(&attempts);
            comes_back(&events);
        }
    }

    #[test]
    fn a_table_of_several_chunks_has_its_rows_in_order_and_takes_little_memory() {
        let rows: Vec<RequestRow> = (0..CHUNK_ROWS as u64 * 2 + 7)
            .map(|id| {
                let mut row = RequestRow::blank();
                row.id = id;
                row.intended_us = id * 100;
                row.sent_us = Some(id * 100 + 12);
                row.done_us = Some(id * 100 + 20_000);
                row.latency_us = Some(20_000);
                row.server = Some(format!("server-{}", id % 4).into());
                row.size = "256x256".to_owned();
                row
            })
            .collect();
        let table = RowTable::from_rows(&rows);
        assert_eq!(table.chunks.len(), 3);
        assert!(table.iter().eq(rows.iter().cloned()));
        let sums = table.fold(|| 0, |sum: &mut u64, row| *sum += row.id);
        assert_eq!(sums.into_iter().sum::<u64>(), rows.iter().map(|row| row.id).sum::<u64>());
        let bytes: usize = table.chunks.iter().map(|(_, chunk)| chunk.bytes().len()).sum();
        assert!(bytes < rows.len() * 18, "{} bytes a row", bytes / rows.len());
    }
}
