//! How long a report of a long run takes, and how much memory, against the same aggregation in pandas.
//!
//! `cargo bench -p reports`, or `cargo bench -p reports -- 1000000` for as many requests. The inputs are written into cargo's
//! target folder first: 200 bytes a request. Without Python, or without a network to install pandas from, only the reports
//! are measured.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kernel::{
    entropy::{Entropy, unit},
    record::{AttemptRow, Event, EventRow, RequestRow},
    run_folder::{ATTEMPTS, EVENTS, REQUESTS, RUN, SCENARIO, lines::line},
    status::{Code, Outcome},
};
use serde::Serialize;

#[path = "../../real/benches/processes/environment.rs"]
mod environment;

use environment::environment;

/// The time between two looks at a child's memory. The operating system reports the peak, so only the last moment can be missed.
const LOOK: Duration = Duration::from_millis(10);

/// The columns of the foreign logs.
const COLUMNS: &str = "intended=start:ms,latency=took:ms,status=code,server=host";

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000_000);
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("analysis-{count}"));
    fs::create_dir_all(&scratch).expect("the scratch folder can be created");
    println!("{count} rows                        time   peak memory    input");
    let requests = run_folder(&scratch.join("requests"), count, 0);
    report("requests of a run", &requests, &[]);
    report("the same, --parquet", &requests, &["--parquet"]);
    pandas(&requests);
    // As many rows in all: a request, its attempt, and two events of it.
    let all = run_folder(&scratch.join("all"), count / 4, 1);
    report("requests, attempts and events", &all, &[]);
    for (name, write) in [("log.csv", csv as fn(&RequestRow) -> String), ("log.jsonl", json_line)] {
        for rows in [count * 3 / 10, count] {
            let path = scratch.join(format!("{rows}-{name}"));
            write_rows(&path, (0..rows).map(|id| request(id, rows)), |row| write(row).into_bytes());
            report(&format!("{rows} rows of {name}"), &path, &["--columns", COLUMNS]);
        }
    }
    // Formats that are recognised.
    for (name, write) in [("k6.csv", k6 as fn(&RequestRow) -> String), ("vegeta.json", vegeta)] {
        let rows = count * 3 / 10;
        let path = scratch.join(format!("{rows}-{name}"));
        write_rows(&path, (0..rows).map(|id| request(id, rows)), |row| write(row).into_bytes());
        report(&format!("{rows} rows of {name}"), &path, &[]);
    }
    fs::remove_dir_all(&scratch).expect("what was written can be removed");
}

/// Prints how long the report of an input takes, and how much memory.
fn report(what: &str, input: &Path, options: &[&str]) {
    let out = input.with_extension("report");
    let (time, peak) =
        measured(Command::new(env!("CARGO_BIN_EXE_reports")).arg(input).arg("--out").arg(&out).args(options));
    let mb = bytes(input) as f64 / 1e6;
    println!(
        "  {what:32} {:8.1} s   {peak:8.2} GiB   {mb:8.0} MB   {:6.0} MB/s",
        time.as_secs_f64(),
        mb / time.as_secs_f64()
    );
    fs::remove_dir_all(out).expect("the report can be removed");
}

/// Prints how long the aggregation of a run folder takes in pandas.
fn pandas(folder: &Path) {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python");
    match environment("pandas", &python.join("requirements.txt")) {
        Ok(interpreter) => {
            let (time, peak) = measured(Command::new(interpreter).arg(python.join("aggregate.py")).arg(folder));
            println!("  {:32} {:8.1} s   {peak:8.2} GiB", "aggregation in pandas", time.as_secs_f64());
        }
        Err(missing) => println!("  pandas is skipped: {missing}"),
    }
}

fn bytes(input: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    if input.is_file() {
        return size(input);
    }
    [REQUESTS.name, ATTEMPTS.name, EVENTS.name].iter().map(|name| size(&input.join(name))).sum()
}

/// Writes a run of `count` requests over a quarter of an hour, with `attempts` attempts of each and two events of each
/// attempt.
fn run_folder(place: &Path, count: u64, attempts: u32) -> PathBuf {
    fs::create_dir_all(place).expect("the folder can be created");
    let text = format!("name = \"long\"\nduration = \"900s\"\n[load]\nrate = {}\n", count as f64 / 900.0);
    fs::write(place.join(SCENARIO), text).expect("the scenario can be written");
    let info = "{\"world\":\"sim\",\"seed\":42,\"version\":\"0.1.0\"}\n";
    fs::write(place.join(RUN), info).expect("the information can be written");
    let requests = || (0..count).map(move |id| request(id, count));
    write_rows(&place.join(REQUESTS.name), requests(), line);
    let of_requests =
        || requests().flat_map(move |request| (1..=attempts).map(move |number| attempt(&request, number)));
    write_rows(&place.join(ATTEMPTS.name), of_requests(), line);
    write_rows(&place.join(EVENTS.name), of_requests().flat_map(|attempt| events(&attempt)), line);
    place.to_owned()
}

