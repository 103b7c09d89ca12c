//! A campaign: runs of several scenarios in both worlds, below one folder, to measure how far apart the worlds are.
//!
//! `real fidelity` writes it and `reports fidelity` reads it. The folder holds [`MANIFEST`], a copy of the
//! [`CALIBRATION`], and the run folders at [`run_place`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::info::{CalibrationInfo, HostInfo};

/// Name of the file with the [`CampaignManifest`].
pub const MANIFEST: &str = "manifest.json";

/// Name of the file with the calibration of the simulated runs.
pub const CALIBRATION: &str = "calibration.toml";

/// The version of the format of the manifest, raised when a field changes its meaning or is removed.
pub const SCHEMA: u32 = 1;

/// The worlds, in the order in which each seed is run.
pub const WORLDS: [&str; 2] = ["sim", "real"];

/// The content of `manifest.json`: the scenarios of a campaign, and how they were run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignManifest {
    /// The version of the format: [`SCHEMA`].
    pub schema: u32,
    /// The version of the programs that ran it.
    pub version: String,
    /// The profile that the programs were built with, on which real times depend: `debug` or `release`.
    pub profile: String,
    /// The time at which it began: RFC 3339, UTC.
    pub started: String,
    /// The machine, when it began.
    pub host: HostInfo,
    /// The model of the machine's processors, as `/proc/cpuinfo` names it; `None` if it does not, and in a manifest of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
    /// The calibration of all simulated runs, fixed before the first of them; `None` while it is measured among the real runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationInfo>,
    /// Number of runs of each scenario in each world, with seeds from 0.
    pub runs: u64,
    /// The scenarios in the order in which they were given.
    pub scenarios: Vec<CampaignScenario>,
    /// Mechanisms of the calibration; further simulated runs of each scenario leave one of them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl CampaignManifest {
    /// Returns the machine in a few words, such as `Linux 6.8.0, 2 cores, AMD EPYC 7763`.
    pub fn machine(&self) -> String {
        let HostInfo { operating_system, cores, .. } = &self.host;
        let processor = self.processor.as_deref().map_or(String::new(), |processor| format!(", {processor}"));
        format!("{operating_system}, {cores} cores{processor}")
    }

    /// Returns true if both began on machines of the same operating system, number of cores and processors, as far as both know them.
    /// Load averages are not compared.
    pub fn is_same_machine(&self, other: &Self) -> bool {
        let facts = |of: &Self| (of.host.operating_system.clone(), of.host.cores);
        let same_processor = match (&self.processor, &other.processor) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        facts(self) == facts(other) && same_processor
    }
}

/// A scenario of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignScenario {
    /// The scenario's name, and that of its folder.
    pub name: String,
    /// SHA-256 of its `scenario.toml`, in hexadecimal.
    pub sha256: String,
    /// The scenario and the rate that it was derived from, if it is a scenario at another rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<RateVariant>,
}

/// A scenario at a rate of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateVariant {
    /// The name of the scenario that it was derived from.
    pub of: String,
    /// Requests per second.
    pub rate: f64,
}

/// A mechanism that some simulated runs leave out of the calibration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, as in a command line.
    pub mechanism: String,
    /// A description of the mechanism, such as `late timers`.
    pub meaning: String,
    /// SHA-256 of the calibration without it, in hexadecimal.
    pub sha256: String,
}

impl LeftOut {
    /// Returns the name of the file with the calibration without it, in the folder of the campaign.
    pub fn calibration(&self) -> String {
        format!("calibration-without-{}.toml", self.mechanism)
    }

    /// Returns what takes the place of the world in the names of the folders of its runs.
    pub fn world(&self) -> String {
        format!("sim-without-{}", self.mechanism)
    }
}

/// Returns where the run of `scenario` in `world` with `seed` is, below the campaign's folder.
pub fn run_place(campaign: &Path, scenario: &str, world: &str, seed: u64) -> PathBuf {
    campaign.join(scenario).join(format!("{world}-seed{seed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(operating_system: &str, cores: usize, processor: Option<&str>, load: f64) -> CampaignManifest {
        CampaignManifest {
            schema: SCHEMA,
            version: String::new(),
            profile: String::new(),
            started: String::new(),
            host: HostInfo {
                operating_system: operating_system.to_owned(),
                cores,
                load_average: Some([load, load, load]),
            },
            processor: processor.map(str::to_owned),
            calibration: None,
            runs: 2,
            scenarios: Vec::new(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn machines_are_the_same_as_far_as_they_are_known() {
        let here = manifest("Linux 6", 2, Some("AMD EPYC"), 0.1);
        assert_eq!(here.machine(), "Linux 6, 2 cores, AMD EPYC");
        assert!(here.is_same_machine(&manifest("Linux 6", 2, Some("AMD EPYC"), 5.0)));
        assert!(here.is_same_machine(&manifest("Linux 6", 2, None, 0.1)));
        for other in [
            manifest("Linux 7", 2, Some("AMD EPYC"), 0.1),
            manifest("Linux 6", 4, None, 0.1),
            manifest("Linux 6", 2, Some("another"), 0.1),
        ] {
            assert!(!here.is_same_machine(&other), "{}", other.machine());
        }
    }

    /// A manifest that was written before the processors were noted.
    #[test]
    fn a_manifest_without_processors_is_read_and_written_as_it_was() {
        let old = manifest("Linux 6", 2, None, 0.1);
        let text = serde_json::to_string(&old).unwrap();
        assert!(!text.contains("processor") && !text.contains("left_out"), "{text}");
        assert_eq!(serde_json::from_str::<CampaignManifest>(&text).unwrap(), old);
    }
}
