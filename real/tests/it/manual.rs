//! What is started by hand: found, steered and ended by other processes.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use kernel::{
    record::RequestRow,
    status::{Code, Outcome},
};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use crate::{
    child::{is_stopped, lives, pid, stop_for, wait_until},
    user::{Foreground, User},
};

#[expect(clippy::disallowed_types, reason = "a client that is not ours")]
type Socket = std::net::TcpStream;

#[expect(clippy::disallowed_types, reason = "a server that is not ours")]
type Server = std::net::TcpListener;

fn rows(log: &Path) -> Vec<RequestRow> {
    let text = fs::read_to_string(log).expect("there is a log");
    // The last line may be on its way.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn servers_in_the_background_serve_are_crashed_under_load_and_end() {
    let user = User::new();
    let up = user.says(&["up", "2", "--start-port", "0", "--workers", "8", "--service-time-min", "80ms"]);
    assert!(up.starts_with("server-0 ") && up.contains("\nserver-1 "), "{up}");
    let pids = ["server-0", "server-1"].map(|id| user.pid(id));
    let log = user.runtime.path().join("load.jsonl");
    let words = ["load", "--servers", "server-0,server-1", "--duration", "6s", "--rate", "40", "--sizes", "16x16"];
    let mut load = user.command(&words);
    let load = load.arg("--log").arg(&log).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    wait_until("it is under way", || log.exists() && rows(&log).len() >= 20);
    user.says(&["inject", "crash", "server-0"]);
    assert!(!lives(pids[0]) && lives(pids[1]));
    assert_eq!(user.entries().len(), 2, "no command has looked since");

    let output = load.wait_with_output().expect("it ends");
    let (summary, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(summary.contains("240 requests in 6 s: 240 OK"), "{summary}");
    assert!(said.contains("! server-0 is unhealthy: "), "{said}");
    assert!(said.contains(" → RETRY SUCCESS on server-1 after 1 failure(s) (latency: "), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals");
    let mut rows = rows(&log);
    rows.sort_by_key(|row| row.id);
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), (0..240).collect::<Vec<_>>());
    assert!(rows.iter().any(|row| row.server.as_deref() == Some("server-0")), "it answered at first");
    assert!(rows[200..].iter().all(|row| row.server.as_deref() == Some("server-1")), "it is gone in the end");

    assert!(user.says(&["up", "2", "--start-port", "0"]).contains(&pids[1].to_string()), "what runs is left as it is");
    assert_ne!(user.pid("server-0"), pids[0]);
    let down = user.says(&["down"]);
    assert!(down.contains("server-0 has ended") && down.contains("server-1 has ended"), "{down}");
    assert!(user.entries().is_empty() && !lives(pids[1]));
}

#[test]
fn a_frozen_server_is_resumed_by_hand_in_time_and_when_it_is_to_end() {
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let id = user.pid("server-0");
    user.says(&["inject", "freeze", "server-0", "--duration", "200ms"]);
    wait_until("it goes on in time", || !is_stopped(id));
    let port = user.address("server-0").port().to_string();
    user.says(&["inject", "freeze", &port]);
    wait_until("it is frozen", || is_stopped(id));
    assert!(user.says(&["list"]).contains(", frozen"));
    let (code, said) = user.fails(&["inject", "delay", "server-0", "--latency", "1ms"]);
    assert!(code == Some(3) && said.contains("real inject resume"), "{said}");
    user.says(&["inject", "resume", "server-0"]);
    wait_until("it continues on command", || !is_stopped(id));
    user.says(&["inject", "freeze", "server-0"]);
    assert_eq!(user.says(&["down", "server-0"]), "server-0 has ended\n");
    assert!(!lives(id));
}

#[test]
fn a_server_takes_commands_with_any_clients() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let median_s = || {
        let words = ["load", "--servers", "mine", "--duration", "1s", "--rate", "10", "--sizes", "8x8", "--json"];
        let summary: Value = serde_json::from_str(&user.says(&words)).expect("it is JSON");
        assert_eq!(summary["overall"]["success_rate"], 1.0);
        summary["overall"]["latency_p50"].as_f64().expect("there were requests")
    };
    user.says(&["inject", "delay", "mine", "--latency", "500ms"]);
    assert!(median_s() >= 1.0, "both ways are longer");
    user.says(&["inject", "heal", "mine"]);
    assert!(median_s() < 1.0, "it is as before");

    user.says(&["inject", "partition", "mine"]);
    let cut = ["load", "--servers", "mine", "--duration", "300ms", "--rate", "10", "--set", "client.deadline=300ms"];
    let output =
        user.real(&[&cut[..], &["--log", user.runtime.path().join("cut").to_str().expect("it is text")]].concat());
    assert_eq!(output.status.code(), Some(1), "no call succeeded");
    let rows = rows(&user.runtime.path().join("cut"));
    assert!(rows.len() == 3 && rows.iter().all(|row| row.status != Outcome::OK), "{rows:?}");
}

