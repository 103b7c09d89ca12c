//! Tests of the ranges that a draw covers, and of the files of `scenarios/fidelity`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use kernel::scenario::{FaultName, Scenario, Workload, WorkloadName};

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

/// A machine of that many processors, which was not calibrated.
fn host(cores: u64) -> Host {
    Host { cores, measured: None }
}

/// The strata, the load and the scenario of each member of a block.
fn block(seed: u64, number: u64) -> Vec<(Strata, work::Load, Scenario)> {
    let indices = number * BLOCK..(number + 1) * BLOCK;
    let members = indices.map(|index| {
        let strata = Strata::draw(seed, index);
        let load = work::draw(&strata, seed, &host(2));
        (strata, load, scenario(&draw(seed, index, &host(2))))
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
    let args =
        DrawArgs { seed: SEED, count: 24, cores: 2, calibration: None, out: folder.path().to_owned(), force: false };
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
    assert_eq!(draw(1, 14, &host(2)), draw(1, 14, &host(2)));
    assert_ne!(draw(1, 14, &host(2)).text, draw(2, 14, &host(2)).text);
    assert_ne!(draw(1, 14, &host(2)).text, draw(1, 14, &host(8)).text);
    assert!(draw(1, 6, &host(2)).name.starts_with("07_"));
}

/// A calibration of a machine on which searching `node_or_edge_ns` for each node and edge is all that takes time.
fn calibration(node_or_edge_ns: f64) -> String {
    contended_calibration(node_or_edge_ns, 0.0)
}

/// The same for a machine on which searches slow each other.
fn contended_calibration(node_or_edge_ns: f64, contention: f64) -> String {
    let pieces = |us: f64| format!("{{ warm_us = [[0.0, {us:?}]], cold_us = [[0.0, 0.0]] }}");
    let service = |workload: &str, units: u64, us: f64| {
        format!(
            "[[machine.service_time]]\nworkload = '{workload}'\nunits = {units}\nwarm_us = [[0.0, {us:?}]]\nfollow_up_us = 0.0\n\
             contention = {contention:?}\n"
        )
    };
    let searches: String =
        [8_u64, 400_000].map(|units| service("dfs", units, units as f64 * node_or_edge_ns / 1e3)).concat();
    let [none, pictures, data] = [pieces(0.0), service("sobel", 256, 0.0), service("backend", 1, 0.0)];
    format!(
        "[machine]\ncores = 2\nfollow_up_us = 0.0\ntimer = {none}\n\
         [[machine.message]]\nbytes = 1\nto_server = {none}\nto_client = {none}\n{searches}{pictures}{data}"
    )
}

#[test]
fn a_calibration_lowers_the_rates_of_what_keeps_its_machine_too_busy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.toml");
    let args = DrawArgs {
        seed: SEED,
        count: 24,
        cores: 2,
        calibration: Some(file.clone()),
        out: folder.path().join("drawn"),
        force: false,
    };
    let committed = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fidelity"));

    fs::write(&file, calibration(14.0)).unwrap();
    assert_eq!(write(&args).unwrap(), [""; 0], "the estimate has 14 ns, too");
    assert_eq!(files(&args.out), committed);

    fs::write(&file, calibration(42.0)).unwrap();
    let lowered = write(&args).unwrap();
    assert_eq!(lowered, ["11_dfs", "15_dfs", "20_dfs"]);
    let drawn = files(&args.out);
    // Searches on both processors take three times as long as alone.
    fs::write(&file, contended_calibration(14.0, 2.0)).unwrap();
    assert_eq!(write(&args).unwrap(), lowered);
    for (name, text) in files(&args.out) {
        let [of_contended, of_slow] = [&text, &drawn[&name]].map(|text| Scenario::parse(&name, text, &[]).unwrap());
        assert_eq!(of_contended.load.rate, of_slow.load.rate, "{name}");
    }
    for (name, text) in &drawn {
        let before = &committed[name];
        let stem = name.trim_end_matches(".toml");
        if !lowered.iter().any(|lowered| lowered == stem) {
            assert_eq!(text, before);
            continue;
        }
        let [before, lowered] = [before, text].map(|text| Scenario::parse(name, text, &[]).unwrap());
        let Workload::Dfs(graph) = &lowered.workload else { panic!("{text}") };
        let busy = lowered.load.rate * 42e-9 * f64::from(graph.nodes + graph.edges) / 2.0;
        assert!((0.8..=BUSY_MAX).contains(&busy), "{name}: {busy}");
        assert!(lowered.load.rate < before.load.rate && lowered.workload == before.workload);
        assert_eq!(lowered.faults.len(), before.faults.len());
        let head = format!("The rate is {} in place of {}, by the calibration", lowered.load.rate, before.load.rate);
        assert!(text.contains(&head) && text.contains(&format!("{:.1} % of 2.", busy * 100.0)), "{text}");
    }
}

#[test]
fn a_calibration_of_another_number_of_processors_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.toml");
    fs::write(&file, calibration(14.0)).unwrap();
    let out = folder.path().join("drawn");
    let args = DrawArgs { seed: SEED, count: 1, cores: 4, calibration: Some(file), out: out.clone(), force: false };
    assert!(write(&args).unwrap_err().message.contains("--cores 2"));
    assert!(!out.exists());
}

#[test]
fn a_calibration_without_times_of_a_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.toml");
    let refused = |text: &str| {
        fs::write(&file, text).unwrap();
        MeasuredCosts::read(&file).unwrap_err().message
    };
    assert!(refused("name = 'older'").contains("has no table [machine]"));
    let without = calibration(14.0).replace("'backend'", "'other'");
    assert!(refused(&without).contains("has no times of the workload backend"));
    assert!(refused("[machine]\ncores = 2\nfollow_up_us = 'long'").contains("is not a calibration"));
    fs::remove_file(&file).unwrap();
    assert!(MeasuredCosts::read(&file).unwrap_err().message.contains("cannot read the calibration"));
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
