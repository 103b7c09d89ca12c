//! Metrics as Debian's Prometheus reads them: scraped from a run, and imported from a simulated one.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "Prometheus is asked outside of any World")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::AtomicU64,
    thread,
    time::Duration,
};

use kernel::{
    export::{EPOCH_S, Family, Timeline, Value, dashboard::expressions},
    scenario::Scenario,
};
use serde_json::Value as Json;
use sim::Plan;
use tempfile::TempDir;

/// A run that has failures, retries, an ejection and an open breaker.
const SCENARIO: &str = r#"
name = "scraped"
duration = "20s"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 50
[run]
max_lateness = "1h"
[client]
attempt_timeout = "200ms"
[client.circuit_breaker]
scope = "server"
[client.outlier_detection]
[[fault]]
at = "2s"
kind = "freeze"
target = "server-1"
duration = "16s"
"#;

/// Returns the programs of Prometheus that `.ci/peers` has installed; `None` without, which is printed.
pub(crate) fn programs() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers/prometheus/usr/bin");
    if folder.join("promtool").exists() {
        return Some(folder);
    }
    let skipped =
        "skipped: the tests against Prometheus, which is not installed; `.ci/peers` installs it where apt-get can\n";
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

/// A process. Dropped, it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A series with its labels: Unix times in seconds, and values.
pub(crate) struct Series {
    metric: Json,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Series {
    /// Returns the value of a label; an empty one is none.
    pub(crate) fn label(&self, name: &str) -> String {
        self.metric[name].as_str().unwrap_or_default().to_owned()
    }
}

/// A Prometheus with its data in a folder.
pub(crate) struct Prometheus {
    _process: Running,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one with this configuration and these options, and waits until it is ready.
    pub(crate) fn start(programs: &Path, folder: &Path, configuration: &str, options: &[&str]) -> Self {
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration).expect("there is room");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let address = free.expect("there is a free port");
        let process = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--storage.tsdb.retention.time=100y")
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let prometheus = Self { _process: Running(process), address };
        prometheus.wait("vector(1)", None, |values| values == [1.0]);
        prometheus
    }

    /// Starts one that scrapes the metrics at `target` several times a second.
    fn scraping(programs: &Path, folder: &Path, target: SocketAddr, options: &[&str]) -> Self {
        let configuration = format!(
            "global: {{ scrape_interval: 250ms, scrape_timeout: 250ms }}\n\
             scrape_configs: [{{ job_name: rehearsal, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
        );
        Self::start(programs, folder, &configuration, options)
    }

