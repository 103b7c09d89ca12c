//! The identity of a sweep: which runs belong together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Axis, RunRow, Seeds, Shard};
use crate::{
    cli::{RunArgs, program},
    run_folder::{CalibrationInfo, sha256},
};

/// The content of `sweep.json`: which runs the folder is for, and what a command needs that repeats one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepIdentity {
    /// World of the runs; always `sim`.
    pub world: String,
    /// Version of the program.
    pub version: String,
    /// Name of the scenario.
    pub scenario: String,
    /// SHA-256 of `scenario.toml`, in hexadecimal.
    pub scenario_sha256: String,
    /// Seeds of the whole sweep, all shards together.
    pub seeds: Seeds,
    /// Shard that the folder is for.
    pub shard: Shard,
    /// Axes that the variants are combinations of; empty if nothing is varied.
    pub vary: Vec<Axis>,
    /// Settings of every variant, each a `key=value` as `--set` takes it: the combinations of the axes' values that do
    /// not exclude each other. If nothing is varied, one variant without settings.
    pub variants: Vec<Vec<String>>,
    /// Calibration of the simulated hosts.
    pub calibration: CalibrationInfo,
    /// Command line that created the folder.
    pub origin: Origin,
}

/// The part of the command line that created a folder and that a replay repeats. It does not belong to the identity, as
/// the same runs may be started from files in other places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Path of the scenario file.
    pub scenario: String,
    /// Settings given with `--set`, each a `key=value`.
    pub overrides: Vec<String>,
    /// Path of the calibration file; null for the built-in one.
    pub calibration: Option<String>,
}

impl Origin {
    /// Returns the command that repeats the run of `seed` with `settings` alone; `world` is the program that runs it. The
    /// settings follow those of the origin, as the last one of a key applies.
    pub fn replay(&self, world: &str, seed: u64, settings: &[String]) -> String {
        let args = RunArgs {
            scenario: PathBuf::from(&self.scenario),
            seed,
            out: None,
            force: false,
            overrides: [&self.overrides, settings].concat(),
            json: false,
            report: false,
        };
        let calibration = self.calibration.iter().flat_map(|file| ["--calibration".to_owned(), file.clone()]);
        args.replay(&program(world), &calibration.collect::<Vec<_>>())
    }
}

impl SweepIdentity {
    /// Returns what the runs depend on, as text: all but the origin.
    pub(super) fn text(&self) -> String {
        let Self { world, version, scenario, scenario_sha256, seeds, shard, vary, variants, calibration, origin: _ } =
            self;
        let parts = (world, version, scenario, scenario_sha256, seeds, shard, vary, variants, calibration);
        serde_json::to_string(&parts).expect("plain data is always written")
    }

    /// Returns the number of runs of the shard.
    pub fn runs(&self) -> u64 {
        self.shard.count(self.seeds).saturating_mul(self.variants.len() as u64)
    }

    /// Returns true if `row` is of one of the runs.
    pub fn contains(&self, row: &RunRow) -> bool {
        let index = row.seed.checked_sub(self.seeds.start).filter(|index| *index < self.seeds.count());
        index.is_some_and(|index| self.shard.contains(index))
            && self.variants.get(row.variant).is_some_and(|settings| *settings == row.settings)
    }

    /// Returns the command that repeats the run of `row` alone.
    pub fn replay(&self, row: &RunRow) -> String {
        self.origin.replay(&self.world, row.seed, &row.settings)
    }

    /// Returns the first difference to the `wanted` runs, in words; `None` if they are the same.
    pub fn difference(&self, wanted: &Self) -> Option<String> {
        named_difference("scenario", &self.scenario, &wanted.scenario)
            .or_else(|| named_difference("world", &self.world, &wanted.world))
            .or_else(|| named_difference("range of seeds", &self.seeds.to_string(), &wanted.seeds.to_string()))
            .or_else(|| named_difference("shard", &self.shard.to_string(), &wanted.shard.to_string()))
            .or_else(|| named_difference("variation", &self.variation(), &wanted.variation()))
            .or_else(|| named_difference("calibration", &self.calibration.name, &wanted.calibration.name))
            .or_else(|| named_difference("program's version", &self.version, &wanted.version))
            // What follows has no short name to show, or had the same one.
            .or_else(|| difference("scenario, or a --set,", self.scenario_sha256 == wanted.scenario_sha256))
            .or_else(|| difference("calibration", self.calibration == wanted.calibration))
            .or_else(|| difference("choice of variants", self.variants == wanted.variants))
    }

