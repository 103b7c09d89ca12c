//! The scenarios of `scenarios/labs/`: a partition that is answered with old answers, or refused.

use std::path::Path;

use kernel::status::Outcome;

use crate::{
    simulated::{SimulatedRun, load, simulate},
    soundness,
};

const SEEDS: std::ops::Range<u64> = 0..20;

fn lab(name: &str) -> impl Iterator<Item = SimulatedRun> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/labs").join(name).with_extension("toml");
    let scenario = load(&file);
    assert_eq!(&*scenario.name, name);
    SEEDS.map(move |seed| simulate(scenario.clone(), seed)).inspect(|run| {
        assert!(run.summary.pass, "{}", run.report());
        soundness::check(run);
    })
}

#[test]
fn a_partition_that_may_be_answered_with_old_answers_fails_no_call() {
    for run in lab("cap_stale") {
        assert!(run.records.requests.iter().all(|row| row.status == Outcome::OK), "{}", run.report());
        let without_an_attempt = run.records.requests.iter().filter(|row| row.server.is_none()).count();
        assert!(without_an_attempt > 200, "{}", run.report());
    }
}

#[test]
fn a_partition_that_is_refused_gives_no_answer_that_no_replica_gave() {
    for run in lab("cap_refused") {
        let mut answered = run.records.requests.iter().filter(|row| row.status == Outcome::OK);
        assert!(answered.all(|row| row.server.is_some()), "{}", run.report());
        assert!(run.records.requests.iter().any(|row| row.status != Outcome::OK), "{}", run.report());
    }
}
