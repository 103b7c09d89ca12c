//! The faults that are active on the link and in the server of a process.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex},
};

use kernel::{
    link::{Link, LinkEffect, LinkShape, Selection},
    scenario::{ChangeTarget, Network, Scenario},
    server::{Injection, Injector, Tuning},
    sync::lock,
    tls::Presented,
};

use crate::export::Exporter;

use super::{
    fault_log::{Change, FaultLog, InjectedFaultId},
    log::log_line,
};

/// The start of a scenario with which a server's settings are read as those of a scenario are.
const SERVER: &str = "name = \"server\"\nduration = \"1s\"\nload = { rate = 1 }\n";

/// The active faults, with the link and the server that they apply to.
pub(super) struct ActiveFaults {
    link: Arc<Link>,
    /// `None` for a proxy.
    injector: Option<Arc<Injector>>,
    /// The server's connections have TLS.
    is_encrypted: bool,
    state: Mutex<FaultState>,
    /// `None` in tests.
    log: Option<FaultLog>,
    exporter: Option<Exporter>,
}

#[derive(Default)]
struct FaultState {
    /// The network of a proxy's link, beside its faults.
    network: Network,
    /// Faults by kind and by the connection that holds them; `None` for faults that stay.
    faults: BTreeMap<(String, Option<u64>), NumberedFault>,
    /// Number of connections accepted so far.
    connections: u64,
    /// Number of faults that have begun.
    begun: u64,
}

/// A fault, with its number among those that have begun.
struct NumberedFault {
    number: u64,
    fault: ActiveFault,
}

/// A fault that is active.
pub(super) struct ActiveFault {
    /// Effect on the link.
    pub(super) effect: LinkEffect,
    /// Effect on the server.
    pub(super) injection: Injection,
    /// The kind and the parameters of the fault, for logs.
    pub(super) id: InjectedFaultId,
}

impl ActiveFaults {
    /// No faults yet on `link` and in the server of `injector`. What begins and ends is added to `log`.
    pub(super) fn new(link: Arc<Link>, injector: Option<Arc<Injector>>, log: Option<FaultLog>) -> Self {
        Self { link, injector, is_encrypted: false, state: Mutex::default(), log, exporter: None }
    }

    /// The same faults, of a server whose connections have TLS or not.
    pub(super) fn encrypted(self, is_encrypted: bool) -> Self {
        Self { is_encrypted, ..self }
    }

    /// The same faults, which `exporter` exports, if there is one.
    pub(super) fn exported_by(self, exporter: Option<Exporter>) -> Self {
        Self { exporter, ..self }
    }

    /// Name of the server or proxy.
    pub(super) fn server(&self) -> &str {
        self.link.server()
    }

    /// Gives settings of the server, or of a proxy's link, other values, unless they should only be checked, and describes the changes. Fails
    /// with the reason if one of them is refused; then none changes.
    pub(super) fn set(&self, settings: &[(String, String)], only_check: bool) -> Result<Vec<String>, String> {
        let mut state = lock(&self.state);
        let mut scenario = Scenario::parse("the server", SERVER, &[]).map_err(|error| error.to_string())?;
        scenario.network = state.network;
        if let Some(injector) = &self.injector {
            injector.tuning().ok_or("it has yet to serve")?.write_to(&mut scenario.servers);
        }
        let mut changes = Vec::new();
        for (setting, to) in settings {
            let (after, change) = scenario.with_setting(setting, to)?;
            match (change.target(), &self.injector) {
                (ChangeTarget::Servers, Some(_)) | (ChangeTarget::Network, None) => {}
                (_, Some(_)) => return Err(format!("`{setting}` is no setting of a server")),
                (_, None) => return Err(format!("`{setting}` is no setting of a proxy, which has those of [network]")),
            }
            changes.push(change.description());
            scenario = after;
        }
        if only_check {
            return Ok(changes);
        }
        if let Some(injector) = &self.injector {
            injector.tune(Tuning::new(&scenario.servers));
        } else {
            state.network = scenario.network;
            self.apply(&state);
        }
        Ok(changes)
    }