#[test]
fn half_open_silences_the_connections_that_are_open_and_no_others() {
    let user = User::new();
    let upstream = Server::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("it is bound").to_string();
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", &address, "--id", "between"]);
    // It sends back what it receives.
    let echo = |mut socket: Socket| std::io::copy(&mut socket.try_clone().expect("it is open"), &mut socket);
    let accept = move || {
        for socket in upstream.incoming().take(2) {
            let socket = socket.expect("it is connected to");
            thread::Builder::new().spawn(move || echo(socket)).expect("threads can be had");
        }
    };
    thread::Builder::new().spawn(accept).expect("threads can be had");
    let answer = |mut socket: &Socket| {
        let mut byte = [0];
        socket.read_exact(&mut byte).map(|()| byte[0]).map_err(|error| error.kind())
    };
    let old = connect(&user, "between");
    (&old).write_all(b"1").expect("it is open");
    assert_eq!(answer(&old), Ok(b'1'));
    user.says(&["inject", "half-open", "between"]);
    (&old).write_all(b"2").expect("the operating system takes it");
    let new = connect(&user, "between");
    (&new).write_all(b"3").expect("it is open");
    assert_eq!(answer(&new), Ok(b'3'), "a new connection works");
    assert!(user.says(&["list"]).contains("half-open connections"));
    old.set_nonblocking(true).expect("it is open");
    assert_eq!(answer(&old), Err(ErrorKind::WouldBlock), "nothing has arrived");
    old.set_nonblocking(false).expect("it is open");
    user.says(&["inject", "heal", "between"]);
    assert_eq!(answer(&old), Ok(b'2'), "it is sent again");
}

#[test]
fn a_reset_that_lasts_breaks_each_new_connection_until_it_is_lifted() {
    let user = User::new();
    let upstream = Server::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("it is bound").to_string();
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", &address, "--id", "between"]);
    let accept = move || {
        for socket in upstream.incoming().take(4) {
            let mut socket = socket.expect("it is connected to");
            let echo = move || std::io::copy(&mut socket.try_clone().expect("it is open"), &mut socket);
            thread::Builder::new().spawn(echo).expect("threads can be had");
        }
    };
    thread::Builder::new().spawn(accept).expect("threads can be had");
    // A write may still be taken by the operating system, before the reset arrives.
    let answer = |mut socket: &Socket| {
        let mut byte = [0];
        let written = socket.write_all(b"1");
        written.and_then(|()| socket.read_exact(&mut byte)).map_err(|error| error.kind())
    };
    let is_reset = |answer: Result<(), ErrorKind>| {
        matches!(answer, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof))
    };
    let old = connect(&user, "between");
    assert_eq!(answer(&old), Ok(()));
    let resets = user.command(&["inject", "reset", "between", "--duration", "1h"]).stdout(Stdio::null()).spawn();
    let resets = Foreground(resets.expect("it starts"));
    wait_until("the fault begins", || user.says(&["list"]).contains("resets of connections"));
    assert!(is_reset(answer(&old)));
    for _ in 0..2 {
        assert!(is_reset(answer(&connect(&user, "between"))), "a new connection is reset once it is open");
    }
    user.says(&["inject", "heal", "between"]);
    assert_eq!(answer(&connect(&user, "between")), Ok(()));
    drop(resets);
}

