//! Merging of shards into the sweep that they are parts of.

use std::path::{Path, PathBuf};

use super::{RunRow, Shard, SweepIdentity, SweepRecord};
use crate::visible::Visible;

/// Most missing shards that a message names.
const NAMED_MAX: usize = 5;

/// Reason why folders are not the shards of one sweep.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There are no folders.
    #[error("there is nothing to put together; name the folders of all shards")]
    Nothing,
    /// A folder has all seeds.
    #[error("{path} is no shard, but has all seeds already; `reports {path}` reports it", path = path.visible())]
    Whole {
        /// The folder.
        path: PathBuf,
    },
    /// A folder is of another sweep than the first one.
    #[error("{path} is no shard of the same runs as {first}: {difference}", difference = difference.visible(), path = path.visible(), first = first.visible())]
    OtherRuns {
        /// The folder.
        path: PathBuf,
        /// The first folder.
        first: PathBuf,
        /// The difference, in words.
        difference: String,
    },
    /// Two folders are of the same shard.
    #[error("{path} and {other} are both shard {shard}; name one of them", path = path.visible(), other = other.visible())]
    Twice {
        /// The later folder.
        path: PathBuf,
        /// The earlier folder.
        other: PathBuf,
        /// Shard of both.
        shard: Shard,
    },
    /// There are shards without a folder.
    #[error("{}; name the folders of all {of} shards, and play what is missing with --shard {first}/{of}", missing(numbers, *of), first = numbers[0])]
    Missing {
        /// Numbers of the missing shards, ascending, at least one.
        numbers: Vec<u64>,
        /// Number of all shards.
        of: u64,
    },
}

fn missing(numbers: &[u64], of: u64) -> String {
    let named: Vec<String> = numbers.iter().take(NAMED_MAX).map(|number| format!("{number}/{of}")).collect();
    let more = match numbers.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match numbers {
        [one] => format!("shard {one}/{of} is missing"),
        _ => format!("the shards {}{more} are missing", named.join(", ")),
    }
}

/// Merges `shards`, each with the folder that it was read from, into the record that one machine alone would have
/// written. Runs that a shard does not have yet are missing in the result, too.
///
/// # Errors
///
/// Returns an error if the folders are not all shards of one sweep, each once.
pub fn merge(shards: Vec<(PathBuf, SweepRecord)>) -> Result<SweepRecord, MergeError> {
    let (first, first_record) = shards.first().ok_or(MergeError::Nothing)?;
    let of = first_record.identity.shard.of;
    let whole = unsharded(&first_record.identity);
    for (index, (path, record)) in shards.iter().enumerate() {
        let shard = record.identity.shard;
        if shard == Shard::WHOLE {
            return Err(MergeError::Whole { path: path.clone() });
        }
        if let Some(difference) = unsharded(&record.identity).difference(&whole) {
            return Err(other_runs(path, first, difference));
        }
        // The same runs may have been split into other shards, which overlap with these.
        if shard.of != of {
            return Err(other_runs(path, first, format!("it is shard {shard}, not one of {of}")));
        }
        if let Some((twin, _)) = shards[..index].iter().find(|(_, other)| other.identity.shard == shard) {
            return Err(MergeError::Twice { path: path.clone(), other: twin.clone(), shard });
        }
    }
    // With more shards than seeds the last ones have no runs, and so no folders.
    let filled = of.min(whole.seeds.count());
    if (shards.len() as u64) < filled {
        let present: Vec<u64> = shards.iter().map(|(_, record)| record.identity.shard.number).collect();
        return Err(MergeError::Missing {
            numbers: (1..=filled).filter(|number| !present.contains(number)).collect(),
            of,
        });
    }
    let scenario = first_record.scenario.clone();
    let mut rows: Vec<_> = shards.into_iter().flat_map(|(_, record)| record.rows).collect();
    rows.sort_by_key(RunRow::key);
    Ok(SweepRecord { identity: whole, scenario, rows })
}

fn other_runs(path: &Path, first: &Path, difference: String) -> MergeError {
    MergeError::OtherRuns { path: path.to_owned(), first: first.to_owned(), difference }
}

