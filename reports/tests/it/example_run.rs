//! Run folders to test with, written as `sim` and `real` write them.

use std::path::{Path, PathBuf};

use clap::Parser;
use kernel::{
    cli::Failure,
    record::{AttemptRow, Event, EventRow, Records, RequestRow},
    run_folder::{Earlier, RunFolder, RunInfo},
    scenario::Scenario,
    status::{Code, Outcome},
};
use reports::command::{CommandOutput, Options, run};

pub(crate) const S: u64 = 1_000_000;

/// Two servers, four requests a second for half a minute; server-0 freezes from 10 s to 15 s.
pub(crate) const SCENARIO: &str = r#"
name = "story"
question = "What becomes of <requests> & retries?"
duration = "30s"
[servers]
replicas = 2
[load]
rate = 4.0
[[fault]]
at = "10s"
kind = "freeze"
target = "server-0"
duration = "5s"
[[expect]]
metric = "success_rate"
min = 0.9
"#;

/// The folder of a run of the story in `world`, below `directory`. Latencies are `scale` times as long.
pub(crate) fn folder(directory: &Path, world: &str, seed: u64, scale: u64) -> PathBuf {
    let place = directory.join(format!("{world}-seed{seed}"));
    write(&place, world, seed, SCENARIO, &records(scale, seed));
    place
}

pub(crate) fn write(place: &Path, world: &str, seed: u64, scenario: &str, records: &Records) {
    let scenario = Scenario::parse("story.toml", scenario, &[]).unwrap();
    let folder = RunFolder::prepare(place, Earlier::Replace).unwrap();
    folder.write(&scenario, &RunInfo::new(world, seed), records, scenario.duration).unwrap();
}

/// Each request takes 20 to 26 ms. Those for server-0 in the first two seconds of its freeze time out after 2 s and
/// are answered by server-1; one of them is not. The client then considers server-0 unhealthy until 16 s.
pub(crate) fn records(scale: u64, seed: u64) -> Records {
    let mut records = Records::default();
    for id in 0..120 {
        let intended_us = id * S / 4;
        let usual = (20_000 + (id * 3 + seed) % 7 * 1_000) * scale;
        let on_frozen = (10 * S..12 * S).contains(&intended_us) && id % 2 == 0;
        let first = if id % 2 == 0 && !(12 * S..16 * S).contains(&intended_us) { "server-0" } else { "server-1" };
        let (latency_us, status, attempts) = match id {
            44 => (4_100_000, Outcome::Status(Code::DeadlineExceeded), 2),
            _ if on_frozen => (2_100_000 + usual, Outcome::OK, 2),
            _ => (usual, Outcome::OK, 1),
        };
        let last = if attempts > 1 { "server-1" } else { first };
        let done_us = intended_us + latency_us;
        records.requests.push(RequestRow {
            id,
            intended_us,
            sent_us: Some(intended_us + 10),
            done_us: Some(done_us),
            latency_us: Some(latency_us),
            status,
            server: Some(last.into()),
            attempts,
            failovers: attempts - 1,
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
            size: "256x256".to_owned(),
        });
        for attempt in 1..=attempts {
            let frozen = attempts > 1 && attempt == 1;
            let code = if frozen { Code::DeadlineExceeded } else { code(status) };
            records.attempts.push(AttemptRow {
                request: id,
                attempt,
                server: if frozen { first } else { last }.into(),
                start_us: if attempt == 1 { intended_us + 10 } else { intended_us + 2_100_000 },
                end_us: if frozen { intended_us + 2_000_010 } else { done_us },
                status: code,
                cause: (code != Code::Ok).then(|| "no answer in time".to_owned()),
                committed_us: None,
            });
        }
        if attempts > 1 {
            let failed = EventRow {
                request: Some(id),
                attempt: Some(1),
                ..event(intended_us + 2 * S, Event::AttemptFailed, "server-0")
            };
            let failover = EventRow {
                request: Some(id),
                attempt: Some(2),
                ..event(intended_us + 2_100_000, Event::Failover, "server-1")
            };
            records.events.extend([failed, failover]);
        }
        records.events.push(EventRow {
            request: Some(id),
            attempt: Some(attempts),
            source: last.into(),
            target: None,
            ..event(done_us, Event::Finished, last)
        });
    }
    let nemesis = |at_us, kind: Event| EventRow {
        source: "nemesis".into(),
        fault: Some(0),
        cause: (kind == Event::FaultStart).then(|| "freeze".to_owned()),
        ..event(at_us, kind, "server-0")
    };
    records.events.extend([nemesis(10 * S, Event::FaultStart), nemesis(15 * S, Event::FaultEnd)]);
    records.events.extend([event(12 * S, Event::Unhealthy, "server-0"), event(16 * S, Event::Healthy, "server-0")]);
    records.sort();
    records
}

pub(crate) fn code(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Status(code) => code,
        Outcome::Dropped | Outcome::Degraded => Code::Unknown,
    }
}

pub(crate) fn event(at_us: u64, event: Event, target: &str) -> EventRow {
    EventRow {
        at_us,
        source: "client".into(),
        event,
        target: Some(target.into()),
        cause: None,
        fault: None,
        request: None,
        call: None,
        attempt: None,
        duration_us: None,
    }
}

/// Runs the command with these arguments.
pub(crate) fn reports(words: &[&str]) -> Result<CommandOutput, Failure> {
    run(&Options::try_parse_from([&["reports"], words].concat()).unwrap())
}

/// Returns a path as an argument.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}