#[test]
fn a_proxy_passes_bytes_ends_and_resets_on_as_they_are() {
    let user = User::new();
    let upstream = Server::bind("127.0.0.1:0").expect("a port is free");
    let address = upstream.local_addr().expect("it is bound").to_string();
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", &address, "--id", "between"]);
    user.says(&["inject", "delay", "between", "--latency", "20ms", "--jitter", "20ms"]);
    user.says(&["inject", "loss", "between", "--rate", "0.05"]);
    user.says(&["inject", "bandwidth", "between", "--rate", "200mbit"]);

    // The upstream answers with what it heard, backwards, once it has heard the end.
    let answering = thread::Builder::new().spawn(move || {
        let (mut socket, _) = upstream.accept().expect("it is connected to");
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).expect("the end comes");
        heard.reverse();
        socket.write_all(&heard).expect("half of the connection is open");
        drop(socket);
        // The next one is reset: it is closed with something unread.
        let (mut socket, _) = upstream.accept().expect("it is connected to");
        socket.read_exact(&mut [0]).expect("there is a byte");
    });
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut socket = connect(&user, "between");
    socket.write_all(&sent).expect("it is taken");
    socket.shutdown(Shutdown::Write).expect("it is open");
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).expect("it ends in order");
    heard.reverse();
    assert!(heard == sent, "{} bytes of {}", heard.len(), sent.len());

    user.says(&["inject", "heal", "between"]);
    let mut socket = connect(&user, "between");
    socket.write_all(&[1, 2, 3]).expect("it is taken");
    assert_eq!(socket.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    answering.expect("threads can be had").join().expect("the upstream is content");
    // Now there is no listener.
    let refused = connect(&user, "between").read(&mut [0]);
    assert_eq!(refused.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_graph_service_by_hand_fails_on_demand_and_a_proxy_does_not() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let statuses = || {
        let log = user.runtime.path().join("log");
        let words = [
            "load",
            "--servers",
            "mine",
            "--workload",
            "dfs",
            "--duration",
            "500ms",
            "--rate",
            "20",
            "--force",
            "--log",
        ];
        let graph = ["--set", "workload.nodes=100", "--set", "workload.edges=300"];
        let ended = user.real(&[&words[..], &[log.to_str().expect("it is text")], &graph].concat());
        let rows = rows(&log);
        let all_failed = rows.iter().all(|row| row.status != Outcome::OK);
        assert_eq!(ended.status.code(), Some(i32::from(all_failed)));
        assert!(rows.len() == 10 && rows.iter().all(|row| row.size == "100+300"), "{rows:?}");
        rows.into_iter().map(|row| row.status).collect::<Vec<_>>()
    };
    assert_eq!(statuses(), [Outcome::OK; 10]);
    user.says(&["inject", "errors", "mine", "--rate", "1", "--status", "RESOURCE_EXHAUSTED"]);
    assert_eq!(statuses(), [Outcome::Status(Code::ResourceExhausted); 10]);
    user.says(&["inject", "heal", "mine"]);
    assert_eq!(statuses(), [Outcome::OK; 10]);

    let upstream = user.address("mine").to_string();
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", &upstream, "--id", "between"]);
    let (code, said) = user.fails(&["inject", "slow", "between", "--factor", "2"]);
    assert_eq!((code, &*said), (Some(2), "error: `slow` is a fault of a server, and between is a proxy\n"));
}

fn connect(user: &User, id: &str) -> Socket {
    let socket = Socket::connect(user.address(id)).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it is a socket");
    socket
}

#[test]
fn a_reset_is_one_for_the_client_and_the_server_serves_on() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let mut socket = connect(&user, "mine");
    // An HTTP/2 server speaks first.
    assert!(socket.read(&mut [0]).is_ok_and(|bytes| bytes == 1));
    user.says(&["inject", "reset", "mine"]);
    let mut rest = Vec::new();
    assert_eq!(socket.read_to_end(&mut rest).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert!(connect(&user, "mine").read(&mut [0]).is_ok_and(|bytes| bytes == 1));
}

#[test]
fn what_is_unknown_taken_or_stale_is_said() {
    let user = User::new();
    let (code, said) = user.fails(&["inject", "crash", "server-0"]);
    assert_eq!(code, Some(2));
    assert_eq!(said, "error: there is no `server-0`: nothing runs; start servers with `real up 2`\n");
    let mut server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let (code, said) = user.fails(&["inject", "freeze", "yours"]);
    assert_eq!(code, Some(2));
    assert!(said.starts_with("error: there is no `yours`; what runs is\n  mine  "), "{said}");

    let port = user.address("mine").port().to_string();
    let (code, said) = user.fails(&["serve", "--port", &port]);
    assert_eq!(code, Some(3));
    assert!(said.contains(&format!("127.0.0.1:{port}: mine runs (pid ")) && said.contains("real down mine"), "{said}");
    let (code, said) = user.fails(&["up", "1", "--start-port", &port]);
    assert_eq!(code, Some(3));
    assert!(
        said.contains("server-0 ended with exit status: 3; the end of its log:\n  | error: cannot listen"),
        "{said}"
    );

    server.0.kill().expect("it is our child");
    server.0.wait().expect("it is our child");
    assert_eq!(user.entries().len(), 1, "it could not clear up");
    assert_eq!(user.says(&["list"]), "");
    assert!(user.entries().is_empty() && !user.folder().join("mine.sock").exists());
}

#[test]
fn an_interrupted_load_ends_with_its_summary() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let log = user.runtime.path().join("load.jsonl");
    let mut load = user.command(&["load", "--rate", "50", "--sizes", "8x8", "--quiet"]);
    let load = load.arg("--log").arg(&log).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    wait_until("it is under way", || log.exists() && rows(&log).len() >= 10);
    kill_process(pid(load.id()), Signal::INT).expect("it is our child");
    let output = load.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("NO EXPECTATIONS"));
}

