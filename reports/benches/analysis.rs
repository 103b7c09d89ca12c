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
    for log in &MAPPED {
        for rows in [count * 3 / 10, count] {
            log.report(&scratch, rows);
        }
    }
    for log in &RECOGNISED {
        log.report(&scratch, count * 3 / 10);
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
        stream: None,
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
        committed_us: None,
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
        call: None,
        attempt: Some(attempt.attempt),
        duration_us: None,
    };
    let picked = event(attempt.start_us, "client", Event::Pick, Some(attempt.server.clone()));
    [picked, event(attempt.end_us, &attempt.server, Event::Finished, None)]
}

/// A log of another program: what is before the first row, each row, what is between two, and what is behind the last.
struct ForeignLog {
    name: &'static str,
    start: &'static str,
    row: fn(&Sample) -> String,
    between: &'static str,
    end: &'static str,
    options: &'static [&'static str],
}

impl ForeignLog {
    /// Returns a log of lines without a header.
    const fn lines(name: &'static str, row: fn(&Sample) -> String) -> Self {
        Self { name, start: "", row, between: "\n", end: "\n", options: &[] }
    }

    /// Writes a log of that many rows, and prints how long its report takes.
    fn report(&self, scratch: &Path, rows: u64) {
        let path = scratch.join(format!("{rows}-{}", self.name));
        let mut file = BufWriter::new(File::create(&path).expect("the file can be created"));
        file.write_all(self.start.as_bytes()).expect("the file can be written");
        for id in 0..rows {
            let between = if id == 0 { "" } else { self.between };
            write!(file, "{between}{}", (self.row)(&Sample::new(&request(id, rows)))).expect("the file can be written");
        }
        file.write_all(self.end.as_bytes()).expect("the file can be written");
        file.into_inner().expect("the file can be written");
        report(&format!("{rows} rows of {}", self.name), &path, self.options);
        fs::remove_file(path).expect("the log can be removed");
    }
}

/// What the logs have of a request.
struct Sample {
    id: u64,
    /// The intended start, the actual one and the end, in microseconds since the start of the run.
    intended_us: u64,
    sent_us: u64,
    done_us: u64,
    is_ok: bool,
    /// The status in gRPC and in HTTP.
    status: &'static str,
    code: u16,
}

impl Sample {
    fn new(row: &RequestRow) -> Self {
        Self {
            id: row.id,
            intended_us: row.intended_us,
            sent_us: row.sent_us.unwrap_or_default(),
            done_us: row.done_us.unwrap_or_default(),
            is_ok: row.status.is_success(),
            status: row.status.name(),
            code: if row.status.is_success() { 200 } else { 503 },
        }
    }

    fn took_us(&self) -> u64 {
        self.done_us - self.intended_us
    }

    fn took_ms(&self) -> f64 {
        self.took_us() as f64 / 1e3
    }

    /// Returns one text for a success, and another for a failure.
    fn either(&self, ok: &'static str, failed: &'static str) -> &'static str {
        if self.is_ok { ok } else { failed }
    }
}

/// The time at which the logs with times of day begin, in microseconds since 1970.
const START_US: u64 = 1_777_852_800_000_000;

/// Returns a time of the run as a time of day.
fn time_of_day(us: u64) -> String {
    let seconds = us / 1_000_000;
    format!("2026-05-04T00:{:02}:{:02}.{:06}Z", seconds / 60, seconds % 60, us % 1_000_000)
}

/// Logs whose columns have to be mapped.
const MAPPED: [ForeignLog; 3] = [
    ForeignLog {
        start: "start,took,code,host,path\n",
        options: &["--columns", COLUMNS],
        ..ForeignLog::lines("log.csv", |row| {
            let start_ms = row.intended_us as f64 / 1e3;
            format!("{start_ms:.3},{:.3},{},server-{},/thumbnail", row.took_ms(), row.status, row.id % 2)
        })
    },
    ForeignLog { options: &["--columns", COLUMNS], ..ForeignLog::lines("log.jsonl", object) },
    ForeignLog {
        start: "[\n",
        between: ",\n",
        end: "\n]\n",
        options: &["--columns", COLUMNS],
        ..ForeignLog::lines("log.json", object)
    },
];

fn object(row: &Sample) -> String {
    let start_ms = row.intended_us as f64 / 1e3;
    format!(
        "{{\"start\":{start_ms:.3},\"took\":{:.3},\"code\":\"{}\",\"host\":\"server-{}\",\"path\":\"/thumbnail\"}}",
        row.took_ms(),
        row.status,
        row.id % 2
    )
}

