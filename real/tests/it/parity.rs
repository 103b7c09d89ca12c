//! The same story in both worlds. One body of checks, two arms; what is compared is outcomes, orders and invariants,
//! and never how long something took.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::AtomicU64,
};

use kernel::{
    entropy::Entropy,
    load::Schedule,
    record::{AttemptRow, Event, EventRow, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};

use crate::child::{self, Run};

const SEED: u64 = 42;
const MS: u64 = 1_000;

/// When the one fault of every story begins. It lies between two arrivals.
const FAULT: u64 = 1_025 * MS;

/// How long it may take on a busy machine until what the nemesis says is so.
const EFFECT: u64 = 150 * MS;

/// 20 requests per second to two servers for four seconds, 200 ms of service each: two are in flight on each server.
const STAGE: &str = r#"
name = "parity"
duration = "4s"
[servers]
replicas = 2
workers = 8
service_time_min = "200ms"
[workload]
sizes = ["64x64", "256x256"]
[load]
rate = 20.0
[client.health_check]
interval = "500ms"
timeout = "500ms"
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arm {
    Sim,
    Real,
}

/// What a world made of the story.
struct Story {
    arm: Arm,
    scenario: Scenario,
    records: Records,
}

/// Plays [`STAGE`] with a fault, given as the lines of its table, in both worlds, and checks what is true of any story.
fn play(fault: &str) -> [Story; 2] {
    play_text(&format!("{STAGE}\n[[fault]]\nat = \"1025ms\"\n{fault}\n"))
}

/// Plays a scenario in both worlds, and checks what is true of any story.
fn play_text(text: &str) -> [Story; 2] {
    let stories = [Arm::Sim, Arm::Real].map(|arm| {
        let scenario = Scenario::parse("parity.toml", text, &[]).unwrap_or_else(|error| panic!("{error}"));
        let records = match arm {
            Arm::Sim => simulated(scenario.clone()),
            Arm::Real => real(text),
        };
        Story { arm, scenario, records }
    });
    for story in &stories {
        story.every_arrival_has_one_row();
        story.calls_and_attempts_agree();
        story.what_was_answered_was_done();
    }
    let [sim, real] = &stories;
    let wanted = |story: &Story| -> Vec<_> {
        let rows = story.records.requests.iter();
        rows.map(|row| (row.id, row.intended_us, row.size.clone(), row.kind.clone())).collect()
    };
    assert_eq!(wanted(sim), wanted(real));
    assert_eq!(sim.outcomes(), real.outcomes());
    assert_eq!(sim.failures(), real.failures());
    assert_eq!(sim.faults(), real.faults());
    stories
}

fn simulated(scenario: Scenario) -> Records {
    let plan = sim::Plan::new(scenario, SEED);
    sim::run(&plan, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{error}")).records
}

fn real(text: &str) -> Records {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    let (scenario, out) = (directory.path().join("parity.toml"), directory.path().join("run"));
    fs::write(&scenario, text).expect("there is room for a file");
    let (status, said) = Run::start(&scenario, SEED, &out).end();
    assert!(status.success(), "{status}: {said}");
    child::records(&out)
}

impl Story {
    fn every_arrival_has_one_row(&self) {
        let schedule = Schedule::new(&self.scenario.load, self.scenario.duration, Entropy::new(SEED));
        let scheduled: Vec<_> = (0..).zip(schedule.map(|at| at.as_micros())).collect();
        let rows: Vec<_> = self.records.requests.iter().map(|row| (row.id, row.intended_us)).collect();
        assert_eq!(rows, scheduled, "{:?}", self.arm);
    }

    fn calls_and_attempts_agree(&self) {
        let mut attempts = BTreeMap::<u64, Vec<&AttemptRow>>::new();
        for row in &self.records.attempts {
            attempts.entry(row.request).or_default().push(row);
        }
        for row in &self.records.requests {
            let attempts = attempts.remove(&row.id).unwrap_or_default();
            let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.attempt).collect();
            assert_eq!(numbers, (1..=row.attempts).collect::<Vec<_>>(), "{:?}: {row:?}", self.arm);
            let last = attempts.last().map_or(Outcome::Dropped, |attempt| Outcome::Status(attempt.status));
            assert_eq!(row.status, last, "{:?}: {row:?}", self.arm);
        }
        assert!(attempts.is_empty(), "{:?}: attempts of no request: {attempts:?}", self.arm);
    }

    /// A server says that it has finished something before it answers.
    fn what_was_answered_was_done(&self) {
        let finished: BTreeMap<_, _> = self
            .events(Event::Finished)
            .map(|row| ((row.request, row.attempt, row.source.as_str()), row.at_us))
            .collect();
        for row in self.records.attempts.iter().filter(|row| row.status == Code::Ok) {
            let done = finished.get(&(Some(row.request), Some(row.attempt), row.server.as_str()));
            assert!(done.is_some_and(|at| *at <= row.end_us), "{:?}: {row:?}, {done:?}", self.arm);
        }
    }

    /// How calls ended.
    fn outcomes(&self) -> BTreeSet<String> {
        self.records.requests.iter().map(|row| format!("{:?}", row.status)).collect()
    }

    /// Which attempts failed, by server and status.
    fn failures(&self) -> BTreeSet<(&str, Code)> {
        let failed = self.records.attempts.iter().filter(|row| row.status != Code::Ok);
        failed.map(|row| (row.server.as_str(), row.status)).collect()
    }

    /// What nemesis and supervisor did, in order.
    fn faults(&self) -> Vec<(&str, Event, Option<&str>)> {
        let theirs = |row: &&EventRow| ["nemesis", "supervisor"].contains(&row.source.as_str());
        let rows = self.records.events.iter().filter(theirs);
        rows.map(|row| (row.source.as_str(), row.event, row.target.as_deref())).collect()
    }

    /// Panics unless each of these happened to `server` once the fault had begun, and in this order.
    fn in_order(&self, server: &str, events: &[Event]) {
        let mut rest = self.records.events.iter().filter(|row| row.at_us >= FAULT);
        for event in events {
            let next = rest.find(|row| row.event == *event && row.target.as_deref() == Some(server));
            assert!(next.is_some(), "{:?}: no {event:?} of {server} in its place among {events:?}", self.arm);
        }
    }

    /// Panics unless the client found `server` unhealthy, and healthy again once the fault was `lifted`. It may know of
    /// that before the nemesis has said so.
    fn noticed_and_taken_back(&self, server: &str, lifted: u64) {
        self.in_order(server, &[Event::FaultStart, Event::Unhealthy, Event::Healthy]);
        self.in_order(server, &[Event::FaultStart, Event::FaultEnd]);
        let healthy = self.events(Event::Healthy).filter(|row| row.target.as_deref() == Some(server));
        let back = healthy.map(|row| row.at_us).find(|at| *at >= FAULT);
        assert!(back.is_some_and(|at| at >= lifted), "{:?}: {server} is back at {back:?} µs", self.arm);
    }

    /// Panics if `server` finished something, or the client had an answer from it, from `from` to just before `to`.
    fn silent(&self, server: &str, from: u64, to: u64) {
        let finished = self.events(Event::Finished).filter(|row| row.source == server).map(|row| row.at_us);
        let answered = self.answers(server).map(|row| row.end_us);
        let spoke: Vec<_> = finished.chain(answered).filter(|at| (from..to).contains(at)).collect();
        assert!(spoke.is_empty(), "{:?}: {server} did something at {spoke:?} µs", self.arm);
    }

    fn events(&self, event: Event) -> impl Iterator<Item = &EventRow> + Clone {
        self.records.events.iter().filter(move |row| row.event == event)
    }

    fn answers(&self, server: &str) -> impl Iterator<Item = &AttemptRow> {
        self.records.attempts.iter().filter(move |row| row.server == server && row.status == Code::Ok)
    }

    /// The least and the most that an answer of `server` took which was asked for from `from` to just before `to`.
    fn took(&self, server: &str, from: u64, to: u64) -> (u64, u64) {
        let took = self.answers(server).filter(|row| (from..to).contains(&row.start_us));
        let took: Vec<_> = took.map(|row| row.end_us - row.start_us).collect();
        let (least, most) = (took.iter().min(), took.iter().max());
        (*least.expect("it answered"), *most.expect("it answered"))
    }
}

#[test]
fn a_crashed_server_is_silent_until_it_is_started_again() {
    for story in play("kind = \"crash\"\ntarget = \"server-0\"\nrestart_after = \"400ms\"") {
        use Event::{FaultEnd, FaultStart, Healthy, Listening, Restart, Unhealthy};
        story.in_order("server-0", &[FaultStart, Unhealthy, Restart, Listening, FaultEnd, Healthy]);
        let again = story.events(Event::Listening).map(|row| row.at_us).filter(|at| *at > FAULT).min();
        story.silent("server-0", FAULT + EFFECT, again.expect("it listens again"));
        assert!(story.answers("server-0").any(|row| row.start_us > FAULT + EFFECT), "{:?}: it is not back", story.arm);
    }
}

#[test]
fn a_frozen_server_is_silent_until_it_goes_on() {
    for story in
        play("kind = \"freeze\"\ntarget = \"server-1\"\nduration = \"2s\"\n[client]\nattempt_timeout = \"800ms\"")
    {
        story.noticed_and_taken_back("server-1", FAULT + 2_000 * MS);
        story.silent("server-1", FAULT + EFFECT, FAULT + 2_000 * MS);
    }
}

#[test]
fn an_observed_timeout_leaves_a_frozen_server_long_before_the_fixed_one() {
    let adaptive = "[client.adaptive_timeout]\nminimum_samples = 10\nwindow = \"20s\"";
    for story in play(&format!("kind = \"freeze\"\ntarget = \"server-1\"\nduration = \"2s\"\n{adaptive}")) {
        let observed = "attempt timeout from 10s to ";
        let is_first = |row: &EventRow| row.cause.as_deref().is_some_and(|cause| cause.starts_with(observed));
        assert!(story.events(Event::LimitChanged).any(is_first), "{:?}: it stays as it was", story.arm);
        let cut_off = story.records.attempts.iter().filter(|row| row.status == Code::DeadlineExceeded);
        assert!(cut_off.count() > 0, "{:?}: the fixed timeout is longer than the freeze", story.arm);
    }
}

#[test]
fn a_partitioned_server_works_on_and_its_answers_are_held() {
    for story in
        play("kind = \"partition\"\ntarget = \"server-0\"\nduration = \"2s\"\n[client]\nattempt_timeout = \"800ms\"")
    {
        story.noticed_and_taken_back("server-0", FAULT + 2_000 * MS);
        let heard = story.answers("server-0").map(|row| row.end_us);
        let during: Vec<_> = heard.filter(|at| (FAULT + EFFECT..FAULT + 2_000 * MS).contains(at)).collect();
        assert!(during.is_empty(), "{:?}: answers at {during:?} µs", story.arm);
        assert!(story.events(Event::Idle).all(|row| row.at_us < FAULT), "{:?}: bytes were lost, not held", story.arm);
    }
}

#[test]
fn a_delay_is_added_each_way() {
    for story in play("kind = \"delay\"\ntarget = \"server-0\"\nlatency = \"150ms\"\nduration = \"2s\"") {
        story.in_order("server-0", &[Event::FaultStart, Event::FaultEnd]);
        let (least, _) = story.took("server-0", FAULT + EFFECT, FAULT + 1_500 * MS);
        assert!(least >= 500 * MS, "{:?}: {least} µs", story.arm);
        let (least, _) = story.took("server-1", FAULT + EFFECT, FAULT + 1_500 * MS);
        assert!(least < 500 * MS, "{:?}: {least} µs", story.arm);
    }
}

#[test]
fn a_narrow_link_takes_its_time() {
    for story in play("kind = \"bandwidth\"\ntarget = \"server-0\"\nrate = \"2mbit\"\nduration = \"1500ms\"") {
        story.in_order("server-0", &[Event::FaultStart, Event::FaultEnd]);
        // The least is 4 KiB each way, the most 64 KiB each way: 2 x 262 ms.
        let (least, most) = story.took("server-0", FAULT + EFFECT, FAULT + 700 * MS);
        assert!(least >= 230 * MS && most >= 700 * MS, "{:?}: {least} to {most} µs", story.arm);
    }
}

#[test]
fn what_is_lost_comes_a_retransmission_later() {
    for story in play("kind = \"loss\"\ntarget = \"server-0\"\nrate = 0.4\nduration = \"2s\"") {
        story.in_order("server-0", &[Event::FaultStart, Event::FaultEnd]);
        let (_, most) = story.took("server-0", FAULT, FAULT + 2_000 * MS);
        assert!(most >= 400 * MS, "{:?}: {most} µs", story.arm);
        assert!(story.events(Event::Idle).all(|row| row.at_us < FAULT), "{:?}: a connection broke", story.arm);
    }
}

#[test]
fn a_reset_breaks_every_connection_and_no_server() {
    for story in play("kind = \"reset\"\ntarget = \"*\"") {
        for server in ["server-0", "server-1"] {
            story.in_order(server, &[Event::FaultStart, Event::Idle, Event::Connecting, Event::Ready]);
        }
        let broken = story.records.attempts.iter().filter(|row| row.status != Code::Ok);
        let mut broken = broken.map(|row| (row.cause.as_deref(), row.start_us < FAULT + EFFECT)).peekable();
        assert!(broken.peek().is_some(), "{:?}: nothing was in flight", story.arm);
        assert!(broken.all(|failure| failure == (Some("connection reset"), true)), "{:?}", story.arm);
    }
}

/// A refusal is neither retried nor a sign of an unhealthy server, so both arms send `server-0` every other request throughout, and
/// the seed decides which of them fail.
#[test]
fn a_server_fails_the_same_calls_in_both_worlds() {
    let fault =
        "kind = \"errors\"\ntarget = \"server-0\"\nrate = 0.5\nstatus = \"RESOURCE_EXHAUSTED\"\nduration = \"2s\"";
    let stories = play(fault);
    let [sim, real] = stories.each_ref().map(|story| {
        story.in_order("server-0", &[Event::FaultStart, Event::FaultEnd]);
        let aborted = story.events(Event::Aborted);
        assert!(aborted.clone().all(|row| row.source == "server-0"), "{:?}", story.arm);
        let failed = story.records.attempts.iter().filter(|row| row.status == Code::ResourceExhausted);
        let told: BTreeSet<_> = failed.map(|row| row.request).collect();
        assert_eq!(aborted.filter_map(|row| row.request).collect::<BTreeSet<_>>(), told, "{:?}", story.arm);
        // Those that were surely sent while it lasted.
        let sure = FAULT + EFFECT..FAULT + 2_000 * MS - EFFECT;
        let asked =
            story.records.attempts.iter().filter(|row| row.server == "server-0" && sure.contains(&row.start_us));
        asked.map(|row| (row.request, told.contains(&row.request))).collect::<BTreeMap<_, _>>()
    });
    let both: Vec<_> = sim.iter().filter_map(|(request, failed)| Some((failed, real.get(request)?))).collect();
    assert!(both.len() >= 8, "{sim:?}, {real:?}");
    assert!(both.iter().all(|(sim, real)| sim == real), "{sim:?}, {real:?}");
    assert!([true, false].iter().all(|outcome| both.iter().any(|(failed, _)| *failed == outcome)), "{sim:?}");
}

#[test]
fn a_slow_server_takes_its_multiple_and_the_other_does_not() {
    for story in play("kind = \"slow\"\ntarget = \"server-0\"\nfactor = 4\nduration = \"2s\"") {
        story.in_order("server-0", &[Event::FaultStart, Event::FaultEnd]);
        let (least, _) = story.took("server-0", FAULT + EFFECT, FAULT + 1_500 * MS);
        assert!(least >= 800 * MS, "{:?}: {least} µs", story.arm);
        let (least, _) = story.took("server-1", FAULT + EFFECT, FAULT + 1_500 * MS);
        assert!(least < 800 * MS, "{:?}: {least} µs", story.arm);
    }
}

#[test]
fn stages_and_kinds_of_requests_are_the_same_in_both_worlds() {
    let load = "rate = 0.0\narrivals = \"poisson\"\n[[load.stage]]\nduration = \"2s\"\nrate = 20.0\n\
                [[load.stage]]\nduration = \"500ms\"\nrate = 40.0\nshape = \"step\"\n\
                [[load.stage]]\nduration = \"1s\"\nrate = 5.0\n\
                [[load.request]]\nname = \"usual\"\nweight = 2.0\n\
                [[load.request]]\nname = \"small\"\nsizes = [\"16x16\"]\n";
    let stories = play_text(&STAGE.replace("rate = 20.0\n", load));
    for Story { arm, records, .. } in &stories {
        let small = records.requests.iter().filter(|row| row.kind.as_deref() == Some("small"));
        let sizes: BTreeSet<_> = small.map(|row| row.size.as_str()).collect();
        assert_eq!(sizes, BTreeSet::from(["16x16"]), "{arm:?}");
    }
}

#[test]
fn a_backend_fails_the_same_kind_of_requests_in_both_worlds() {
    let load = "rate = 20.0\n[[load.request]]\nname = \"good\"\n[[load.request]]\nname = \"bad\"\nfailure_rate = 1.0\n";
    let backend = "kind = \"backend\"\nfailure_rate = 0.0\n";
    let text = STAGE.replace("sizes = [\"64x64\", \"256x256\"]\n", backend).replace("rate = 20.0\n", load);
    for Story { arm, records, .. } in &play_text(&text) {
        for row in &records.requests {
            let is_good = row.kind.as_deref() == Some("good");
            assert_eq!(row.status == Outcome::OK, is_good, "{arm:?}: {row:?}");
        }
    }
}

#[test]
fn users_call_one_after_the_other_in_both_worlds() {
    let text = STAGE.replace("rate = 20.0\n", "users = 3\nthink_time = \"300ms\"\n");
    let scenario = Scenario::parse("parity.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
    // A cycle takes 500 ms and a little more, so that the eighth call of a user begins before the end of the four seconds.
    for (arm, records, least) in [(Arm::Sim, simulated(scenario), 8), (Arm::Real, real(&text), 1)] {
        assert!(records.requests.iter().zip(0..).all(|(row, id)| row.id == id), "{arm:?}");
        for user in 0..3 {
            let calls: Vec<_> = records.requests.iter().filter(|row| row.user == Some(user)).collect();
            assert!((least..=8).contains(&calls.len()), "{arm:?}: {} calls", calls.len());
            assert!(calls.iter().all(|row| row.status == Outcome::OK), "{arm:?}: {calls:?}");
            let waits = calls.windows(2).map(|pair| pair[1].intended_us - pair[0].done_us.unwrap_or(u64::MAX));
            assert!(waits.clone().all(|wait| wait.abs_diff(300 * MS) <= 1), "{arm:?}: {:?}", waits.collect::<Vec<_>>());
        }
    }
}

/// The images of [`STAGE`] in four tiles, 50 ms apart.
fn play_tiles(fault: &str) -> [Story; 2] {
    let stage = STAGE.replace("[load]", "tiles = 4\n[load]");
    play_text(&format!("{stage}\n[[fault]]\nat = \"1025ms\"\n{fault}\n"))
}

#[test]
fn tiles_are_lost_in_a_crash_and_wait_for_a_freeze_to_end() {
    for story in play_tiles("kind = \"crash\"\ntarget = \"server-0\"\nrestart_after = \"400ms\"") {
        let streams = || story.records.requests.iter().filter_map(|row| Some((row.status, row.stream.as_ref()?)));
        assert!(streams().all(|(status, stream)| status != Outcome::OK || stream.messages == 4), "{:?}", story.arm);
        let lost: u64 = streams().filter_map(|(_, stream)| stream.lost).sum();
        assert!((1..=4).contains(&lost), "{:?}: of the two that are under way, {lost} tiles are lost", story.arm);
    }
    for story in play_tiles("kind = \"freeze\"\ntarget = \"server-1\"\nduration = \"1s\"") {
        let gaps = story.records.requests.iter().filter_map(|row| row.stream.as_ref()?.gap_us);
        let longest = gaps.max();
        assert!(longest.is_some_and(|gap_us| gap_us > 900 * MS), "{:?}: {longest:?}", story.arm);
        assert!(story.records.requests.iter().all(|row| row.status == Outcome::OK), "{:?}", story.arm);
    }
}