    /// Returns the folder that a sweep is written to unless the command line names one. What is varied becomes part of the
    /// name as a fingerprint.
    pub fn default_place(&self) -> PathBuf {
        let Seeds { start, end } = self.seeds;
        let mut name = format!("{}-seeds{start}-{end}", self.world);
        if !self.vary.is_empty() {
            let varied = serde_json::to_string(&self.vary).expect("plain data is always written");
            name += &format!("-vary-{}", &sha256(varied.as_bytes())[..8]);
        }
        if self.shard != Shard::WHOLE {
            name += &format!("-shard{}of{}", self.shard.number, self.shard.of);
        }
        Path::new("runs").join(&self.scenario).join(name)
    }

    /// Returns the varied settings, as on the command line.
    fn variation(&self) -> String {
        let axes: Vec<_> =
            self.vary.iter().map(|axis| format!("--vary {}={}", axis.key, axis.values.join(","))).collect();
        if axes.is_empty() { "nothing".to_owned() } else { axes.join(" ") }
    }
}

/// Returns the sentence that says how `what` differs; `None` if it does not.
fn named_difference(what: &str, found: &str, wanted: &str) -> Option<String> {
    (found != wanted).then(|| format!("its {what} is {found}, not {wanted}"))
}

/// Returns the sentence that says that `what` differs; `None` if it is `same`.
fn difference(what: &str, same: bool) -> Option<String> {
    (!same).then(|| format!("its {what} is not the same"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::sweep::sample::{identity, row};

    #[test]
    fn the_first_difference_between_two_sweeps_is_named() {
        let others = [
            (SweepIdentity { scenario: "long".to_owned(), ..identity() }, "its scenario is short, not long"),
            (
                SweepIdentity { seeds: Seeds { start: 0, end: 20 }, ..identity() },
                "its range of seeds is 0..10, not 0..20",
            ),
            (SweepIdentity { shard: Shard { number: 2, of: 3 }, ..identity() }, "its shard is 1/1, not 2/3"),
            (
                SweepIdentity { vary: vec!["a=1,2".parse().unwrap()], ..identity() },
                "its variation is nothing, not --vary a=1,2",
            ),
            (SweepIdentity { version: "2".to_owned(), ..identity() }, "its program's version is 1, not 2"),
            (
                SweepIdentity { scenario_sha256: "f".to_owned(), ..identity() },
                "its scenario, or a --set, is not the same",
            ),
        ];
        for (other, difference) in others {
            assert_eq!(identity().difference(&other).as_deref(), Some(difference));
        }
        let calibration = CalibrationInfo { sha256: "f".to_owned(), ..identity().calibration };
        let recalibrated = SweepIdentity { calibration, ..identity() };
        assert_eq!(identity().difference(&recalibrated).as_deref(), Some("its calibration is not the same"));
    }

    #[test]
    fn sweeps_started_from_other_places_are_the_same() {
        let origin = Origin { scenario: "/elsewhere/short.toml".to_owned(), ..identity().origin };
        assert_eq!(identity().difference(&SweepIdentity { origin, ..identity() }), None);
    }

    #[test]
    fn a_replay_has_the_settings_of_the_variant_after_the_overrides() {
        let origin = Origin {
            scenario: "my stories/short.toml".to_owned(),
            overrides: vec!["load.rate=2".to_owned()],
            calibration: Some("here.toml".to_owned()),
        };
        let variants = vec![vec!["client.hedging=off".to_owned()]];
        let identity = SweepIdentity { origin, variants, ..identity() };
        assert_eq!(
            identity.replay(&row(&identity, 0, 7)),
            "sim 'my stories/short.toml' --seed 7 --set load.rate=2 --set client.hedging=off --calibration here.toml"
        );
    }

    #[test]
    fn runs_of_other_seeds_shards_or_settings_are_not_contained() {
        let shard = SweepIdentity { shard: Shard { number: 2, of: 3 }, ..identity() };
        let seeds: Vec<u64> = (0..20).filter(|&seed| shard.contains(&row(&shard, 0, seed))).collect();
        assert_eq!(seeds, [1, 4, 7]);
        assert_eq!(shard.runs(), 3);
        let other = RunRow { settings: vec!["a=1".to_owned()], ..row(&shard, 0, 1) };
        assert!(!shard.contains(&other) && !shard.contains(&RunRow { variant: 1, ..row(&shard, 0, 1) }));
    }
}