/// The share of calls of a short load that succeed, and the log of what the others failed with. `token` is in the environment.
fn success_rate(user: &User, token: Option<(&str, &str)>) -> (f64, String) {
    let words = ["load", "--servers", "mine", "--duration", "300ms", "--rate", "20", "--sizes", "8x8", "--json"];
    let output = user.command(&words).envs(token).output().expect("it starts");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let rate = summary["overall"]["success_rate"].as_f64().expect("there were requests");
    (rate, String::from_utf8(output.stderr).expect("it is text"))
}

#[test]
fn a_server_with_a_token_answers_no_call_without_it() {
    const TOKEN: &str = "0123456789abcdef";
    let user = User::new();
    let file = user.runtime.path().join("token");
    let path = file.to_str().expect("it is text");
    fs::write(&file, format!("{TOKEN}\n")).expect("there is room");
    let with_file = |words: &[&str]| user.command(words).env("REHEARSAL_TOKEN_FILE", path).output().expect("it starts");
    let open = with_file(&["serve", "--port", "0"]);
    assert_eq!(open.status.code(), Some(2), "others can read the file");
    assert!(String::from_utf8_lossy(&open.stderr).contains("chmod 600"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");

    let server = user
        .command(&["serve", "--port", "0", "--id", "mine"])
        .env("REHEARSAL_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Foreground(server.expect("it starts"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().expect("it is a pipe"))
        .read_line(&mut line)
        .expect("it says where it listens");
    assert_eq!(success_rate(&user, Some(("REHEARSAL_TOKEN", TOKEN))).0, 1.0);
    assert_eq!(success_rate(&user, Some(("REHEARSAL_TOKEN_FILE", path))).0, 1.0);
    for token in [None, Some(("REHEARSAL_TOKEN", "0123456789abcdeX"))] {
        let (rate, said) = success_rate(&user, token);
        assert_eq!(rate, 0.0);
        assert!(said.contains("UNAUTHENTICATED") && said.contains("REHEARSAL_TOKEN_FILE"), "{said}");
        assert!(!said.contains(TOKEN), "{said}");
    }
    let (code, said) = user.fails_with("REHEARSAL_TOKEN", "short", &["load"]);
    assert_eq!(code, Some(2));
    assert!(
        said.starts_with("error: REHEARSAL_TOKEN: a token has 16 to 256 characters") && !said.contains("short"),
        "{said}"
    );

    // A server in the background runs in another folder, and has the token all the same.
    let up = with_file(&["up", "1", "--start-port", "0"]);
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let words = ["load", "--servers", "server-0", "--duration", "200ms", "--rate", "10", "--sizes", "8x8", "--json"];
    let summary: Value = serde_json::from_slice(&with_file(&words).stdout).expect("it is JSON");
    assert_eq!(summary["overall"]["success_rate"], 1.0);
    user.says(&["down", "server-0"]);
}

#[test]
fn two_that_start_servers_at_once_share_them() {
    let user = User::new();
    for (first, second) in [(2, 2), (1, 3)] {
        let start = |count: i32| {
            let words = ["up", &count.to_string(), "--start-port", "0"];
            user.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
        };
        let started = [start(first), start(second)].map(|child| child.wait_with_output().expect("it ends"));
        for output in &started {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(user.says(&["list"]).lines().count() as i32, first.max(second));
        user.says(&["down"]);
        assert!(user.entries().is_empty());
    }
}

#[test]
fn what_is_not_ours_in_the_registry_is_shown_and_makes_no_command_hang() {
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let at = |name: &str| user.folder().join(name);
    let fifo = rustix::fs::FileType::Fifo;
    for name in ["fifo.json", "server-1.json", "server-2.log"] {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, at(name), fifo, mode, 0).expect("there is room");
    }
    std::os::unix::fs::symlink("/dev/zero", at("zero.json")).expect("there is room");
    fs::create_dir(at("folder.json")).expect("there is room");
    fs::write(at("thesis.txt"), "x").expect("there is room");
    let listed = user.real(&["list"]);
    let (said, shown) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    assert!(said.starts_with("server-0 ") && said.lines().count() == 1, "{said}");
    for what in
        ["fifo.json is a FIFO", "zero.json is a symbolic link", "folder.json is a directory", "thesis.txt is a file"]
    {
        assert!(shown.contains(what), "{shown}");
    }
    let (code, said) = user.fails(&["up", "2", "--start-port", "0"]);
    assert_eq!(code, Some(3));
    assert!(said.contains("server-1.json is a FIFO"), "{said}");
    let (code, said) = user.fails(&["serve", "--port", "0", "--id", "fifo"]);
    assert_eq!(code, Some(3));
    assert!(said.contains("fifo.json is a FIFO") && said.contains("choose another --id"), "{said}");
    fs::remove_file(at("server-1.json")).expect("it is there");
    let (code, said) = user.fails(&["up", "3", "--start-port", "0"]);
    assert_eq!(code, Some(3));
    assert!(said.contains("server-2.log") && said.contains("server-2 could not be started"), "{said}");

    // A control socket that nothing answers on.
    let socket = at("server-0.sock");
    fs::remove_file(&socket).expect("it is there");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).expect("there is room");
    let (code, said) = user.fails(&["inject", "delay", "server-0", "--latency", "1ms"]);
    assert!(code == Some(3) && said.contains("it does not answer"), "{said}");
    assert_eq!(user.says(&["down"]), "server-0 has ended\n");
    for left in ["fifo.json", "zero.json", "folder.json", "thesis.txt", "server-2.log"] {
        assert!(fs::symlink_metadata(at(left)).is_ok(), "{left}");
    }
}

#[test]
fn a_load_that_was_stopped_says_how_late_it_sent_and_is_untrusted() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let log = user.runtime.path().join("load.jsonl");
    let words =
        ["load", "--duration", "5s", "--rate", "20", "--sizes", "8x8", "--quiet", "--set", "run.max_lateness=1s"];
    let mut load = user.command(&words);
    let load = load.arg("--log").arg(&log).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    wait_until("it is under way", || log.exists() && rows(&log).len() >= 10);
    stop_for(load.id(), Duration::from_secs(3));
    let output = load.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.starts_with("UNTRUSTED  load ") && said.contains("too late: ") && said.contains(" sends, request "));
}

