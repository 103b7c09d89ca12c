//! A detector of somebody else: a program that reads the results of calls and writes alarms.
//!
//! The program is started once. For each run it reads, a JSON object a line, `{"run":17}`, then every call in the order of its end,
//! `{"end_us":1200345,"latency_us":20345,"failed":false}`, then `{"run_end_us":900000000}`. It answers with its alarms,
//! `{"start_us":410000000,"end_us":450000000}` each, where `end_us` is null for one that has not ended, and then with `{"done":true}`. It
//! forgets the run then. It ends when its input does.

use std::{
    io::{BufRead, BufReader, BufWriter, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use kernel::{
    cli::Failure,
    detect::{Alarm, Call},
    visible::Visible,
};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

/// The longest line that is read, in bytes: no answer is longer.
const LINE_MAX: u64 = 4_096;

/// The most alarms of one run.
const ALARMS_MAX: usize = 100_000;

/// A program that detects.
#[derive(Debug)]
pub(super) struct Program {
    command: String,
    timeout: Duration,
    child: Child,
    answers: Receiver<Result<Answer, String>>,
}

/// A line of the program.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Alarm(Alarm),
    Done { done: bool },
}

impl Program {
    /// Starts `command` with the shell. It has `timeout` for each run.
    pub(super) fn start(command: &str, timeout: Duration) -> Result<Self, Failure> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().map_err(|error| Failure::run_failed(format!("cannot start a shell: {error}")))?;
        let output = child.stdout.take().expect("it is a pipe");
        let (sender, answers) = mpsc::sync_channel(64);
        let reads = thread::Builder::new().spawn(move || read(output, |answer| sender.send(answer).is_ok()));
        reads.map_err(|error| Failure::run_failed(format!("cannot start a thread: {error}")))?;
        Ok(Self { command: command.to_owned(), timeout, child, answers })
    }

    /// Returns the alarms of run number `run`, which ended at `end_us`.
    pub(super) fn alarms(&mut self, run: u64, calls: &[Call], end_us: u64) -> Result<Vec<Alarm>, Failure> {
        let input = self.child.stdin.take().expect("it is put back below");
        let (answered, result) = thread::scope(|scope| {
            // The program may answer before it has read everything, and must be read while it is written to.
            let writer = scope.spawn(move || {
                let mut lines = BufWriter::new(input);
                let written = write(&mut lines, run, calls, end_us);
                written.and_then(|()| lines.into_inner().map_err(std::io::IntoInnerError::into_error))
            });
            let answered = self.read_alarms(run);
            if answered.is_err() {
                // A program that does not read would keep the writer waiting.
                self.kill();
            }
            (answered, writer.join().expect("it does not panic"))
        });
        let alarms = answered?;
        let input = result.map_err(|error| self.fails(run, &format!("does not read its input: {error}")))?;
        self.child.stdin = Some(input);
        Ok(alarms)
    }

    fn read_alarms(&mut self, run: u64) -> Result<Vec<Alarm>, Failure> {
        let mut alarms = Vec::new();
        loop {
            match self.answers.recv_timeout(self.timeout) {
                Ok(Ok(Answer::Done { done: true })) => return Ok(alarms),
                Ok(Ok(Answer::Alarm(_))) if alarms.len() >= ALARMS_MAX => {
                    return Err(self.fails(run, &format!("has raised more than {ALARMS_MAX} alarms")));
                }
                Ok(Ok(Answer::Alarm(alarm))) if alarm.end_us.is_some_and(|end_us| end_us < alarm.start_us) => {
                    return Err(self.fails(run, "has written an alarm that ends before it starts"));
                }
                Ok(Ok(Answer::Alarm(alarm))) => alarms.push(alarm),
                Ok(Ok(Answer::Done { done: false })) => return Err(self.fails(run, "has written \"done\":false")),
                Ok(Err(reason)) => return Err(self.fails(run, &reason)),
                Err(RecvTimeoutError::Timeout) => {
                    let timeout = kernel::scenario::duration::text(self.timeout);
                    return Err(
                        self.fails(run, &format!("has written nothing for {timeout}; --program-timeout is longer"))
                    );
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                    return Err(
                        self.fails(run, &format!("has ended ({status}); what it wrote on standard error is above"))
                    );
                }
            }
        }
    }

    /// Ends the shell and what it has started, which would keep the pipes open.
    fn kill(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }

    fn fails(&self, run: u64, reason: &str) -> Failure {
        Failure::run_failed(format!("in run {run} the detector `{}` {reason}", self.command.visible()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input; one that does not is ended.
        drop(self.child.stdin.take());
        self.kill();
        let _ = self.child.wait();
    }
}

fn write(lines: &mut impl Write, run: u64, calls: &[Call], end_us: u64) -> std::io::Result<()> {
    writeln!(lines, "{{\"run\":{run}}}")?;
    for Call { end_us, latency_us, is_failure } in calls {
        writeln!(lines, "{{\"end_us\":{end_us},\"latency_us\":{latency_us},\"failed\":{is_failure}}}")?;
    }
    writeln!(lines, "{{\"run_end_us\":{end_us}}}")?;
    lines.flush()
}

/// Passes each line of the program to `take`, until the program ends or `take` returns false.
fn read(output: ChildStdout, mut take: impl FnMut(Result<Answer, String>) -> bool) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match std::io::Read::take(&mut output, LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let answer = serde_json::from_slice(&line).map_err(|_| {
            let shown = String::from_utf8_lossy(&line).trim_end().to_owned();
            format!("has written a line that is neither an alarm nor {{\"done\":true}}: {}", shown.visible())
        });
        if !take(answer) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call = Call { end_us: 5, latency_us: 3, is_failure: true };

    fn answer(command: &str, timeout: Duration) -> Result<Vec<Alarm>, String> {
        let mut program = Program::start(command, timeout).map_err(|failure| failure.message)?;
        program.alarms(7, &vec![CALL; 50_000], 900).map_err(|failure| failure.message)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_program_reads_calls_and_writes_alarms() {
        let command = r#"while read -r line; do case "$line" in *run_end*) echo '{"start_us":1,"end_us":null}'; echo '{"done":true}';; esac; done"#;
        let mut program = Program::start(command, LONG).unwrap();
        for run in 0..3 {
            assert_eq!(program.alarms(run, &[CALL], 9).unwrap(), [Alarm { start_us: 1, end_us: None }]);
        }
    }

    #[test]
    fn a_program_that_dies_lags_or_writes_something_else_is_an_error_that_says_so() {
        for (command, timeout, wanted) in [
            ("exit 3", LONG, "has ended (exit status: 3)"),
            ("sleep 60", Duration::from_millis(50), "has written nothing for 50ms"),
            ("echo hello; cat > /dev/null", LONG, "neither an alarm nor"),
            (r#"echo '{"start_us":5,"end_us":4}'; cat > /dev/null"#, LONG, "ends before it starts"),
        ] {
            let message = answer(command, timeout).unwrap_err();
            assert!(message.contains(wanted) && message.starts_with("in run 7 the detector `"), "{message}");
        }
    }
}
