//! Metrics that are sent to a collector of OpenTelemetry: what it gets, and what becomes of a run whose collector does not answer.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "these tests are a collector, outside of any World"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
};

use kernel::proto::otlp::{
    AggregationTemporality, ExportMetricsServiceRequest, HistogramDataPoint, KeyValue, NumberDataPoint, any_value,
    metric::Data,
};
use prost::Message;
use serde_json::Value as Json;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::{
    command::command_of,
    user::{Foreground, User},
};

/// A run on two servers, of which one fails every other call for a second.
const SCENARIO: &str = "name = \"sent\"\nduration = \"3s\"\n[servers]\nreplicas = 2\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 50\n\
    [run]\nmax_lateness = \"1h\"\n[[load.request]]\nname = \"small\"\nweight = 2\n[[load.request]]\nname = \"large\"\nsizes = [\"16x16\"]\n\
    [[fault]]\nat = \"1s\"\nkind = \"errors\"\ntarget = \"server-1\"\nrate = 0.5\nduration = \"1s\"\n";

/// A message that a collector has received: the head of its request, and the metrics.
struct Received {
    head: String,
    request: ExportMetricsServiceRequest,
}

/// Reads a request of HTTP with its body.
fn read(client: &TcpStream) -> Received {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("it is text"), 0, "the head is whole: {head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let mut body = vec![0; length.expect("the length is said")];
    reader.read_exact(&mut body).expect("the body is whole");
    Received { head, request: ExportMetricsServiceRequest::decode(&*body).expect("it is a message of OTLP") }
}

/// Starts a collector that takes every message.
fn collector() -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
    let address = listener.local_addr().expect("it has an address");
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("it connects");
            let message = read(&client);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    (address, received)
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let any_value::Value::StringValue(text) = found.value.as_ref()?.value.as_ref()?;
    Some(text.clone())
}

/// The points of the metrics of a message, by name.
struct Metrics<'a>(BTreeMap<&'a str, &'a Data>);

impl<'a> Metrics<'a> {
    fn new(request: &'a ExportMetricsServiceRequest) -> Self {
        let [resource] = &request.resource_metrics[..] else { panic!("{request:?}") };
        let attributes = &resource.resource.as_ref().expect("it says of whom").attributes;
        assert_eq!(text(attributes, "service.name").as_deref(), Some("rehearsal"));
        let [scope] = &resource.scope_metrics[..] else { panic!("{resource:?}") };
        Self(scope.metrics.iter().filter_map(|metric| Some((&*metric.name, metric.data.as_ref()?))).collect())
    }

    fn sum(&self, name: &str) -> &'a [NumberDataPoint] {
        match self.0.get(name) {
            Some(Data::Sum(sum)) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32);
                &sum.data_points
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    fn histogram(&self, name: &str) -> &'a [HistogramDataPoint] {
        match self.0.get(name) {
            Some(Data::Histogram(histogram)) => &histogram.data_points,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Returns the sums of a counter by the values of these attributes.
    fn by(&self, name: &str, keys: &[&str]) -> BTreeMap<Vec<String>, u64> {
        let mut sums = BTreeMap::new();
        for point in self.sum(name) {
            let key = keys.iter().map(|key| text(&point.attributes, key).unwrap_or_default()).collect();
            *sums.entry(key).or_default() += u64::try_from(point.as_int.expect("it is whole")).expect("it counts");
        }
        sums.retain(|_, count| *count > 0);
        sums
    }
}

/// Counts the rows of a file of a run by these fields.
fn rows(run: &Path, file: &str, keys: &[&str]) -> BTreeMap<Vec<String>, u64> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(run.join(file)).expect("the run has it").lines() {
        let row: Json = serde_json::from_str(line).expect("it is a row");
        let key = keys.iter().map(|key| row[*key].as_str().unwrap_or_default().to_owned()).collect();
        *counts.entry(key).or_default() += 1;
    }
    counts
}

