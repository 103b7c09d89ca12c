//! The dashboard, as a terminal shows it.

use std::{
    fs,
    io::Read,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;

use crate::child::wait_until;

/// Two replicas that are frozen for a while. It has an expectation that can be counted meanwhile, and one that is open until the end.
const SCENARIO: &str = r#"
name = "frozen"
duration = "4s"
[run]
max_lateness = "1h"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 20
[client]
attempt_timeout = "10s"
[[fault]]
at = "500ms"
kind = "freeze"
target = ["server-0", "server-1"]
duration = "3s"
[[expect]]
metric = "success_rate"
min = 0.1
[[expect]]
metric = "availability"
min = 0.1
"#;

/// A run on a terminal.
struct OnTerminal {
    /// Holds the scenario and the folder of the run.
    folder: TempDir,
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Mutex<Shown>>,
    reader: thread::JoinHandle<()>,
}

fn whole(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a terminal has cells")
}

/// What the terminal has got.
struct Shown {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl OnTerminal {
    fn start(rows: u16, cols: u16, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        fs::write(folder.path().join("frozen.toml"), SCENARIO).expect("it can be written");
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("there is a terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_real"));
        command.args(["frozen.toml", "--out", "run"]);
        command.cwd(folder.path());
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        let variables = std::env::vars_os().map(|(name, _)| name);
        let variables = variables.filter(|name| name.to_string_lossy().starts_with("REHEARSAL_"));
        variables.for_each(|name| command.env_remove(name));
        environment.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).expect("it starts");
        let mut output = pair.master.try_clone_reader().expect("it can be read");
        let shown = Shown { screen: vt100::Parser::new(whole(rows), whole(cols), 0), bytes: Vec::new() };
        let shown = Arc::new(Mutex::new(shown));
        let written = shown.clone();
        #[expect(clippy::disallowed_methods, reason = "the terminal is no part of a world")]
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the process is an error of the terminal.
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let mut shown = written.lock().unwrap_or_else(PoisonError::into_inner);
                shown.screen.process(&buffer[..read]);
                shown.bytes.extend_from_slice(&buffer[..read]);
            }
        });
        drop(pair.slave);
        Self { folder, master: pair.master, child, shown, reader }
    }

    /// The rows of the screen, without spaces at their ends.
    fn rows(&self) -> Vec<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, cols) = shown.screen.screen().size();
        shown.screen.screen().rows(0, cols.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    fn shows(&self, text: &str) -> bool {
        self.rows().iter().any(|row| row.contains(text))
    }

    fn resize(&self, rows: u16, cols: u16) {
        self.shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .screen
            .screen_mut()
            .set_size(whole(rows), whole(cols));
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        self.master.resize(size).expect("it is a terminal");
    }

    /// Waits for the end. Returns the exit status and everything that was written.
    fn end(mut self) -> (ExitStatus, String, PathBuf) {
        let status = self.child.wait().expect("it ends");
        drop(self.master);
        self.reader.join().expect("it reads to the end");
        let bytes = self.shown.lock().unwrap_or_else(PoisonError::into_inner).bytes.clone();
        (status, String::from_utf8_lossy(&bytes).into_owned(), self.folder.path().join("run"))
    }
}

/// Whether some of the output is in colour.
fn is_coloured(output: &str) -> bool {
    let codes = output.split("\u{1b}[").filter_map(|text| text.split_once('m').map(|(codes, _)| codes));
    codes.flat_map(|codes| codes.split(';')).any(|code| matches!(code.parse(), Ok(30..=38 | 40..=48 | 90..=107)))
}

#[test]
fn a_freeze_shows_as_calls_in_flight_on_terminals_of_any_size() {
    let run = OnTerminal::start(24, 80, &[]);
    wait_until("the freeze is shown", || run.shows("frozen     ") && run.shows("the oldest for"));
    wait_until("the verdict so far is shown", || run.shows("1 of 2 expectations hold, 1 open"));
    let rows = run.rows();
    let heading = "server      state      to the client   answers       pid  faults";
    assert!(rows.iter().any(|row| row == heading), "{rows:#?}");
    assert!(rows.iter().any(|row| row.starts_with("requests ") && row.ends_with("max  retries")), "{rows:#?}");
    assert!(rows.iter().any(|row| row.starts_with("p95, log")), "{rows:#?}");
    run.resize(40, 120);
    let hint = "q or Ctrl-C ends the run and keeps what was recorded";
    wait_until("it fills the terminal", || run.rows().get(39).is_some_and(|row| row == hint));
    assert!(run.rows()[0].chars().count() > 100, "the time is at the right: {:#?}", run.rows());
    let (status, output, _) = run.end();
    assert!(status.success());
    // The terminal is as before, and has the report.
    let (_, report) = output.rsplit_once("\u{1b}[?1049l").expect("it leaves the other screen");
    assert!(report.contains("PASS  frozen (real, seed 0, resilient)"), "{report}");
    assert!(is_coloured(&output));
}

#[test]
fn without_colours_the_dashboard_has_none() {
    let run = OnTerminal::start(24, 80, &[("NO_COLOR", "1")]);
    wait_until("it shows the servers", || run.shows("healthy"));
    let (status, output, _) = run.end();
    assert!(status.success() && !is_coloured(&output));
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let run = OnTerminal::start(24, 80, &[("TERM", "dumb")]);
    let (status, output, folder): (_, _, PathBuf) = run.end();
    assert!(status.success(), "{output}");
    assert!(output.contains("nemesis: freeze server-0") && !output.contains('\u{1b}'), "{output:?}");
    assert!(!Path::new(&folder).join("state.json").exists());
}
