//! The Python with grpcio that `.ci/peers` makes, and its processes.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// Set by `.ci/peers`: without grpcio the tests fail.
const REQUIRED: &str = "REHEARSAL_PEERS_REQUIRED";
/// Number of calls of a live case.
const CALLS: &str = "REHEARSAL_PEERS_CALLS";
const CALLS_DEFAULT: usize = 40;

/// What has to be installed.
const REQUIREMENTS: &[u8] = include_bytes!("requirements.txt");

/// A Python that finds grpcio.
#[derive(Debug)]
pub(crate) struct Peers {
    folder: PathBuf,
}

/// Returns the environment that `.ci/peers` has made; `None` without one, which is printed once.
///
/// # Panics
///
/// Panics without one if it is required.
pub(crate) fn peers() -> Option<&'static Peers> {
    static PEERS: OnceLock<Option<Peers>> = OnceLock::new();
    let found = PEERS.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
        let parts = ["venv/bin/python", "stubs/rehearsal_pb2_grpc.py", "stubs/reflection_pb2_grpc.py"];
        let missing = parts.iter().map(|part| folder.join(part)).find(|part| !part.exists());
        // `.ci/peers` copies the requirements when all of them are installed; those of another version may lack a module.
        let installed = folder.join("requirements.txt");
        let outdated = || std::fs::read(&installed).ok().is_none_or(|text| text != REQUIREMENTS).then_some(&installed);
        if let Some(missing) = missing.as_ref().or_else(outdated) {
            assert!(env::var_os(REQUIRED).is_none(), "{} is missing or old; .ci/peers makes it", missing.display());
            let skipped = "skipped: the tests against grpcio, which is not installed as they need it; `.ci/peers` installs it and runs them\n";
            // Not `eprintln!`, which is not shown for a test that passes.
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return None;
        }
        Some(Peers { folder })
    });
    found.as_ref()
}

/// Returns the number of calls of a live case.
pub(crate) fn calls() -> usize {
    let Some(text) = env::var_os(CALLS) else { return CALLS_DEFAULT };
    let number = text.to_str().and_then(|text| text.parse().ok()).filter(|number| (20..=400).contains(number));
    number.unwrap_or_else(|| panic!("{CALLS} is {text:?}: a number from 20 to 400 is needed"))
}

impl Peers {
    /// Returns the folder that the counts of both clients are written to.
    pub(crate) fn figures(&self) -> PathBuf {
        self.folder.join("figures")
    }

    /// Returns the command that runs `script` of this folder with the generated modules and `words`.
    pub(crate) fn python(&self, script: &str, words: &[&str]) -> Command {
        let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut command = Command::new(self.folder.join("venv/bin/python"));
        command.arg(scripts.join(script)).args(words);
        // The scripts' folder stays as it is, and a proxy of the machine is not for the loopback device.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("no_proxy", "127.0.0.1").env_remove("GRPC_TRACE");
        command
    }

    /// The folder of the generated modules.
    pub(crate) fn stubs(&self) -> String {
        self.folder.join("stubs").to_str().expect("it is text").to_owned()
    }

    /// Starts a script that says where it listens.
    pub(crate) fn listener(&self, script: &str, words: &[&str]) -> Listener {
        let mut command = self.python(script, words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the interpreter starts");
        let commands = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut listener = Listener { child, commands, answers, port: 0 };
        listener.port = listener.answer()["port"].as_u64().expect("it says its port");
        listener
    }
}

/// A process that listens on a port of the loopback device. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Listener {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u64,
}

impl Listener {
    /// Returns `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line and returns the answer.
    pub(crate) fn command(&mut self, line: &str) -> Value {
        writeln!(self.commands, "{line}").expect("it listens to commands");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it is text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the script said {line:?}: {error}"))
    }

    /// Returns whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
