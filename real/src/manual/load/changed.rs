//! The settings that `real set` changes while a load runs.

use std::time::Duration;

use kernel::{
    cli::Failure,
    scenario::{ChangeTarget, Scenario},
    world::SharedWorld,
};

use super::super::{log::log_line, registry::Registry, settings_log::SettingsLogReader};
use crate::caller::Caller;

/// Time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(100);

/// Follows the settings of the client of a load.
pub(super) struct ChangedSettings {
    reader: SettingsLogReader,
    /// The scenario of the load, with the settings that it has now.
    scenario: Scenario,
}

impl ChangedSettings {
    /// Follows what changes from now on.
    pub(super) fn begin(scenario: &Scenario) -> Result<Self, Failure> {
        if scenario
            .changes
            .iter()
            .any(|change| matches!(change.target(), ChangeTarget::Servers | ChangeTarget::Network))
        {
            log_line(
                "the changes of servers and links in the scenario are not played: servers are changed by `real set`",
            );
        }
        let reader = SettingsLogReader::from_now_on(Registry::for_user()?.folder());
        Ok(Self { reader, scenario: scenario.clone() })
    }

    /// Gives the client of `caller` what changes. It never completes.
    pub(super) async fn watch(&mut self, caller: &Caller, world: &SharedWorld) {
        loop {
            world.sleep_until(world.now() + INTERVAL).await;
            for entry in self.reader.read() {
                match self.scenario.with_setting(&entry.setting, &entry.to) {
                    Ok((scenario, change)) => {
                        log_line(format!("operator: {}", change.description()));
                        caller.change(&scenario.client, &change);
                        self.scenario = scenario;
                    }
                    Err(reason) => log_line(format!("operator: not changed: {reason}")),
                }
            }
        }
    }
}
