//! A campaign: runs of several scenarios in both worlds, below one folder, to tell how far the worlds are apart.
//!
//! `real fidelity` writes it and `reports fidelity` reads it. The folder holds [`MANIFEST`], a copy of the
//! [`CALIBRATION`], and the run folders at [`place`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::{CalibrationInfo, HostInfo};

/// Says what the campaign is made of.
pub const MANIFEST: &str = "manifest.json";

/// What its simulated runs went by.
pub const CALIBRATION: &str = "calibration.toml";

/// Raised when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// The worlds, in the order in which each seed is played.
pub const WORLDS: [&str; 2] = ["sim", "real"];

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this file.
    pub schema: u32,
    /// The version of the programs that played it.
    pub version: String,
    /// `debug` or `release`: how the programs were built, on which real times depend.
    pub profile: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// The machine, when it began.
    pub host: HostInfo,
    /// Frozen before the first run.
    pub calibration: CalibrationInfo,
    /// Runs of each scenario in each world, with seeds from 0.
    pub runs: u64,
    /// In the order in which they were named.
    pub scenarios: Vec<Part>,
}

/// One scenario of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The scenario's name, and that of its folder.
    pub name: String,
    /// SHA-256 of its `scenario.toml`, in hexadecimal.
    pub sha256: String,
    /// If it is a scenario at another rate, its name and the rate in requests per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
}

/// A scenario at a rate of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// The scenario that it is of.
    pub of: String,
    /// Requests per second.
    pub rate: f64,
}

/// Where the run of `scenario` in `world` with `seed` is, below the campaign's folder.
pub fn place(campaign: &Path, scenario: &str, world: &str, seed: u64) -> PathBuf {
    campaign.join(scenario).join(format!("{world}-seed{seed}"))
}