    /// Starts one that has imported the metrics of a run.
    pub(crate) fn of_timeline(programs: &Path, folder: &Path, timeline: &Timeline) -> Self {
        let file = folder.join("run.om");
        timeline.write(&mut fs::File::create(&file).expect("there is room")).expect("there is room");
        let imported = Command::new(programs.join("promtool"))
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&file, &folder.join("data")])
            .output()
            .expect("it starts");
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        Self::start(programs, folder, "global: {}\n", &[])
    }

    /// Returns the values of a query now, or at a Unix time; `None` if it is not answered.
    fn ask(&self, query: &str, at_s: Option<u64>) -> Option<Vec<f64>> {
        let time = at_s.map(|at| format!("&time={at}")).unwrap_or_default();
        let results = self.results("query", query, &time)?;
        Some(results.iter().filter_map(|result| result["value"][1].as_str()?.parse().ok()).collect())
    }

    /// Returns the series of a query over a range, such as `up[1m]`, that ends now.
    pub(crate) fn series(&self, query: &str) -> Vec<Series> {
        let results = self.results("query", query, "").expect("it answers");
        let point = |value: &Json| Some((value[0].as_f64()?, value[1].as_str()?.parse().ok()?));
        let points = |result: &Json| result["values"].as_array()?.iter().map(point).collect::<Option<Vec<_>>>();
        let series = |result: &Json| Some(Series { metric: result["metric"].clone(), points: points(result)? });
        results.iter().map(|result| series(result).expect("it is a range")).collect()
    }

    /// Returns the Unix times at which a query has a value, of those between two times, one each second.
    pub(crate) fn times(&self, query: &str, (from_s, to_s): (u64, u64), step_s: u64) -> Option<Vec<u64>> {
        let results = self.results("query_range", query, &format!("&start={from_s}&end={to_s}&step={step_s}"))?;
        let values = results.iter().flat_map(|result| result["values"].as_array().cloned().unwrap_or_default());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a Unix time")]
        Some(values.filter_map(|value| value[0].as_f64().map(|time| time as u64)).collect())
    }

    /// Returns what the API answers to a query; `None` if it does not answer.
    fn results(&self, method: &str, query: &str, more: &str) -> Option<Vec<Json>> {
        let mut client = TcpStream::connect(self.address).ok()?;
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!("GET /api/v1/{method}?query={query}{more} HTTP/1.0\r\n\r\n");
        client.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let body: Json = serde_json::from_str(body).ok()?;
        assert_ne!(body["status"], "error", "{body}");
        body["data"]["result"].as_array().cloned()
    }

    /// Asks until the values are right, and returns them.
    fn wait(&self, query: &str, at_s: Option<u64>, is_right: impl Fn(&[f64]) -> bool) -> Vec<f64> {
        let mut last = None;
        for _ in 0..300 {
            last = self.ask(query, at_s);
            if let Some(values) = last.as_ref().filter(|values| is_right(values)) {
                return values.clone();
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{query} gives {last:?}");
    }
}

#[test]
fn a_run_is_scraped_as_text_and_as_native_histograms_and_the_dashboard_has_its_values() {
    let Some(programs) = programs() else { return };
    let folder = TempDir::new().expect("there is room");
    let [text, native] = ["text", "native"].map(|name| folder.path().join(name));
    for folder in [&text, &native] {
        fs::create_dir(folder).expect("there is room");
    }
    let scenario = folder.path().join("scraped.toml");
    fs::write(&scenario, SCENARIO).expect("there is room");
    let mut run = Command::new(env!("CARGO_BIN_EXE_real"));
    kernel::cli::without_variables(&mut run);
    run.arg(&scenario).args(["--plain", "--metrics", "127.0.0.1:0", "--out"]).arg(folder.path().join("run"));
    let mut run = Running(run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let mut said = BufReader::new(run.0.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it is text");
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let address = line.trim().trim_start_matches("metrics are at http://").trim_end_matches("/metrics");
    let address = address.parse().expect("it says its address");

    let by_text = Prometheus::scraping(&programs, &text, address, &[]);
    let by_native = Prometheus::scraping(&programs, &native, address, &["--enable-feature=native-histograms"]);
    let is_some = |values: &[f64]| values.iter().any(|value| *value > 0.0);
    by_text.wait("rehearsal_fault_active{kind=\"freeze\"}", None, |values| values == [1.0]);
    by_text.wait("sum(rehearsal_circuit_breaker_state{state!=\"closed\"})", None, is_some);
    for expression in expressions("5s") {
        by_text.ask(&expression, None).unwrap_or_else(|| panic!("{expression} is answered"));
    }
    by_text.wait("up", None, |values| values == [1.0]);
    // Both have the same quantile, as far as the buckets of each are fine.
    let p50 = "histogram_quantile(0.5, sum by (le) (rate(grpc_client_call_duration_seconds_bucket[5s])))";
    by_text.wait(p50, None, |values| is_some(values));
    let p50 = "histogram_quantile(0.5, sum(rate(grpc_client_call_duration_seconds[5s])))";
    by_native.wait(p50, None, |values| is_some(values));
    by_native.wait("sum(histogram_count(grpc_server_call_duration_seconds))", None, |values| {
        values.iter().any(|n| *n > 50.0)
    });
    let classic = by_native.ask("grpc_client_call_duration_seconds_bucket", None);
    assert_eq!(classic, Some(Vec::new()), "they were read as native ones");
}

#[test]
fn promtool_imports_a_simulated_run_and_prometheus_has_its_values() {
    let Some(programs) = programs() else { return };
    let folder = TempDir::new().expect("there is room");
    let scenario = Scenario::parse("scraped.toml", SCENARIO, &[]).expect("it is valid");
    let plan = Plan::new(scenario, 7);
    let run = sim::run_measured(&plan, Duration::from_secs(600), &AtomicU64::new(0)).expect("it comes to its end");
    let timeline = run.timeline(&plan, Duration::from_secs(1));
    let prometheus = Prometheus::of_timeline(&programs, folder.path(), &timeline);
    let count = |timeline: &Timeline, at| match timeline.value(Family::Requests, &["OK"], at) {
        Some(Value::Count(count)) => *count as f64,
        other => panic!("{other:?}"),
    };
    for at in [1, 5, 20] {
        let values = prometheus.ask("rehearsal_requests_total{status=\"OK\"}", Some(EPOCH_S + at));
        assert_eq!(values, Some(vec![count(&timeline, at)]), "at {at} s");
    }
    let active = [1, 10, 19].map(|at| {
        let values = prometheus.ask("sum(rehearsal_fault_active{kind=\"freeze\"})", Some(EPOCH_S + at));
        values.and_then(|values| values.first().copied()).unwrap_or(0.0)
    });
    assert_eq!(active, [0.0, 1.0, 0.0]);
    for expression in expressions("5s") {
        prometheus.ask(&expression, Some(EPOCH_S + 10)).unwrap_or_else(|| panic!("{expression} is answered"));
    }
}
