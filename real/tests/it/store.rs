//! The store of a client's cache, as a process of a run: what is left of a backend and of the store while they are down, as in the
//! simulation.

use std::{collections::BTreeSet, ops::Range, path::Path, sync::atomic::AtomicU64};

use kernel::{
    record::{Answer, Event, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};
use tempfile::TempDir;

use crate::{
    child::{self, Run},
    user::User,
};

const SEED: u64 = 42;

/// How the calls ended that were intended within a span, and where their answers came from.
fn ends(records: &Records, millis: Range<u64>) -> BTreeSet<String> {
    let within = |at_us: u64| (millis.start * 1_000..millis.end * 1_000).contains(&at_us);
    let rows = records.requests.iter().filter(|row| within(row.intended_us));
    rows.map(|row| end(row.status, row.answer)).collect()
}

fn end(status: Outcome, answer: Option<Answer>) -> String {
    format!("{} {answer:?}", status.name())
}

#[test]
fn a_backend_and_the_store_are_down_one_after_the_other_and_together_in_both_worlds() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/shared_cache.toml");
    let scenario = Scenario::load(&file, &[]).unwrap();
    let simulated = sim::run(&sim::Plan::new(scenario, SEED), &AtomicU64::new(0)).unwrap().records;

    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let (_, said) = Run::start_with(&file, SEED, &out, &["--set", "run.max_lateness=1h"]).end();
    let real = child::records(&out);

    let ok = |answer| end(Outcome::OK, answer);
    // Well within each of the faults: a busy machine is late.
    for (what, span, expected) in [
        ("both are there", 1_000..3_700, vec![ok(None), ok(Some(Answer::Cached))]),
        ("the backend is down", 5_000..6_500, vec![ok(Some(Answer::Stale))]),
        ("the store is down", 11_000..13_000, vec![ok(None)]),
        ("both are down", 18_500..20_000, vec![end(Outcome::Status(Code::Unavailable), None)]),
    ] {
        let expected: BTreeSet<_> = expected.into_iter().collect();
        assert_eq!(ends(&simulated, span.clone()), expected, "{what}, simulated");
        assert_eq!(ends(&real, span), expected, "{what}: {said}");
    }
    let of_store = |records: &Records| -> Vec<Event> {
        let events = records.events.iter().map(|row| row.event);
        events.filter(|event| matches!(event, Event::StoreLost | Event::StoreRestored)).collect()
    };
    let twice = [Event::StoreLost, Event::StoreRestored, Event::StoreLost, Event::StoreRestored];
    assert_eq!((of_store(&simulated), of_store(&real)), (twice.to_vec(), twice.to_vec()));
    assert!(said.contains("store is away") && said.contains("store answers again"), "{said}");
}

#[test]
fn a_store_that_is_wrong_is_refused_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    let user = User::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/shared_cache.toml");
    let file = file.to_str().unwrap();
    for (store, remedy) in [
        ("redis://192.0.2.1:6379", "--allow-remote"),
        ("redis://me@127.0.0.1:6379", "REHEARSAL_STORE_PASSWORD"),
        ("redis://:secret@127.0.0.1:6379", "REHEARSAL_STORE_PASSWORD"),
        ("memcached://127.0.0.1", "redis://HOST:PORT"),
    ] {
        let set = format!("client.cache.store={store}");
        let out = folder.path().join("run");
        let (code, failed) = user.fails(&["run", file, "--set", &set, "--out", out.to_str().unwrap()]);
        assert_eq!(code, Some(2), "{store}: {failed}");
        assert!(failed.contains(remedy) && !failed.contains("a secret"), "{store}: {failed}");
    }
    let (code, failed) = user.fails(&["load", "--scenario", file, "--servers", "127.0.0.1:1"]);
    assert_eq!(code, Some(2), "{failed}");
    assert!(failed.contains("builtin") && failed.contains("--set client.cache.store=redis://"), "{failed}");
}
