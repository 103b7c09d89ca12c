//! Metrics over HTTP, of every command that has them.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "these tests read metrics as Prometheus does, outside of any World"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    command::command_of,
    user::{Foreground, User},
};

/// A run of two seconds on two servers, one of which is frozen for a second.
const SCENARIO: &str = "name = \"short\"\nduration = \"3s\"\n[servers]\nreplicas = 2\n[workload]\nsizes = [\"8x8\"]\n\
    [load]\nrate = 50\n[run]\nmax_lateness = \"1h\"\n[[fault]]\nat = \"500ms\"\nkind = \"freeze\"\ntarget = \"server-1\"\nduration = \"2s\"\n";

/// Returns the answer to a request for metrics.
fn get(address: SocketAddr, accept: &str) -> Vec<u8> {
    let mut client = TcpStream::connect(address).expect("it listens");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\n\r\n");
    client.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("it answers");
    answer
}

fn text(address: SocketAddr) -> String {
    String::from_utf8(get(address, "application/openmetrics-text")).expect("it is text")
}

/// Returns the value of the series that begins a line, if there is such a line.
pub(crate) fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until a series has a value that `is_right`, and returns all values.
pub(crate) fn wait(address: SocketAddr, series: &str, is_right: impl Fn(f64) -> bool) -> String {
    for _ in 0..600 {
        let text = text(address);
        if value(&text, series).is_some_and(&is_right) {
            return text;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{series} does not come to its value:\n{}", text(address));
}

/// Starts a command, and returns it with the address that it prints.
fn start(mut command: Command) -> (Foreground, SocketAddr) {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it is text");
    // What it says later must not fill the pipe.
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let address = line.trim().strip_prefix("metrics are at http://").and_then(|rest| rest.strip_suffix("/metrics"));
    (Foreground(child), address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("it says {line}")))
}

#[test]
fn a_run_exports_what_its_client_servers_and_faults_do() {
    let folder = TempDir::new().expect("there is room");
    let scenario = folder.path().join("short.toml");
    fs::write(&scenario, SCENARIO).expect("there is room");
    let out = folder.path().join("run");
    let play = |metrics: &str| {
        let mut command = command_of(env!("CARGO_BIN_EXE_real"));
        command.arg(&scenario).arg("--plain").arg("--out").arg(&out).args(["--metrics", metrics]);
        command
    };
    let (mut run, address) = start(play("127.0.0.1:0"));
    let frozen = r#"rehearsal_fault_active{fault="0",kind="freeze",target="server-1"}"#;
    let text = wait(address, frozen, |level| level == 1.0);
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0;"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(value(&text, r#"rehearsal_server_workers{server="server-0"}"#), Some(2.0));
    let family = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let answer = get(address, family);
    assert!(answer.windows(26).any(|bytes| bytes == b"rehearsal_requests_in_flig"), "a name in a message");
    let other = play(&address.to_string()).args(["--set", "name=other"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(3), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the port is in use; `ss -ltnp"), "{said}");
    wait(address, frozen, |level| level == 0.0);
    let called =
        r#"grpc_server_call_started_total{grpc_method="rehearsal.v1.Rehearsal/ProcessImage",server="server-0"}"#;
    wait(address, called, |calls| calls > 10.0);
    let sent = r#"grpc_client_attempt_sent_total_compressed_message_size_bytes_sum{grpc_method="rehearsal.v1.Rehearsal/ProcessImage",grpc_target="rehearsal:///servers",grpc_status="OK",server="server-0"}"#;
    wait(address, sent, |bytes| bytes > 0.0);
    let received = r#"grpc_server_call_rcvd_total_compressed_message_size_bytes_sum{grpc_method="rehearsal.v1.Rehearsal/ProcessImage",grpc_status="OK",server="server-0"}"#;
    wait(address, received, |bytes| bytes > 0.0);
    assert!(run.0.wait().expect("it is our child").success());
}

#[test]
fn an_address_beyond_the_loopback_device_is_refused() {
    let user = User::new();
    for words in [&["serve", "--port", "0", "--metrics", "0.0.0.0:0"][..], &["load", "--metrics", "192.0.2.1:9464"]] {
        let (code, said) = user.fails(words);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("of --metrics is reached from other machines; allow that with --allow-remote"), "{said}");
    }
}

#[test]
fn servers_loads_and_proxies_by_hand_export_their_own() {
    let user = User::new();
    let said = user.says(&["up", "1", "--start-port", "0", "--metrics", "127.0.0.1:0"]);
    let (_, server) = said.trim().split_once("metrics at http://").expect("its line has the address");
    let server: SocketAddr = server.trim_end_matches("/metrics").parse().expect("it is an address");
    let proxied = ["proxy", "--listen", "0", "--upstream", "server-0", "--id", "web", "--metrics", "127.0.0.1:0"];
    let (_proxy, proxy) = start(user.command(&proxied));
    wait(proxy, r#"rehearsal_proxy_connections_open{proxy="web"}"#, |open| open == 0.0);
    let web = user.says(&["list"]).lines().any(|line| line.starts_with("web ") && line.contains("metrics at"));
    assert!(web);
    let loaded =
        ["load", "--servers", "web", "--rate", "50", "--duration", "20s", "--sizes", "8x8", "--metrics", "127.0.0.1:0"];
    let (_load, load) = start(user.command(&loaded));
    let text = wait(load, r#"rehearsal_requests_total{status="OK"}"#, |requests| requests >= 20.0);
    assert_eq!(value(&text, r#"rehearsal_server_connected{server="web"}"#), Some(1.0), "{text}");
    wait(proxy, r#"rehearsal_proxy_connections_total{proxy="web",result="passed"}"#, |passed| passed >= 1.0);
    wait(server, r#"rehearsal_server_requests_total{server="server-0",outcome="finished"}"#, |done| done >= 20.0);
    let durations = r#"grpc_server_call_duration_seconds_count{grpc_method="rehearsal.v1.Rehearsal/ProcessImage",grpc_status="OK",server="server-0"}"#;
    wait(server, durations, |count| count >= 20.0);
    let sizes = r#"grpc_client_attempt_rcvd_total_compressed_message_size_bytes_count{grpc_method="rehearsal.v1.Rehearsal/ProcessImage",grpc_target="rehearsal:///servers",grpc_status="OK",server="web"}"#;
    wait(load, sizes, |count| count >= 20.0);
    user.says(&["inject", "errors", "server-0", "--rate", "1"]);
    wait(server, r#"rehearsal_fault_active{fault="errors",kind="errors",target="server-0"}"#, |level| level == 1.0);
    wait(server, r#"rehearsal_server_requests_total{server="server-0",outcome="aborted"}"#, |aborted| aborted >= 1.0);
    user.says(&["inject", "heal", "server-0"]);
    wait(server, r#"rehearsal_fault_active{fault="errors",kind="errors",target="server-0"}"#, |level| level == 0.0);
}
