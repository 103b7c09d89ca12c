//! Diagnostics on standard error: what a process of Rehearsal did, and when.
//!
//! They are off in a program that a user starts. In the processes of a run they are on at level `info`, because their
//! standard error is a file of the run folder: `logs/server-0.log` for a replica, over all its processes, and
//! `logs/load.log` for the load. The environment variable `REHEARSAL_LOG` changes both:
//!
//! | value | logged |
//! | --- | --- |
//! | `debug` | everything of level `debug` and above, including the frames of the HTTP/2 library |
//! | `real=debug` | the same, of Rehearsal only |
//! | `real=info,real::tcp=off` | several modules, separated by commas |
//! | `off` | nothing |
//!
//! The levels are `error` for what must not happen, such as a panic; `warn` for a process that runs again after a stop;
//! `info` for starts, connections and faults; `debug` for connections that fail and for commands. No level has a line for
//! each request: the rows of the run folder have them.
//!
//! A line consists of the time in UTC, the level, the module, a message, and fields as `name=value`:
//!
//! ```text
//! 2026-11-28T05:09:09.123456Z  INFO real::role::replica: replica starts version="0.1.0" pid=4711 id="server-0" seed=42
//! ```

use std::{env, io, panic, thread};

use tracing::{
    error,
    level_filters::LevelFilter,
    subscriber::{Subscriber, set_global_default},
};
use tracing_subscriber::{
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    registry,
};

use kernel::visible::Visible;

/// The environment variable that selects what is logged.
const VARIABLE: &str = "REHEARSAL_LOG";

/// An invalid value of `REHEARSAL_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{VARIABLE}: `{}` is neither LEVEL nor MODULE=LEVEL; levels are off, error, warn, info, debug and trace",
    directive.visible()
)]
pub struct InvalidFilter {
    /// The part of the value that is wrong.
    pub directive: String,
}

/// Logs to standard error from now on, if `REHEARSAL_LOG` is set. A program that has a subscriber of its own keeps it.
///
/// # Errors
/// The value of `REHEARSAL_LOG` is invalid.
pub fn start() -> Result<(), InvalidFilter> {
    if let Some(filter) = requested_filter()? {
        install(filter);
    }
    Ok(())
}

/// Returns whether this process logs anything.
pub fn are_on() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

/// Logs to standard error from now on, panics included, as a process of a run: at level `info` without `REHEARSAL_LOG`.
pub(crate) fn start_in_run() -> Result<(), InvalidFilter> {
    let by_default = Targets::new().with_default(LevelFilter::WARN).with_target("real", LevelFilter::INFO);
    install(requested_filter()?.unwrap_or(by_default));
    log_panics();
    Ok(())
}

fn requested_filter() -> Result<Option<Targets>, InvalidFilter> {
    match env::var_os(VARIABLE) {
        Some(value) if !value.is_empty() => filter(&value.to_string_lossy()).map(Some),
        _ => Ok(None),
    }
}

/// Parses a value of `REHEARSAL_LOG`.
fn filter(text: &str) -> Result<Targets, InvalidFilter> {
    text.split(',').try_fold(Targets::new(), |targets, directive| {
        let (module, level) = match directive.rsplit_once('=') {
            Some((module, level)) => (Some(module), level),
            None => (None, directive),
        };
        // An empty level would be `error`.
        let level: Option<LevelFilter> = level.parse().ok().filter(|_| !level.is_empty());
        let level = level.ok_or_else(|| InvalidFilter { directive: directive.to_owned() })?;
        Ok(match module {
            Some(module) => targets.with_target(module, level),
            None => targets.with_default(level),
        })
    })
}

fn install(filter: Targets) {
    // An error means that the program has set a subscriber up before, which it is free to do.
    let _ = set_global_default(subscriber(filter, io::stderr));
}

fn subscriber<W>(filter: Targets, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Without its report of errors, which panics where standard error is closed.
    let lines = fmt::layer().with_ansi(false).with_writer(writer).log_internal_errors(false);
    registry().with(filter).with(lines)
}

/// Adds a line with the time to the message of the standard library, which has the backtrace. A panic of a task does not
/// end the process, so the log is the only place where it is seen.
fn log_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let thread = thread::current();
        let message = panicked.payload_as_str().unwrap_or("a value that is not text");
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        error!(thread = thread.name().unwrap_or("unnamed"), place, message, "panic");
        print(panicked);
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use kernel::sync::lock;
    use tracing::{debug, info, subscriber::with_default};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines of two events under the filter `text`, without their times.
    fn logged(text: &str) -> Vec<String> {
        let memory = Memory::default();
        let writer = memory.clone();
        with_default(subscriber(filter(text).unwrap(), move || writer.clone()), || {
            info!(port = 7, id = "server-0", "starts");
            debug!(target: "h2", "sends a frame");
        });
        let bytes = lock(&memory.0).clone();
        let lines = String::from_utf8(bytes).unwrap();
        lines.lines().map(|line| line.split_once(' ').expect("a time comes first").1.trim_start().to_owned()).collect()
    }

    #[test]
    fn a_line_has_level_module_message_and_fields_and_a_filter_selects_lines() {
        let ours = "INFO real::diagnostics::tests: starts port=7 id=\"server-0\"";
        let theirs = "DEBUG h2: sends a frame";
        assert_eq!(logged("debug"), [ours, theirs]);
        assert_eq!(logged("real=debug"), [ours]);
        assert_eq!(logged("debug,real=warn"), [theirs]);
        assert_eq!(logged("warn,real::diagnostics=info"), [ours]);
        assert_eq!(logged("off"), [""; 0]);
    }

    #[test]
    fn an_invalid_filter_is_an_error_that_quotes_its_wrong_part() {
        for (text, directive) in [("loud", "loud"), ("info,real=loud", "real=loud"), ("info,", "")] {
            assert_eq!(filter(text), Err(InvalidFilter { directive: directive.to_owned() }));
        }
    }
}
