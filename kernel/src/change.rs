//! The player of the changes of a scenario, which [`scenario`](crate::scenario) declares: those of the client and of its load. The
//! [`nemesis`](crate::nemesis) plays those of servers and links.

use crate::{
    client::Client,
    record::{Event, Recorder},
    scenario::{Change, ChangeTarget, Epoch, Scenario},
    time::Instant,
    world::SharedWorld,
};

/// The source of events about changes.
pub const OPERATOR: &str = "operator";

/// Returns the changes of `scenario` whose targets are wanted, with the settings from then on, in order of time.
pub(crate) fn changes_of(scenario: &Scenario, is_wanted: impl Fn(ChangeTarget) -> bool) -> Vec<Epoch> {
    let mut epochs = scenario.epochs();
    epochs.retain(|epoch| epoch.change.as_ref().is_some_and(|change| is_wanted(change.target())));
    epochs
}

/// Records that `change` is in force from now on.
pub fn record_change(recorder: &Recorder, change: &Change) {
    recorder.event(Event::SettingChanged).cause(change.description()).record();
}

/// Starts a task on the host of a client that changes its settings, each at its time, and that records the changes of the client and of
/// the load, whose schedule has them. A scenario without such changes starts none.
pub fn start_changes(world: &SharedWorld, recorder: &Recorder, client: &Client, scenario: &Scenario) {
    let changes = changes_of(scenario, |target| matches!(target, ChangeTarget::Client | ChangeTarget::Load));
    if changes.is_empty() {
        return;
    }
    let host = world.clone();
    let client = client.clone();
    let recorder = recorder.with_source(world.clone(), OPERATOR);
    world.spawn(Box::pin(async move {
        for Epoch { at, change, settings } in changes {
            host.sleep_until(Instant::START + at).await;
            let Some(change) = change else { continue };
            record_change(&recorder, &change);
            if change.target() == ChangeTarget::Client {
                client.change(&settings.client);
            }
        }
    }));
}
