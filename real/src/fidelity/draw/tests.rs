//! Tests of the ranges that a draw covers, and of the files of `scenarios/fidelity`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use kernel::scenario::{FaultName, Scenario, WorkloadName};

use super::{
    faults::QUIET_S,
    strata::{BLOCK, POLICIES},
    *,
};

/// The seed of the files in `scenarios/fidelity`.
const SEED: u64 = 20_261_129;

fn scenario(drawn: &DrawnScenario) -> Scenario {
    Scenario::parse(&drawn.name, &drawn.text, &[]).unwrap_or_else(|error| panic!("{error}\n{}", drawn.text))
}

/// The strata, the load and the scenario of each member of a block.
fn block(seed: u64, number: u64) -> Vec<(Strata, work::Load, Scenario)> {
    let indices = number * BLOCK..(number + 1) * BLOCK;
    let members = indices.map(|index| {
        let strata = Strata::draw(seed, index);
        let load = work::draw(&strata, seed, 2.0);
        (strata, load, scenario(&draw(seed, index, 2)))
    });
    members.collect()
}

/// Returns the texts of the files in a folder, by their names.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    entries.map(|path| (path.file_name().unwrap().display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// `real draw --seed 20261129 --out scenarios/fidelity` writes these files.
#[test]
fn the_files_of_the_campaign_are_those_that_the_command_writes() {
    let folder = tempfile::tempdir().unwrap();
    let args = DrawArgs { seed: SEED, count: 24, cores: 2, out: folder.path().to_owned(), force: false };
    // Twice: what the command wrote itself is replaced.
    for _ in 0..2 {
        write(&args).unwrap();
    }
    let committed = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fidelity"));
    assert_eq!(committed.len(), 24);
    assert_eq!(files(folder.path()), committed);

    let changed = folder.path().join(committed.keys().next().unwrap());
    fs::write(&changed, "my notes").unwrap();
    let refused = write(&args).unwrap_err();
    assert!(refused.message.contains("was not written by this program"), "{}", refused.message);
}

/// It is not drawn, and no other test plays it, as it computes for long.
#[test]
fn the_scenario_of_the_onset_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fidelity/onset/computing.toml");
    let scenario = Scenario::load(&file, &["load.rate=200".to_owned()]).unwrap();
    assert_eq!((scenario.workload.name(), scenario.servers.service_time_min), ("dfs", Duration::ZERO));
}

#[test]
fn a_scenario_depends_on_seed_index_and_processors_only() {
    assert_eq!(draw(1, 14, 2), draw(1, 14, 2));
    assert_ne!(draw(1, 14, 2).text, draw(2, 14, 2).text);
    assert_ne!(draw(1, 14, 2).text, draw(1, 14, 8).text);
    assert!(draw(1, 6, 2).name.starts_with("07_"));
}

#[test]
fn every_block_covers_the_ranges() {
    for (seed, number) in (0..20).map(|seed| (seed, seed % 3)).chain([(SEED, 0), (SEED, 1)]) {
        let block = block(seed, number);
        let scenarios = || block.iter().map(|(.., scenario)| scenario);
        let count = |is: &dyn Fn(&Scenario) -> bool| scenarios().filter(|scenario| is(scenario)).count();

        let mut rates: Vec<f64> = block.iter().map(|(strata, ..)| strata.rate).collect();
        rates.sort_by(f64::total_cmp);
        for (place, rate) in rates.iter().enumerate() {
            let [low, high] = [place, place + 1].map(|bound| 10.0_f64.powf(bound as f64 / 4.0));
            assert!((low * 0.94..=high * 1.06).contains(rate), "{rates:?}");
        }
        for name in [WorkloadName::Sobel, WorkloadName::Dfs, WorkloadName::Backend] {
            assert_eq!(count(&|scenario| WorkloadName::from(&scenario.workload) == name), 4, "{name}");
        }
        assert_eq!(block.iter().filter(|(strata, ..)| strata.is_poisson).count(), 6);
        assert_eq!(block.iter().filter(|(strata, ..)| strata.is_held).count(), 6);
        let replicas: BTreeSet<usize> = scenarios().map(|scenario| scenario.servers.replicas).collect();
        assert_eq!(replicas, (1..=5).collect());
        let balancers: BTreeSet<&str> = block.iter().map(|(strata, ..)| strata.balancing().0).collect();
        assert_eq!(balancers.len(), 5);
        for (policy, name, times) in POLICIES {
            assert_eq!(block.iter().filter(|(strata, ..)| strata.has(policy)).count(), times, "{name}");
        }

        assert_eq!(count(&|scenario| scenario.faults.is_empty()), 3);
        let kinds: BTreeSet<&str> = scenarios()
            .flat_map(|scenario| scenario.faults.iter().map(|fault| FaultName::from(&fault.kind).name()))
            .collect();
        assert_eq!(kinds.len(), FaultName::all().filter(|kind| !kind.needs_tls()).count(), "seed {seed}: {kinds:?}");
        let busiest = block.iter().map(|(_, load, _)| load.busy).fold(0.0, f64::max);
        assert!((0.5..=BUSY_MAX).contains(&busiest), "seed {seed}: {busiest}");
    }
}

#[test]
fn whatever_is_drawn_can_be_played_and_recovers() {
    for (strata, load, scenario) in (0..20).flat_map(|seed| block(seed, seed % 2)) {
        let Scenario { name, duration, faults, .. } = &scenario;
        assert_eq!(scenario.warnings(), Vec::<String>::new(), "{name}");
        assert!((Duration::from_secs(20)..=Duration::from_secs(30)).contains(duration));
        assert!(load.busy <= BUSY_MAX && (1.0..=1_000.0).contains(&load.rate), "{load:?}");
        assert!(faults.len() <= 3 && faults.len() == strata.faults.len());
        let quiet = Duration::from_secs_f64(QUIET_S);
        for fault in faults {
            let end = fault.at + fault.kind.lasts().unwrap_or_default();
            assert!(fault.at >= quiet && end + quiet <= *duration, "{name}: {fault}");
        }
        // Workers are free for the calls, and for those of another replica, too.
        let held = load.rate * load.hold() / (strata.servers_used() * load.workers) as f64;
        assert!(held <= 0.5, "{name}: {held}");
        assert!(scenario.expectations.is_empty() && scenario.nemesis.is_none());
    }
}
