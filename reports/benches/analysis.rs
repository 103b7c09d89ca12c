//! How long a report of a long run takes, and how much memory, against the same aggregation in pandas.
//!
//! `cargo bench -p reports`, or `cargo bench -p reports -- 1000000` for as many requests. The run is written into cargo's
//! target folder first: 200 bytes a request. Without Python, or without a network to install pandas from, only the report
//! is measured.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kernel::{
    entropy::{Entropy, unit},
    record::{Records, RequestRow},
    run_folder::{Earlier, RunFolder, RunInfo},
    scenario::Scenario,
    status::{Code, Outcome},
};

#[path = "../../real/benches/processes/environment.rs"]
mod environment;

use environment::environment;

/// The time between two looks at a child's memory. The operating system reports the peak, so only the last moment can be missed.
const LOOK: Duration = Duration::from_millis(10);

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000_000);
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("analysis-{count}"));
    let folder = scratch.join("run");
    eprintln!("writing {count} requests to {}", folder.display());
    write(&folder, count);
    let report = scratch.join("report");
    let (ours, ours_peak) = measured(
        Command::new(env!("CARGO_BIN_EXE_reports")).arg(&folder).arg("--out").arg(&report).args(["--window", "1s"]),
    );
    println!("{count} requests                    time   peak memory");
    println!("  report with plots      {:10.1} s   {ours_peak:8.2} GiB", ours.as_secs_f64());
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python");
    match environment("pandas", &python.join("requirements.txt")) {
        Ok(interpreter) => {
            let (pandas, peak) = measured(Command::new(interpreter).arg(python.join("aggregate.py")).arg(&folder));
            println!("  aggregation in pandas  {:10.1} s   {peak:8.2} GiB", pandas.as_secs_f64());
            println!(
                "  ratio                  {:10.1} x   {:8.1} x",
                pandas.as_secs_f64() / ours.as_secs_f64(),
                peak / ours_peak
            );
        }
        Err(missing) => println!("  pandas is skipped: {missing}"),
    }
    fs::remove_dir_all(&scratch).expect("what was written can be removed");
}

/// A run of `count` requests over a quarter of an hour, of which one in a hundred fails.
fn write(folder: &Path, count: u64) {
    let text = format!("name = \"long\"\nduration = \"900s\"\n[load]\nrate = {}\n", count as f64 / 900.0);
    let scenario = Scenario::parse("long.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
    let entropy = Entropy::new(42);
    let row = |id| {
        let mut numbers = entropy.stream_of("request", &[id]);
        let intended_us = id * 900_000_000 / count;
        let sent_us = intended_us + (unit(&mut numbers) * 100.0) as u64;
        // Exponential, with a mean of 20 ms above 1 ms.
        let done_us = sent_us + 1_000 - (20_000.0 * unit(&mut numbers).max(1e-9).ln()) as u64;
        let status = if unit(&mut numbers) < 0.01 { Outcome::Status(Code::Unavailable) } else { Outcome::OK };
        RequestRow {
            id,
            intended_us,
            sent_us: Some(sent_us),
            done_us: Some(done_us),
            latency_us: Some(done_us - intended_us),
            status,
            server: Some(format!("server-{}", id % 2).into()),
            attempts: 1,
            failovers: 0,
            hedges: 0,
            rejected: false,
            answer: None,
            size: "256x256".to_owned(),
        }
    };
    let records = Records { requests: (0..count).map(row).collect(), ..Records::default() };
    let folder = RunFolder::prepare(folder, Earlier::Replace).unwrap_or_else(|error| panic!("{error}"));
    let written = folder.write(&scenario, &RunInfo::new("sim", 42), &records, scenario.duration);
    written.unwrap_or_else(|error| panic!("{error}"));
}

/// Runs it to its end: how long that took, and the most memory it held, in GiB.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures this machine")]
fn measured(command: &mut Command) -> (Duration, f64) {
    let start = std::time::Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it can be started");
    let mut peak = 0.0;
    let status = loop {
        peak = peak_gib(&child).unwrap_or(peak);
        match child.try_wait().expect("it is our child") {
            Some(status) => break status,
            None => thread::sleep(LOOK),
        }
    };
    assert!(status.success(), "{command:?} ended with {status}");
    (start.elapsed(), peak)
}

/// The most memory that it has held so far, in GiB.
fn peak_gib(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib / (1 << 20) as f64)
}