    /// Returns why the server cannot have this fault, if it cannot.
    pub(super) fn refusal(&self, injection: &Injection) -> Option<&'static str> {
        let is_wrong = injection.presented != Presented::Valid && !self.is_encrypted;
        is_wrong.then_some("its connections are not encrypted; start it with --tls-cert and --tls-key")
    }

    /// Number of a new connection, which can hold faults.
    pub(super) fn new_connection(&self) -> u64 {
        self.change(|state| {
            state.connections += 1;
            state.connections
        })
    }

    /// Number of active faults.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).faults.len()
    }

    /// True if `connection` holds a fault.
    pub(super) fn is_held_by(&self, connection: u64) -> bool {
        lock(&self.state).faults.keys().any(|(_, holder)| *holder == Some(connection))
    }

    /// Ends the faults that `connection` holds, and returns their descriptions.
    pub(super) fn end_connection(&self, connection: u64) -> Vec<String> {
        self.change(|state| {
            let (ended, active) =
                mem::take(&mut state.faults).into_iter().partition(|((_, holder), _)| *holder == Some(connection));
            state.faults = active;
            let ended: BTreeMap<_, NumberedFault> = ended;
            self.ended(ended.into_values())
        })
    }

    /// Adds to the log that these faults have ended, and returns their descriptions.
    fn ended(&self, faults: impl Iterator<Item = NumberedFault>) -> Vec<String> {
        faults
            .map(|NumberedFault { fault, .. }| {
                self.note(Change::Ends(fault.id.clone()));
                fault.id.text
            })
            .collect()
    }

    /// Exports which kinds of faults are active, and which one has begun.
    fn export(&self, state: &FaultState, begins: Option<&str>) {
        if let Some(exporter) = &self.exporter {
            let active: Vec<_> = state.faults.values().map(|numbered| &*numbered.fault.id.kind).collect();
            exporter.note(|observer| observer.set_faults(self.server(), &active, begins));
        }
    }

    fn note(&self, change: Change) {
        // The fault has its effect whether or not others learn of it.
        if let Some(Err(error)) = self.log.as_ref().map(|log| log.add(change)) {
            log_line(format!("{}: cannot log the fault: {error}", self.server()));
        }
    }

    /// Adds a fault, in place of the one of its kind and holder. Returns the descriptions of the faults before.
    pub(super) fn add(&self, kind: String, holder: Option<u64>, fault: ActiveFault) -> Vec<String> {
        self.change(|state| {
            let before = state.texts();
            let begins = Change::Begins(fault.id.clone());
            let exported = self.exporter.is_some().then(|| fault.id.kind.clone());
            state.begun += 1;
            let replaced = state.faults.insert((kind, holder), NumberedFault { number: state.begun, fault });
            self.ended(replaced.into_iter());
            self.note(begins);
            self.export(state, exported.as_deref());
            before
        })
    }

    /// Ends the fault of this kind that has no holder, if there is one.
    pub(super) fn end(&self, kind: &str) {
        self.change(|state| {
            let ended = state.faults.remove(&(kind.to_owned(), None));
            self.ended(ended.into_iter());
        });
    }

    /// True if there is a fault of this kind without a holder.
    pub(super) fn has(&self, kind: &str) -> bool {
        lock(&self.state).faults.contains_key(&(kind.to_owned(), None))
    }

    /// The link that they apply to.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Resets the open connections that are selected, and returns the descriptions of the faults, which stay.
    pub(super) fn reset_connections(&self, connections: Selection) -> Vec<String> {
        self.change(|state| {
            state.begun += 1;
            self.link.reset_some(state.begun, connections);
            state.texts()
        })
    }

    /// Ends all faults, and returns their descriptions.
    pub(super) fn clear(&self) -> Vec<String> {
        self.change(|state| self.ended(mem::take(&mut state.faults).into_values()))
    }

    /// Changes the faults, and applies the combination of all to the link and the server.
    fn change<T>(&self, change: impl FnOnce(&mut FaultState) -> T) -> T {
        let mut state = lock(&self.state);
        let changed = change(&mut state);
        self.apply(&state);
        changed
    }

    /// Applies the combination of the network and all faults to the link and the server. The caller holds the lock: without it, the earlier
    /// of two concurrent changes could be applied last.
    fn apply(&self, state: &FaultState) {
        let mut shape = LinkShape::from(state.network.shape());
        let mut injection = Injection::default();
        for NumberedFault { number, fault } in state.faults.values() {
            shape.add(*number, fault.effect);
            injection = injection.and(&fault.injection);
        }
        self.export(state, None);
        self.link.set_shape(shape);
        if let Some(injector) = &self.injector {
            injector.set(injection);
        }
    }
}

impl FaultState {
    fn texts(&self) -> Vec<String> {
        self.faults.values().map(|numbered| numbered.fault.id.text.clone()).collect()
    }
}
