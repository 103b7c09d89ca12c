//! Servers in processes of their own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Child, Command, Stdio},
};

use kernel::{client::probe, world::SharedWorld};
use std::time::Duration;

/// What every server is called.
pub(crate) const NAME: &str = "server-0";

/// The unit of `/proc/PID/stat`: a hundredth of a second, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server's process. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A replica with a worker for each core and room for every request.
    pub(crate) fn replica() -> Self {
        Self::replica_with(&[])
    }

    /// The same, which measures its calls for metrics.
    pub(crate) fn measuring_replica() -> Self {
        Self::replica_with(&["--metrics"])
    }

    fn replica_with(options: &[&str]) -> Self {
        let address = free_address();
        let workers = cores().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_real"));
        command.args(["replica", "--id", NAME, "--port", &address.port().to_string(), "--workers", &workers]);
        command.args(["--queue", "1024", "--service-time-min", "0s", "--seed", "0"]);
        command.args(["--parent", &std::process::id().to_string()]).args(options);
        Self::start(command, address)
    }

    /// A Python program, started with its address and its number of threads.
    pub(crate) fn python(interpreter: &Path, program: &Path, proto: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new(interpreter);
        command.arg(program).arg(proto).args([address.port().to_string(), cores().to_string()]);
        Self::start(command, address)
    }

    fn start(mut command: Command, address: SocketAddr) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the server can be started");
        Self { child, address }
    }

    /// Done when it answers health checks.
    pub(crate) async fn ready(&mut self, world: &SharedWorld) {
        loop {
            let now = world.now();
            match probe(world, NAME, now + Duration::from_secs(1)).await {
                Ok(()) => return,
                Err(failure) => {
                    let ended = self.child.try_wait().expect("it is our child");
                    assert!(ended.is_none(), "the server ended with {ended:?}");
                    assert!(now.as_nanos() < 60_000_000_000, "the server does not serve: {failure:?}");
                }
            }
            world.sleep_until(now + Duration::from_millis(20)).await;
        }
    }

    /// Processor time that it has used, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        used_seconds(&self.child.id().to_string(), 11)
    }
}

/// Processor time that all children of this process which have ended have used, and theirs, in seconds.
pub(crate) fn children_seconds() -> f64 {
    used_seconds("self", 13)
}

/// Returns the sum of a user and a system time of a process, the first of which is behind `place` other fields.
fn used_seconds(process: &str, place: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    // The fields behind the name, which may hold anything.
    let fields = stat[stat.rfind(')').expect("a name is in brackets") + 1..].split_ascii_whitespace();
    let ticks: f64 = fields.skip(place).take(2).map(|field| field.parse::<f64>().expect("times are numbers")).sum();
    ticks / TICKS_PER_SECOND
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns an address without a listener.
#[expect(clippy::disallowed_types, reason = "asks the operating system for a port, and sends nothing")]
pub(crate) fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback device has free ports");
    socket.local_addr().expect("it is bound")
}