/// Writes a file with a row a line.
fn write_rows<T: Serialize>(path: &Path, rows: impl Iterator<Item = T>, text: impl Fn(&T) -> Vec<u8>) {
    let mut file = BufWriter::new(File::create(path).expect("the file can be created"));
    for row in rows {
        file.write_all(&text(&row)).expect("the file can be written");
    }
    file.flush().expect("the file can be written");
}

/// The request at `id` of `count`, of which one in a hundred fails.
fn request(id: u64, count: u64) -> RequestRow {
    let mut numbers = Entropy::new(42).stream_of("request", &[id]);
    let intended_us = (u128::from(id) * 900_000_000 / u128::from(count)) as u64;
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
        kind: None,
        user: None,
        size: "256x256".to_owned(),
    }
}

fn attempt(request: &RequestRow, attempt: u32) -> AttemptRow {
    let end_us = request.done_us.unwrap_or(request.intended_us);
    AttemptRow {
        request: request.id,
        attempt,
        server: request.server.clone().unwrap_or_else(|| "server-0".into()),
        start_us: request.intended_us,
        end_us,
        status: if request.status.is_success() { Code::Ok } else { Code::Unavailable },
        cause: (!request.status.is_success()).then(|| "connection reset".to_owned()),
    }
}

/// When the client picked a server for an attempt, and when the server finished it.
fn events(attempt: &AttemptRow) -> [EventRow; 2] {
    let event = |at_us, source: &str, event, target| EventRow {
        at_us,
        source: source.into(),
        event,
        target,
        cause: None,
        fault: None,
        request: Some(attempt.request),
        attempt: Some(attempt.attempt),
        duration_us: None,
    };
    let picked = event(attempt.start_us, "client", Event::Pick, Some(attempt.server.clone()));
    [picked, event(attempt.end_us, &attempt.server, Event::Finished, None)]
}

fn csv(row: &RequestRow) -> String {
    let [start, took] = [row.intended_us, row.latency_us.unwrap_or_default()].map(|us| us as f64 / 1e3);
    let host = row.server.as_deref().unwrap_or_default();
    let header = if row.id == 0 { "start,took,code,host,path\n" } else { "" };
    format!("{header}{start:.3},{took:.3},{},{host},/thumbnail\n", row.status.name())
}

fn json_line(row: &RequestRow) -> String {
    let [start, took] = [row.intended_us, row.latency_us.unwrap_or_default()].map(|us| us as f64 / 1e3);
    let host = row.server.as_deref().unwrap_or_default();
    let status = row.status.name();
    format!(
        "{{\"start\":{start:.3},\"took\":{took:.3},\"code\":\"{status}\",\"host\":\"{host}\",\"path\":\"/thumbnail\"}}\n"
    )
}

/// The time at which the logs with times of day begin, in microseconds since 1970.
const START_US: u64 = 1_777_852_800_000_000;

fn k6(row: &RequestRow) -> String {
    let header = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,\
                  scenario,service,status,subproto,tls_version,url,extra_tags,metadata\n";
    let header = if row.id == 0 { header } else { "" };
    let done_s = (START_US + row.done_us.unwrap_or_default()) / 1_000_000;
    let took_ms = row.latency_us.unwrap_or_default() as f64 / 1e3;
    let status = if row.status.is_success() { 200 } else { 503 };
    format!(
        "{header}http_req_duration,{done_s},{took_ms:.6},,,,true,,GET,http://127.0.0.1/,HTTP/1.1,default,,{status},,,\
         http://127.0.0.1/,,\n"
    )
}

fn vegeta(row: &RequestRow) -> String {
    let seconds = row.intended_us / 1_000_000;
    let at = format!("2026-05-04T00:{:02}:{:02}.{:06}Z", seconds / 60, seconds % 60, row.intended_us % 1_000_000);
    let took_ns = row.latency_us.unwrap_or_default() * 1_000;
    let code = if row.status.is_success() { 200 } else { 503 };
    format!(
        "{{\"attack\":\"\",\"seq\":{},\"code\":{code},\"timestamp\":\"{at}\",\"latency\":{took_ns},\"bytes_out\":0,\
         \"bytes_in\":12,\"error\":\"\",\"body\":null,\"method\":\"GET\",\"url\":\"http://127.0.0.1/\",\"headers\":null}}\n",
        row.id
    )
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