/// Starts a run of `scenario` that sends its metrics to `url`.
fn play(folder: &Path, scenario: &str, url: &str) -> Child {
    let file = folder.join("sent.toml");
    fs::write(&file, scenario).expect("there is room");
    let mut command = command_of(env!("CARGO_BIN_EXE_real"));
    command.arg(&file).args(["--plain", "--otlp", url, "--out"]).arg(folder.join("run"));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

#[test]
fn a_collector_gets_the_names_and_the_counts_of_a_run() {
    let (address, received) = collector();
    let folder = TempDir::new().expect("there is room");
    let run = play(folder.path(), SCENARIO, &format!("http://{address}"));
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("warning: metrics"), "{said}");
    // The last one is sent at the end, when all counts are those of the run.
    let messages: Vec<Received> = received.try_iter().collect();
    let last = messages.last().expect("there is one");
    assert!(last.head.starts_with(&format!("POST /v1/metrics HTTP/1.1\r\nHost: {address}\r\n")), "{}", last.head);
    assert!(last.head.contains("\r\nContent-Type: application/x-protobuf\r\n"), "{}", last.head);

    let metrics = Metrics::new(&last.request);
    let run = folder.path().join("run");
    let by_kind = ["status", "kind"];
    let requests = rows(&run, "requests.jsonl", &by_kind);
    assert_eq!(requests.values().sum::<u64>(), 150);
    let kinds: BTreeSet<&str> = requests.keys().map(|key| &*key[1]).collect();
    assert_eq!(kinds, BTreeSet::from(["large", "small"]));
    assert_eq!(metrics.by("rehearsal.requests", &by_kind), requests);
    assert_eq!(metrics.by("grpc.client.attempt.started", &["server"]), rows(&run, "attempts.jsonl", &["server"]));
    let failed = rows(&run, "attempts.jsonl", &["server", "status"]);
    let durations = metrics.histogram("grpc.client.attempt.duration");
    let counted = durations.iter().map(|point| {
        let key = ["server", "grpc.status"].map(|key| text(&point.attributes, key).unwrap_or_default());
        (key.to_vec(), point.count)
    });
    assert_eq!(counted.collect::<BTreeMap<_, _>>(), failed);
    assert!(failed.contains_key(["server-1", "UNAVAILABLE"].map(str::to_owned).as_slice()), "{failed:?}");
    for point in durations {
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert!(point.start_time_unix_nano < point.time_unix_nano);
    }
    let begun = BTreeMap::from([(["errors", "server-1"].map(str::to_owned).to_vec(), 1)]);
    assert_eq!(metrics.by("rehearsal.faults_begun", &["kind", "target"]), begun);
    assert!(metrics.0.keys().all(|name| name.starts_with("grpc.") || name.starts_with("rehearsal.")));
}

/// What a run says whose collector does not answer, and its requests by status.
fn without_answers(url: &str) -> (String, BTreeMap<Vec<String>, u64>) {
    // Long enough for two messages that fail: each is sent five seconds after the one before, and given up after as many. A call
    // that waited for one would run into its deadline.
    let scenario = "name = \"unheard\"\nduration = \"21s\"\n[servers]\nreplicas = 2\n[workload]\nsizes = [\"8x8\"]\n\
        [load]\nrate = 20\n[run]\nmax_lateness = \"1h\"\n[client]\ndeadline = \"2s\"\nattempt_timeout = \"2s\"\n";
    let folder = TempDir::new().expect("there is room");
    let output = play(folder.path(), scenario, url).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    (said, rows(&folder.path().join("run"), "requests.jsonl", &["status"]))
}

#[test]
fn a_collector_that_hangs_or_refuses_is_reported_once_and_slows_no_call() {
    // The connections to the one wait in its queue. The other has its port, and does not listen.
    let hangs = TcpListener::bind(("127.0.0.1", 0)).expect("there is a port");
    let refuses = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
    refuses.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a port");
    let refusing = refuses.local_addr().expect("it has an address").as_socket().expect("it is of IP");
    let urls = [hangs.local_addr().expect("it has an address"), refusing].map(|address| format!("http://{address}"));
    let runs = urls.clone().map(|url| thread::spawn(move || without_answers(&url)));
    let why = ["it does not answer within 5 s", "Connection refused"];
    for ((run, url), why) in runs.into_iter().zip(urls).zip(why) {
        let (said, requests) = run.join().expect("it ends");
        let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning: metrics")).collect();
        let [warning] = warnings[..] else { panic!("{said}") };
        assert!(warning.starts_with(&format!("warning: metrics are not taken by {url}: ")), "{warning}");
        assert!(warning.contains(why), "{warning}");
        assert_eq!(requests, BTreeMap::from([(vec!["OK".to_owned()], 420)]));
    }
}

#[test]
fn a_load_by_hand_sends_its_own_metrics() {
    let (address, received) = collector();
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let url = format!("http://{address}/custom");
    let words = ["load", "--servers", "server-0", "--rate", "20", "--duration", "2s", "--sizes", "8x8", "--otlp", &url];
    let mut load = user.command(&words);
    let mut load = Foreground(load.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    assert!(load.0.wait().expect("it is our child").success());
    let last = received.try_iter().last().expect("there is a message");
    assert!(last.head.starts_with("POST /custom HTTP/1.1\r\n"), "{}", last.head);
    let metrics = Metrics::new(&last.request);
    assert_eq!(metrics.by("rehearsal.requests", &["status"]), BTreeMap::from([(vec!["OK".to_owned()], 40)]));
    let started = BTreeMap::from([(vec!["server-0".to_owned()], 40)]);
    assert_eq!(metrics.by("grpc.client.attempt.started", &["server"]), started);
}
