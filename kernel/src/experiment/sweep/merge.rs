//! Shards put together again.

use std::path::PathBuf;

use super::{Identity, RunRow, Runs, Shard};

/// Shards that are missing are named up to here.
const NAMED_MAX: usize = 5;

/// Why folders are not the shards of one sweep.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("there is nothing to put together; name the folders of all shards")]
    Nothing,
    #[error("{path} is no shard, but has all seeds already; `reports {path}` reports it", path = path.display())]
    Whole { path: PathBuf },
    #[error("{path} is no shard of the same runs as {first}: {difference}", path = path.display(), first = first.display())]
    OtherRuns { path: PathBuf, first: PathBuf, difference: String },
    #[error("{path} and {other} are both shard {shard}; name one of them", path = path.display(), other = other.display())]
    Twice { path: PathBuf, other: PathBuf, shard: Shard },
    #[error("{}; name the folders of all {of} shards, and play what is missing with --shard {first}/{of}", missing(numbers, *of), first = numbers[0])]
    Missing {
        /// Ascending, at least one.
        numbers: Vec<u64>,
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

/// Puts `shards`, each with the folder it is from, together: what one machine alone would have come to. Runs that a shard
/// has not played yet are not there either.
///
/// # Errors
/// They are not all shards of one sweep, each once.
pub fn merge(shards: Vec<(PathBuf, Runs)>) -> Result<Runs, MergeError> {
    let (first, of_first) = shards.first().ok_or(MergeError::Nothing)?;
    let of = of_first.identity.shard.of;
    let whole = unsharded(&of_first.identity);
    for (index, (path, runs)) in shards.iter().enumerate() {
        let shard = runs.identity.shard;
        if shard == Shard::WHOLE {
            return Err(MergeError::Whole { path: path.clone() });
        }
        let other = |difference| MergeError::OtherRuns { path: path.clone(), first: first.clone(), difference };
        if let Some(difference) = unsharded(&runs.identity).difference(&whole) {
            return Err(other(difference));
        }
        if shard.of != of {
            return Err(other(format!("it is shard {shard}, not one of {of}")));
        }
        if let Some((twin, _)) = shards[..index].iter().find(|(_, other)| other.identity.shard == shard) {
            return Err(MergeError::Twice { path: path.clone(), other: twin.clone(), shard });
        }
    }
    // Of more shards than seeds the last ones are empty, and are no folders.
    let filled = of.min(whole.seeds.count());
    if (shards.len() as u64) < filled {
        let is_there = |number: u64| shards.iter().any(|(_, runs)| runs.identity.shard.number == number);
        return Err(MergeError::Missing { numbers: (1..=filled).filter(|&number| !is_there(number)).collect(), of });
    }
    let scenario = of_first.scenario.clone();
    let mut rows: Vec<_> = shards.into_iter().flat_map(|(_, runs)| runs.rows).collect();
    rows.sort_by_key(RunRow::key);
    Ok(Runs { identity: whole, scenario, rows })
}

fn unsharded(identity: &Identity) -> Identity {
    Identity { shard: Shard::WHOLE, ..identity.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::sweep::sample::{identity, row},
        run_folder::CalibrationInfo,
    };

    /// The runs of a shard of `whole`.
    fn shard(whole: &Identity, number: u64, of: u64) -> (PathBuf, Runs) {
        let shard = Shard { number, of };
        let identity = Identity { shard, ..whole.clone() };
        let seeds = whole.seeds.iter().zip(0..).filter(|(_, index)| shard.holds(*index)).map(|(seed, _)| seed);
        let of_seed = |seed| (0..whole.variants.len()).map(move |variant| (variant, seed));
        let mut keys: Vec<_> = seeds.flat_map(of_seed).collect();
        keys.sort_unstable();
        let rows = keys.into_iter().map(|(variant, seed)| row(whole, variant, seed)).collect();
        (PathBuf::from(format!("shard{number}")), Runs { identity, scenario: String::new(), rows })
    }

    fn refused(shards: Vec<(PathBuf, Runs)>) -> String {
        merge(shards).unwrap_err().to_string()
    }

    #[test]
    fn shards_in_any_order_are_the_whole() {
        let variants = vec![vec!["load.rate=5".to_owned()], vec!["load.rate=9".to_owned()]];
        let whole = Identity { variants, ..identity() };
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
    fn what_is_missing_or_there_twice_is_named() {
        let of = |numbers: &[u64]| numbers.iter().map(|&number| shard(&identity(), number, 9)).collect();
        assert_eq!(
            refused(of(&[1, 2, 3, 4, 6, 7, 8, 9])),
            "shard 5/9 is missing; name the folders of all 9 shards, and play what is missing with --shard 5/9"
        );
        assert!(refused(of(&[4])).starts_with("the shards 1/9, 2/9, 3/9, 5/9, 6/9 and 3 more are missing;"));
        assert_eq!(refused(of(&[4, 2, 4])), "shard4 and shard4 are both shard 4/9; name one of them");
        assert!(
            refused(vec![shard(&identity(), 1, 1)]).ends_with("has all seeds already; `reports shard1` reports it")
        );
        assert_eq!(merge(Vec::new()), Err(MergeError::Nothing));
    }

    #[test]
    fn shards_of_other_runs_are_refused_by_what_is_different() {
        let pair = |change: fn(&mut Identity)| {
            let mut second = shard(&identity(), 2, 2);
            change(&mut second.1.identity);
            refused(vec![shard(&identity(), 1, 2), second])
        };
        let story = pair(|identity| identity.scenario_sha256 = "f".to_owned());
        assert_eq!(story, "shard2 is no shard of the same runs as shard1: its scenario, or a --set, is not the same");
        let calibration = pair(|identity| {
            identity.calibration = CalibrationInfo { name: "fast".to_owned(), sha256: String::new() };
        });
        assert!(calibration.ends_with(": its calibration is fast, not default"), "{calibration}");
        let version = pair(|identity| identity.version = "2".to_owned());
        assert!(version.ends_with(": its program's version is 2, not 1"), "{version}");
        let vary = pair(|identity| identity.vary = vec!["a=1,2".parse().unwrap()]);
        assert!(vary.ends_with(": its variation is --vary a=1,2, not nothing"), "{vary}");
        let finer = pair(|identity| identity.shard = Shard { number: 2, of: 3 });
        assert!(finer.ends_with(": it is shard 2/3, not one of 2"), "{finer}");
    }
}
