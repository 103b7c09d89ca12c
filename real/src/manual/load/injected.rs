//! The faults that others inject while a load runs, as events of its record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kernel::{
    cli::Failure,
    record::{Event, EventRow, Name, Row, Sink},
    world::SharedWorld,
};

use super::super::{
    fault_log::{FaultEdge, FaultEntry, FaultLogReader, OpenFaults},
    log::log_line,
    registry::Registry,
};
use crate::location::Location;

/// Time between two looks at the log of faults.
const INTERVAL: Duration = Duration::from_millis(100);

/// Turns lines of the log of faults into events of a load.
pub(super) struct InjectedFaults {
    reader: FaultLogReader,
    open: OpenFaults,
    /// The name that the load has for a server, by the server's id.
    names: BTreeMap<String, String>,
    /// The start of the load, in nanoseconds since the machine started.
    epoch_ns: u64,
    /// The index of each fault, by its command and kind, in order of their beginnings.
    indices: BTreeMap<(String, String), usize>,
    /// The targets on which the load has recorded a fault as active.
    recorded: BTreeSet<(usize, String)>,
    sink: Arc<dyn Sink>,
    /// False after the log could not be read, which is reported once.
    is_readable: bool,
}

impl InjectedFaults {
    /// Starts with the faults that are active when a load of `servers` begins, at `epoch_ns`; they begin at 0. Events go to
    /// `sink`.
    pub(super) fn begin(servers: &[(String, Location)], epoch_ns: u64, sink: Arc<dyn Sink>) -> Result<Self, Failure> {
        let registry = Registry::for_user()?;
        let running = registry.entries()?;
        let name_of =
            |address| servers.iter().find(|(_, known)| known.address() == address).map(|(name, _)| name.clone());
        let names = running.iter().filter_map(|entry| Some((entry.id.clone(), name_of(entry.address)?)));
        let mut faults = Self {
            reader: FaultLogReader::new(registry.folder()),
            open: OpenFaults::default(),
            names: names.collect(),
            epoch_ns,
            indices: BTreeMap::new(),
            recorded: BTreeSet::new(),
            sink,
            is_readable: true,
        };
        for entry in faults.read() {
            faults.open.apply(entry);
        }
        faults.open.retain_running(&running);
        faults.open.beginnings().iter().for_each(|edge| faults.record(edge));
        Ok(faults)
    }

    /// Records what begins and ends from now on. It never completes.
    pub(super) async fn watch(&mut self, world: &SharedWorld) {
        loop {
            world.sleep_until(world.now() + INTERVAL).await;
            self.look();
        }
    }

    /// Records what has begun and ended since the last look.
    pub(super) fn look(&mut self) {
        for entry in self.read() {
            let edges = self.open.apply(entry);
            edges.iter().for_each(|edge| self.record(edge));
        }
    }

    fn read(&mut self) -> Vec<FaultEntry> {
        self.reader.read().unwrap_or_else(|error| {
            if std::mem::take(&mut self.is_readable) {
                log_line(format!("cannot read which faults are injected: {error}"));
            }
            Vec::new()
        })
    }

    fn record(&mut self, edge: &FaultEdge) {
        let next = self.indices.len();
        let key = (edge.fault.command.clone(), edge.fault.kind.clone());
        let index = *self.indices.entry(key).or_insert(next);
        let target = self.names.get(&edge.target).unwrap_or(&edge.target);
        // An end of what had ended before the load began is none of its events.
        let place = (index, target.clone());
        let is_new = if edge.begins { self.recorded.insert(place) } else { self.recorded.remove(&place) };
        if !is_new {
            return;
        }
        self.sink.take(Row::Event(EventRow {
            at_us: edge.at_ns.saturating_sub(self.epoch_ns) / 1_000,
            source: Name::from("nemesis"),
            event: if edge.begins { Event::FaultStart } else { Event::FaultEnd },
            target: Some(Name::from(target.as_str())),
            cause: Some(edge.fault.kind.clone()),
            fault: Some(index),
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }));
    }
}