#[test]
fn a_load_records_the_faults_that_are_injected_while_it_runs_and_a_list_shows_them() {
    let user = User::new();
    user.says(&["up", "2", "--start-port", "0"]);
    let out = user.runtime.path().join("load");
    let mut load = user.command(&["load", "--rate", "50", "--sizes", "8x8", "--duration", "1h"]);
    let load = load.arg("--out").arg(&out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let recorded = || {
        fs::read_dir(user.runtime.path())
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .any(|entry| fs::metadata(entry.path().join("requests.jsonl")).is_ok_and(|found| found.len() > 0))
    };
    wait_until("it is under way", recorded);
    user.says(&["inject", "freeze", "server-1", "--duration", "200ms"]);
    user.says(&["inject", "delay", "server-0", "server-1", "--latency", "20ms"]);
    let list = user.says(&["list"]);
    assert!(list.lines().all(|line| line.ends_with("server, delay 20ms each way")), "{list}");
    let listed: Value = serde_json::from_str(&user.says(&["list", "--json"])).expect("it is JSON");
    let fault = &listed[1]["faults"][0];
    assert_eq!((&listed[1]["kind"], &fault["kind"]), (&Value::from("server"), &Value::from("delay")));
    assert_eq!(listed[0]["faults"].as_array().map(Vec::len), Some(1));
    user.says(&["inject", "heal", "server-0", "server-1"]);
    assert!(user.says(&["list"]).lines().all(|line| line.ends_with(" server")));
    user.says(&["inject", "reset", "server-1"]);
    user.says(&["inject", "crash", "server-0"]);
    // The load looks at the log of faults ten times a second, and once more when it ends.
    kill_process(pid(load.id()), Signal::INT).expect("it is our child");
    let output = load.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary: Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).expect("the folder stays")).expect("JSON");
    let faults = summary["faults"].as_array().expect("a list");
    let each = |key: &str| -> Vec<String> { faults.iter().map(|fault| fault[key].to_string()).collect() };
    assert_eq!(each("kind"), ["\"freeze\"", "\"delay\"", "\"reset\"", "\"crash\""], "{text}");
    assert_eq!(each("targets")[1], "[\"server-0\",\"server-1\"]");
    let lifted: Vec<bool> = faults.iter().map(|fault| !fault["lifted_us"].is_null()).collect();
    assert_eq!(lifted, [true, true, true, false], "{text}");
    assert!(text.contains("fault-3  crash") && text.contains("folder  "), "{text}");
    let log = fs::read_to_string(out.join("logs/load.log")).expect("it has a log");
    assert!(log.contains("! fault-1 begins on server-0: delay"), "{log}");
}