/// Returns the identity of the sweep that a shard of `identity` is a part of.
fn unsharded(identity: &SweepIdentity) -> SweepIdentity {
    SweepIdentity { shard: Shard::WHOLE, ..identity.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::sweep::sample::{identity, row},
        run_folder::CalibrationInfo,
    };

    /// Returns the record of a shard of `whole`, with all its runs.
    fn shard(whole: &SweepIdentity, number: u64, of: u64) -> (PathBuf, SweepRecord) {
        let shard = Shard { number, of };
        let identity = SweepIdentity { shard, ..whole.clone() };
        let seeds = whole.seeds.iter().zip(0..).filter(|(_, index)| shard.contains(*index)).map(|(seed, _)| seed);
        let seeds: Vec<u64> = seeds.collect();
        let variants = 0..whole.variants.len();
        let rows = variants.flat_map(|variant| seeds.iter().map(move |&seed| row(whole, variant, seed))).collect();
        (PathBuf::from(format!("shard{number}")), SweepRecord { identity, scenario: String::new(), rows })
    }

    fn shards_of_nine(numbers: &[u64]) -> Vec<(PathBuf, SweepRecord)> {
        numbers.iter().map(|&number| shard(&identity(), number, 9)).collect()
    }

    fn rejected(shards: Vec<(PathBuf, SweepRecord)>) -> String {
        merge(shards).unwrap_err().to_string()
    }

    /// Returns the message about two shards, the second of which was changed.
    fn rejected_pair(change: fn(&mut SweepIdentity)) -> String {
        let mut second = shard(&identity(), 2, 2);
        change(&mut second.1.identity);
        rejected(vec![shard(&identity(), 1, 2), second])
    }

    #[test]
    fn shards_in_any_order_are_merged_into_the_whole() {
        let variants = vec![vec!["load.rate=5".to_owned()], vec!["load.rate=9".to_owned()]];
        let whole = SweepIdentity { variants, ..identity() };
        let (_, alone) = shard(&whole, 1, 1);
        for of in [2, 3, 10] {
            let shards = (1..=of).rev().map(|number| shard(&whole, number, of)).collect();
            assert_eq!(merge(shards).unwrap(), alone, "{of} shards");
        }
    }

    #[test]
    fn shards_without_seeds_need_no_folder() {
        let shards = (1..=10).map(|number| shard(&identity(), number, 16)).collect();
        assert_eq!(merge(shards).unwrap().rows.len(), 10);
    }

    #[test]
    fn missing_and_repeated_shards_are_named() {
        assert_eq!(
            rejected(shards_of_nine(&[1, 2, 3, 4, 6, 7, 8, 9])),
            "shard 5/9 is missing; name the folders of all 9 shards, and play what is missing with --shard 5/9"
        );
        assert!(
            rejected(shards_of_nine(&[4])).starts_with("the shards 1/9, 2/9, 3/9, 5/9, 6/9 and 3 more are missing;")
        );
        assert_eq!(rejected(shards_of_nine(&[4, 2, 4])), "shard4 and shard4 are both shard 4/9; name one of them");
        assert!(
            rejected(vec![shard(&identity(), 1, 1)]).ends_with("has all seeds already; `reports shard1` reports it")
        );
        assert_eq!(merge(Vec::new()), Err(MergeError::Nothing));
    }

    #[test]
    fn shards_of_another_sweep_are_rejected_with_the_difference() {
        let scenario = rejected_pair(|identity| identity.scenario_sha256 = "f".to_owned());
        assert_eq!(
            scenario,
            "shard2 is no shard of the same runs as shard1: its scenario, or a --set, is not the same"
        );
        let calibration = rejected_pair(|identity| {
            identity.calibration = CalibrationInfo { name: "fast".to_owned(), sha256: String::new() };
        });
        assert!(calibration.ends_with(": its calibration is fast, not default"), "{calibration}");
        let version = rejected_pair(|identity| identity.version = "2".to_owned());
        assert!(version.ends_with(": its program's version is 2, not 1"), "{version}");
        let vary = rejected_pair(|identity| identity.vary = vec!["a=1,2".parse().unwrap()]);
        assert!(vary.ends_with(": its variation is --vary a=1,2, not nothing"), "{vary}");
        let finer = rejected_pair(|identity| identity.shard = Shard { number: 2, of: 3 });
        assert!(finer.ends_with(": it is shard 2/3, not one of 2"), "{finer}");
    }
}
