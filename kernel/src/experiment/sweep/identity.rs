//! Which runs belong together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Axis, RunRow, Seeds, Shard};
use crate::{
    cli::RunArgs,
    run_folder::{CalibrationInfo, sha256},
};

/// The content of `sweep.json`: which runs the folder is for, and how one of them is played alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// `sim`.
    pub world: String,
    /// Of the program.
    pub version: String,
    /// The scenario's name.
    pub scenario: String,
    /// SHA-256 of `scenario.toml`, in hexadecimal.
    pub scenario_sha256: String,
    pub seeds: Seeds,
    pub shard: Shard,
    /// What is varied.
    pub vary: Vec<Axis>,
    /// The settings of every variant, each a `key=value` as `--set` takes it: the combinations of what is varied that do
    /// not exclude each other. Where nothing is varied, one variant without settings.
    pub variants: Vec<Vec<String>>,
    pub calibration: CalibrationInfo,
    pub origin: Origin,
}

/// What the command line said that began the folder. The same runs may be begun from files in other places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The scenario file.
    pub scenario: String,
    /// Each a `key=value` of a `--set`.
    pub overrides: Vec<String>,
    /// The file of the calibration; null for the built-in one.
    pub calibration: Option<String>,
}

impl Identity {
    /// How many runs there are to be.
    pub fn runs(&self) -> u64 {
        self.shard.count(self.seeds).saturating_mul(self.variants.len() as u64)
    }

    /// Whether `row` is of one of them.
    pub fn holds(&self, row: &RunRow) -> bool {
        let index = row.seed.checked_sub(self.seeds.start).filter(|index| *index < self.seeds.count());
        index.is_some_and(|index| self.shard.holds(index))
            && self.variants.get(row.variant).is_some_and(|settings| *settings == row.settings)
    }

    /// The command that plays the run of `row` alone.
    pub fn replay(&self, row: &RunRow) -> String {
        let Origin { scenario, overrides, calibration } = &self.origin;
        let args = RunArgs {
            scenario: PathBuf::from(scenario),
            seed: row.seed,
            out: None,
            overrides: overrides.iter().chain(&row.settings).cloned().collect(),
            json: false,
        };
        let calibration = calibration.iter().flat_map(|file| ["--calibration".to_owned(), file.clone()]);
        args.replay(&format!("cargo run -p {} --", self.world), &calibration.collect::<Vec<_>>())
    }

    /// The first thing by which these are not the `wanted` runs, in words; `None` if they are the same.
    pub fn difference(&self, wanted: &Self) -> Option<String> {
        let differs = |what: &str, found: &str, wanted: &str| {
            (found != wanted).then(|| format!("its {what} is {found}, not {wanted}"))
        };
        let changed = |what: &str, same: bool| (!same).then(|| format!("its {what} is not the same"));
        differs("scenario", &self.scenario, &wanted.scenario)
            .or_else(|| differs("world", &self.world, &wanted.world))
            .or_else(|| differs("range of seeds", &self.seeds.to_string(), &wanted.seeds.to_string()))
            .or_else(|| differs("shard", &self.shard.to_string(), &wanted.shard.to_string()))
            .or_else(|| differs("variation", &self.variation(), &wanted.variation()))
            .or_else(|| differs("calibration", &self.calibration.name, &wanted.calibration.name))
            .or_else(|| differs("program's version", &self.version, &wanted.version))
            .or_else(|| changed("scenario, or a --set,", self.scenario_sha256 == wanted.scenario_sha256))
            .or_else(|| changed("calibration", self.calibration == wanted.calibration))
            .or_else(|| changed("choice of variants", self.variants == wanted.variants))
    }

    /// Where the runs are put unless it is said otherwise. What is varied has a name by its fingerprint.
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

    fn variation(&self) -> String {
        let axes: Vec<_> =
            self.vary.iter().map(|axis| format!("--vary {}={}", axis.key, axis.values.join(","))).collect();
        if axes.is_empty() { "nothing".to_owned() } else { axes.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::sweep::sample::{identity, row};

    #[test]
    fn runs_are_told_apart_by_what_is_different() {
        let others = [
            (Identity { scenario: "long".to_owned(), ..identity() }, "its scenario is short, not long"),
            (Identity { seeds: Seeds { start: 0, end: 20 }, ..identity() }, "its range of seeds is 0..10, not 0..20"),
            (Identity { shard: Shard { number: 2, of: 3 }, ..identity() }, "its shard is 1/1, not 2/3"),
            (
                Identity { vary: vec!["a=1,2".parse().unwrap()], ..identity() },
                "its variation is nothing, not --vary a=1,2",
            ),
            (Identity { version: "2".to_owned(), ..identity() }, "its program's version is 1, not 2"),
            (Identity { scenario_sha256: "f".to_owned(), ..identity() }, "its scenario, or a --set, is not the same"),
        ];
        for (other, difference) in others {
            assert_eq!(identity().difference(&other).as_deref(), Some(difference));
        }
        let calibration = CalibrationInfo { sha256: "f".to_owned(), ..identity().calibration };
        let recalibrated = Identity { calibration, ..identity() };
        assert_eq!(identity().difference(&recalibrated).as_deref(), Some("its calibration is not the same"));
    }

    #[test]
    fn the_same_runs_may_be_begun_from_other_places() {
        let origin = Origin { scenario: "/elsewhere/short.toml".to_owned(), ..identity().origin };
        assert_eq!(identity().difference(&Identity { origin, ..identity() }), None);
    }

    #[test]
    fn a_run_is_replayed_with_its_settings_behind_those_of_all() {
        let origin = Origin {
            scenario: "my stories/short.toml".to_owned(),
            overrides: vec!["load.rate=2".to_owned()],
            calibration: Some("here.toml".to_owned()),
        };
        let variants = vec![vec!["client.hedging=off".to_owned()]];
        let identity = Identity { origin, variants, ..identity() };
        assert_eq!(
            identity.replay(&row(&identity, 0, 7)),
            "cargo run -p sim -- 'my stories/short.toml' --seed 7 --set load.rate=2 --set client.hedging=off --calibration here.toml"
        );
    }

    #[test]
    fn runs_of_other_seeds_shards_and_settings_do_not_belong() {
        let shard = Identity { shard: Shard { number: 2, of: 3 }, ..identity() };
        let seeds: Vec<u64> = (0..20).filter(|&seed| shard.holds(&row(&shard, 0, seed))).collect();
        assert_eq!(seeds, [1, 4, 7]);
        assert_eq!(shard.runs(), 3);
        let other = RunRow { settings: vec!["a=1".to_owned()], ..row(&shard, 0, 1) };
        assert!(!shard.holds(&other) && !shard.holds(&RunRow { variant: 1, ..row(&shard, 0, 1) }));
    }
}