/// Logs in formats that are recognised.
const RECOGNISED: [ForeignLog; 13] = [
    ForeignLog {
        start: "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,\
                scenario,service,status,subproto,tls_version,url,extra_tags,metadata\n",
        ..ForeignLog::lines("k6.csv", |row| {
            let done_s = (START_US + row.done_us) / 1_000_000;
            format!(
                "http_req_duration,{done_s},{:.6},,,,true,,GET,http://127.0.0.1/,HTTP/1.1,default,,{},,,\
                 http://127.0.0.1/,,",
                row.took_ms(),
                row.code
            )
        })
    },
    ForeignLog::lines("k6.json", |row| {
        format!(
            "{{\"metric\":\"http_req_duration\",\"type\":\"Point\",\"data\":{{\"time\":\"{}\",\"value\":{:.6},\"tags\":{{\
             \"expected_response\":\"true\",\"group\":\"\",\"method\":\"GET\",\"name\":\"http://127.0.0.1/\",\"proto\":\
             \"HTTP/1.1\",\"scenario\":\"default\",\"status\":\"{}\",\"url\":\"http://127.0.0.1/\"}}}}}}",
            time_of_day(row.done_us),
            row.took_ms(),
            row.code
        )
    }),
    ForeignLog::lines("vegeta.json", |row| {
        format!(
            "{{\"attack\":\"\",\"seq\":{},\"code\":{},\"timestamp\":\"{}\",\"latency\":{},\"bytes_out\":0,\
             \"bytes_in\":12,\"error\":\"\",\"body\":null,\"method\":\"GET\",\"url\":\"http://127.0.0.1/\",\"headers\":null}}",
            row.id,
            row.code,
            time_of_day(row.intended_us),
            row.took_us() * 1_000
        )
    }),
    ForeignLog::lines("vegeta.csv", |row| {
        let start_ns = (START_US + row.intended_us) * 1_000;
        let error = row.either("", "503 Service Unavailable");
        let took_ns = row.took_us() * 1_000;
        format!("{start_ns},{},{took_ns},0,12,{error},,,{},GET,http://127.0.0.1/,", row.code, row.id)
    }),
    ForeignLog {
        start: "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,\
                sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n",
        ..ForeignLog::lines("jmeter.csv", |row| {
            let [start_ms, took_ms] = [START_US + row.sent_us, row.took_us()].map(|us| us / 1_000);
            format!(
                "{start_ms},{took_ms},GET /,{},{},Thread Group 1-{},text,{},,178,118,8,8,http://127.0.0.1/,{took_ms},0,1",
                row.code,
                row.either("OK", "Service Unavailable"),
                row.id % 8,
                row.is_ok
            )
        })
    },
    ForeignLog {
        start: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testResults version=\"1.2\">\n",
        end: "\n</testResults>\n",
        ..ForeignLog::lines("jmeter.xml", |row| {
            let [start_ms, took_ms] = [START_US + row.sent_us, row.took_us()].map(|us| us / 1_000);
            format!(
                "<httpSample t=\"{took_ms}\" it=\"0\" lt=\"{took_ms}\" ct=\"1\" ts=\"{start_ms}\" s=\"{}\" lb=\"GET /\" \
                 rc=\"{}\" rm=\"{}\" tn=\"Thread Group 1-{}\" dt=\"text\" by=\"178\" sby=\"118\" ng=\"8\" na=\"8\"/>",
                row.is_ok,
                row.code,
                row.either("OK", "Service Unavailable"),
                row.id % 8
            )
        })
    },
    ForeignLog {
        start: "request_type,name,response_time,response_length,exception,start_time,url\n",
        ..ForeignLog::lines("locust.csv", |row| {
            let start_s = (START_US + row.sent_us) as f64 / 1e6;
            let error = row.either("", "HTTPError('503 Server Error: Service Unavailable for url: /')");
            format!("GET,/,{:.6},12,{error},{start_s:.6},http://127.0.0.1/", row.took_ms())
        })
    },
    ForeignLog {
        start: "duration (ms),status,error\n",
        options: &["--rate", "11111"],
        ..ForeignLog::lines("ghz.csv", |row| {
            let error = row.either("", "rpc error: code = Unavailable desc = error reading from server: EOF");
            format!("{:.2},{},{error}", row.took_ms(), row.either("OK", "Unavailable"))
        })
    },
    ForeignLog {
        start: "{\"count\":3000000,\"total\":1,\"average\":1,\"fastest\":1,\"slowest\":2,\"rps\":1.5,\"details\":[\n",
        between: ",\n",
        end: "\n]}\n",
        ..ForeignLog::lines("ghz.json", |row| {
            format!(
                "{{\"timestamp\":\"{}\",\"latency\":{},\"error\":\"{}\",\"status\":\"{}\"}}",
                time_of_day(row.done_us),
                row.took_us() * 1_000,
                row.either("", "rpc error: code = Unavailable desc = EOF"),
                row.either("OK", "Unavailable")
            )
        })
    },
    ForeignLog::lines("gatling.log", |row| {
        let [start_ms, end_ms] = [row.sent_us, row.done_us].map(|us| (START_US + us) / 1_000);
        let error = row.either("", "status.find.is(200), but actually found 503");
        format!("REQUEST\t\trequest_1\t{start_ms}\t{end_ms}\t{}\t{error}", row.either("OK", "KO"))
    }),
    ForeignLog::lines("envoy.log", |row| {
        let took_ms = row.took_us() / 1_000;
        format!(
            "[{}] \"GET / HTTP/1.1\" {} - 0 12 {took_ms} {took_ms} \"-\" \"curl/8\" \"a3a8b9f2-1111-2222-3333-444455556666\" \
             \"127.0.0.1\" \"10.0.0.{}:8080\"",
            time_of_day(row.sent_us),
            row.code,
            row.id % 2
        )
    }),
    ForeignLog {
        start: "request-start,DNS,DNS+dialup,Response-delay,request-duration,bytes,status\n",
        ..ForeignLog::lines("oha.csv", |row| {
            let [start_s, took_s] = [row.sent_us, row.took_us()].map(|us| us as f64 / 1e6);
            format!("{start_s:.7},0.0000001,0.0000002,{took_s:.7},{took_s:.7},12,{}", row.code)
        })
    },
    ForeignLog {
        start: "response-time,DNS+dialup,DNS,Request-write,Response-delay,Response-read,status-code,offset\n",
        ..ForeignLog::lines("hey.csv", |row| {
            let [start_s, took_s] = [row.sent_us, row.took_us()].map(|us| us as f64 / 1e6);
            format!("{took_s:.4},0.0000,0.0000,0.0000,{took_s:.4},0.0000,{},{start_s:.4}", row.code)
        })
    },
];

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
