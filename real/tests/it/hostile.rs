//! Hostile peers of a server, and what a good client has of it meanwhile.
//!
//! The test has 72 hostile connections whose floods pause for 20 ms after 16 KiB, which `cargo test` can afford beside others. The
//! figure has 500 without a pause, and needs a machine with nothing else to do:
//! `cargo test --release -p real --test it -- --ignored --nocapture hostile`.

mod attacks;
mod frames;

use std::{
    fs,
    io::{ErrorKind, Read},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

use crate::{
    child::{pause, pid, wait_until},
    user::User,
};
use attacks::{ATTACKS, Victim};

#[expect(clippy::disallowed_types, reason = "a client that is not ours")]
type Socket = std::net::TcpStream;

/// Most memory that a server may have had under attack, in KiB: far below what was announced to it.
const MEMORY_KIB_MAX: u64 = 1024 * 1024;

/// Hostile connections to one server. They end when this is dropped.
struct Attackers {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Number of connections opened so far, by kind.
    opened: Arc<[AtomicUsize; ATTACKS.len()]>,
}

impl Attackers {
    fn start(address: SocketAddr, count: usize, is_paced: bool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let opened: Arc<[AtomicUsize; ATTACKS.len()]> = Arc::new(std::array::from_fn(|_| AtomicUsize::new(0)));
        let attack = |number: usize| {
            let kind = number % ATTACKS.len();
            let over = over.clone();
            let opened = opened.clone();
            thread::Builder::new().stack_size(128 * 1024).spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // The server may refuse it, or close it at any time; the next one follows.
                    if let Ok(socket) = Socket::connect(address) {
                        opened[kind].fetch_add(1, Ordering::Relaxed);
                        let _ = socket.set_write_timeout(Some(Duration::from_secs(1)));
                        let _ = ATTACKS[kind].1(&mut Victim { socket, over: &over, is_paced });
                    }
                    pause();
                }
            })
        };
        let threads = (0..count).map(|number| attack(number).expect("there is room for a thread")).collect();
        Self { over, threads, opened }
    }
}

impl Drop for Attackers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("an attack does not panic"));
    }
}

/// A value of `/proc/PID/status`, in KiB.
fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has it");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("it is a number")
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count()
}

/// Attacks a server with `count` connections, while a client sends requests for `seconds`, each with a deadline of `deadline`.
fn attack(count: usize, seconds: u32, deadline: &str, is_paced: bool) {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine", "--queue", "100000"]);
    let pid = user.pid("mine");
    let before = descriptors(pid);
    let mut silent = Socket::connect(user.address("mine")).expect("it listens");
    let attackers = Attackers::start(user.address("mine"), count, is_paced);
    wait_until("every kind is there", || attackers.opened.iter().all(|opened| opened.load(Ordering::Relaxed) > 0));

    let duration = format!("{seconds}s");
    let words = ["load", "--servers", "mine", "--duration", &duration, "--rate", "20", "--sizes", "64x64", "--json"];
    let strict = [&format!("client.deadline={deadline}"), &format!("client.attempt_timeout={deadline}")];
    let strict = strict.map(|setting| ["--set", setting]).concat();
    let strict = [&strict[..], &["--set", "client.retry.max_attempts=1"]].concat();
    let said = user.says(&[&words[..], &strict].concat());
    let summary: Value = serde_json::from_str(&said).expect("it is JSON");
    let overall = &summary["overall"];
    let memory = ["VmHWM:", "VmPeak:"].map(|name| status_kib(pid, name));
    println!("{count} hostile connections of {} kinds, for {seconds} s:", ATTACKS.len());
    println!("  good client: {overall}");
    println!("  memory of the server at most {} MiB, address space {} MiB", memory[0] / 1024, memory[1] / 1024);
    for ((name, _), opened) in ATTACKS.iter().zip(attackers.opened.iter()) {
        println!("  {:>7} x {name}", opened.load(Ordering::Relaxed));
    }
    assert_eq!(overall["success_rate"], 1.0, "every request is answered within its deadline: {summary}");
    assert!(memory[0] < MEMORY_KIB_MAX, "{memory:?}");
    // The control channel and new connections work, too.
    user.says(&["inject", "delay", "mine", "--latency", "1ms"]);
    user.says(&["inject", "heal", "mine"]);

    silent.set_read_timeout(Some(Duration::from_secs(40))).expect("it is a socket");
    // An error is a reset, which is an end as well.
    assert!(silent.read_to_end(&mut Vec::new()).err().is_none_or(|error| error.kind() == ErrorKind::ConnectionReset));
    drop(attackers);
    wait_until("the connections are closed", || descriptors(pid) <= before + 2);
    user.says(&["load", "--servers", "mine", "--duration", "200ms", "--rate", "10", "--sizes", "8x8"]);
}

#[test]
fn a_good_client_is_answered_beside_hostile_connections() {
    attack(3 * ATTACKS.len(), 3, "20s", true);
}

#[test]
#[ignore = "it takes all of the machine for a minute"]
fn a_good_client_is_answered_beside_500_hostile_connections() {
    attack(500, 60, "5s", false);
}

#[test]
fn a_server_without_descriptors_closes_the_newest_connections_and_goes_on() {
    let user = User::new();
    let _server = user.foreground(&["serve", "--port", "0", "--id", "mine"]);
    let _proxy = user.foreground(&["proxy", "--listen", "0", "--upstream", "mine", "--id", "between"]);
    for id in ["mine", "between"] {
        let address = user.address(id);
        let process = pid(user.pid(id));
        let mut early = Socket::connect(address).expect("it listens");
        // An HTTP/2 server speaks first, through the proxy too.
        early.read_exact(&mut [0]).expect("it is served");
        let open = descriptors(user.pid(id)) as u64;
        let usual = getrlimit(Resource::Nofile);
        prlimit(Some(process), Resource::Nofile, Rlimit { current: Some(open), ..usual }).expect("it is our child");
        // Each is served or closed, and none hangs. A few may be served, with numbers below the limit that are free or become so.
        let mut late = Vec::new();
        let served = (0..40).map(|_| {
            let mut socket = Socket::connect(address).expect("the operating system accepts it");
            socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it is a socket");
            let read = socket.read(&mut [0]).map_err(|error| error.kind());
            assert!(!matches!(read, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it hangs");
            late.push(socket);
            read.is_ok_and(|bytes| bytes > 0)
        });
        let served: Vec<_> = served.collect();
        let served = served.iter().filter(|served| **served).count();
        assert!(served < 10, "there are no descriptors for them: {served} of 40");
        // Its control socket has no descriptor either, unless one was free by chance. It must not end because of that.
        user.real(&["inject", "delay", id, "--latency", "1ms"]);
        prlimit(Some(process), Resource::Nofile, usual).expect("it is our child");
        wait_until("it accepts connections again", || {
            let socket = Socket::connect(address);
            socket.and_then(|mut socket| socket.read_exact(&mut [0])).is_ok()
        });
        user.says(&["inject", "delay", id, "--latency", "1ms"]);
        user.says(&["inject", "heal", id]);
    }
}
