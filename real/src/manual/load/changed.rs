//! The settings that change while a load runs: by `real set`, and by the [[change]] of its scenario.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use kernel::{
    change::OPERATOR,
    cli::Failure,
    record::{Event, EventRow, Name, Row, Sink},
    scenario::{Change, ChangeTarget, Scenario},
    time::Instant,
    world::SharedWorld,
};

use super::super::{
    log::log_line,
    registry::Registry,
    running_load::OwnLoad,
    settings_log::{SettingEntry, SettingNews, SettingsLogReader},
};
use crate::caller::Caller;

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(100);

/// Follows the settings of a load, and those of its servers for the record.
pub(super) struct ChangedSettings {
    reader: SettingsLogReader,
    /// The scenario of the load, with the settings that it has now.
    settings: Scenario,
    /// The scenario of the load with all changes so far, and those of the file that have not come yet.
    whole: Scenario,
    /// The changes of the file that have not come yet, in order of time.
    scripted: VecDeque<Change>,
    own: OwnLoad,
    /// The start of the load, in nanoseconds since the machine started.
    epoch_ns: u64,
    sink: Arc<dyn Sink>,
}

impl ChangedSettings {
    /// Follows what changes from now on in a load that began at `epoch_ns`. Events of servers go to `sink`.
    pub(super) fn begin(scenario: &Scenario, epoch_ns: u64, sink: Arc<dyn Sink>) -> Result<Self, Failure> {
        let is_of_servers = |change: &Change| change.target() == ChangeTarget::Servers;
        if scenario.changes.iter().any(is_of_servers) {
            log_line("the changes of servers in the scenario are not played: servers are changed by `real set`");
        }
        let mut scripted: Vec<_> = scenario.changes.iter().filter(|change| !is_of_servers(change)).cloned().collect();
        scripted.sort_by_key(|change| change.at);
        let folder = Registry::for_user()?.folder().to_owned();
        let reader = SettingsLogReader::from_now_on(&folder);
        // Only now: what is sent from now on is read.
        let own = OwnLoad::begin(&folder, scenario).map_err(Failure::run_failed)?;
        Ok(Self {
            reader,
            settings: scenario.clone(),
            whole: scenario.clone(),
            scripted: scripted.into(),
            own,
            epoch_ns,
            sink,
        })
    }

    /// Gives `caller` what changes. It never completes.
    pub(super) async fn watch(&mut self, caller: &Caller, world: &SharedWorld) {
        loop {
            let next = self.scripted.front().map_or(Instant::NEVER, |change| Instant::START + change.at);
            world.sleep_until(next.min(world.now() + INTERVAL)).await;
            self.look(caller, world.now());
        }
    }

    /// Gives `caller` what has changed since the last look.
    pub(super) fn look(&mut self, caller: &Caller, now: Instant) {
        while let Some(change) = self.scripted.pop_front_if(|change| Instant::START + change.at <= now) {
            self.change(caller, &change.setting, &change.to, None);
        }
        for SettingEntry { at_ns, news } in self.reader.read() {
            match news {
                SettingNews::Change { setting, to } => self.change(caller, &setting, &to, Some(now)),
                SettingNews::Changed { targets, description } => self.record(at_ns, &targets, description),
            }
        }
    }

    /// Gives a setting another value; by hand if it is at a time that the scenario does not know.
    fn change(&mut self, caller: &Caller, setting: &str, to: &str, by_hand: Option<Instant>) {
        let (settings, change) = match self.settings.with_setting(setting, to) {
            Ok(changed) => changed,
            Err(reason) => return log_line(format!("operator: not changed: {reason}")),
        };
        log_line(format!("operator: {}", change.description()));
        if let Some(now) = by_hand.filter(|_| change.target() == ChangeTarget::Load) {
            // Two values at one time would have no order.
            let last = self.whole.changes.iter().map(|change| change.at).filter(|at| Instant::START + *at <= now).max();
            let at = now.since(Instant::START).max(last.map_or(Duration::ZERO, |at| at + Duration::from_micros(1)));
            self.whole.changes.push(Change { at, ..change.clone() });
        }
        caller.change(&settings, self.whole.offered_load(), &change);
        self.settings = settings;
        if let Err(error) = self.own.update(&self.settings) {
            log_line(format!("operator: cannot say that it has changed: {error}"));
        }
    }

    /// Records what has changed in servers or proxies.
    fn record(&self, at_ns: u64, targets: &[String], description: String) {
        log_line(format!("operator: {}: {description}", targets.join(", ")));
        let target = match targets {
            [one] => Some(Name::from(one.as_str())),
            _ => None,
        };
        self.sink.take(Row::Event(EventRow {
            at_us: at_ns.saturating_sub(self.epoch_ns) / 1_000,
            source: Name::from(OPERATOR),
            event: Event::SettingChanged,
            target,
            cause: Some(description),
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }));
    }
}
