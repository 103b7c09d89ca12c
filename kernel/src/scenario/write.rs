//! A scenario back to TOML: every value, in the order of the format's reference.

use super::{
    Scenario,
    read::{DURATION, NAME, QUESTION},
};
use crate::settings::{table::Settings, toml_writer::TomlWriter};

impl Scenario {
    /// Writes the resolved scenario as a file of its own: defaults are spelt out, durations and bandwidths are in their
    /// canonical form, and `"*"` has become the list of servers. Reading it gives an equal scenario.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let scenario = Scenario::load("../scenarios/crash.toml".as_ref(), &[])?;
    /// let text = scenario.to_toml();
    /// assert!(text.contains("attempt_timeout = "), "defaults are written, too");
    /// assert_eq!(Scenario::parse("again.toml", &text, &[])?, scenario);
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    pub fn to_toml(&self) -> String {
        let names = self.names();
        let mut toml = TomlWriter::default();
        NAME.write(&mut toml, &self.name);
        QUESTION.write(&mut toml, &self.question);
        DURATION.write(&mut toml, &self.duration);
        if self.services.is_empty() {
            self.servers.write(&mut toml, "servers");
        }
        for service in &self.services {
            toml.list_item("service");
            service.write_keys(&mut toml);
        }
        for edge in &self.edges {
            toml.list_item("edge");
            edge.write_keys(&mut toml);
        }
        self.workload.write(&mut toml, "workload");
        self.load.write(&mut toml, "load");
        self.network.write(&mut toml, "network");
        if let Some(tls) = &self.tls {
            tls.write(&mut toml, "tls");
        }
        self.client.write(&mut toml, "client");
        self.run.write(&mut toml, "run");
        if let Some(generator) = &self.nemesis {
            generator.write(&mut toml, "nemesis");
        }
        for fault in &self.faults {
            toml.list_item("fault");
            fault.write_keys(&mut toml, &names);
        }
        for change in &self.changes {
            toml.list_item("change");
            change.write_keys(&mut toml);
        }
        for expectation in &self.expectations {
            toml.list_item("expect");
            expectation.write_keys(&mut toml);
        }
        for slo in &self.slos {
            toml.list_item("slo");
            slo.write_keys(&mut toml);
        }
        toml.into_text()
    }
}
