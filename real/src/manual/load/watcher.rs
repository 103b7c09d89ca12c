//! The thread that prints and logs the rows of a load, and passes them on to where they are kept.

use std::{
    fs::{self, File},
    io::{self, LineWriter, Write},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use kernel::{
    cli::Failure,
    record::{CallMoment, Recorder, Row, Sink},
    visible::Visible,
};

use super::{
    super::{
        log::{log_line, time_of_day},
        request_lines::RequestLines,
    },
    LoadArgs,
};
use crate::{export::Exporter, recording::Queue};

/// Prints and logs rows on a thread of its own: a stopped terminal or a slow disk must not delay the load.
pub(super) struct Watcher {
    feed: Arc<Feed>,
    thread: thread::JoinHandle<io::Result<()>>,
}

/// The sink for rows and for what is measured.
pub(super) struct Feed {
    /// `None` ends the thread.
    rows: Sender<Option<Row>>,
    /// Takes what is measured of attempts, which has no row.
    exporter: Option<Exporter>,
}

impl Sink for Feed {
    fn take(&self, row: Row) {
        // A row of a call that ends after the load: the thread has ended.
        let _ = self.rows.send(Some(row));
    }

    fn measures(&self) -> bool {
        self.exporter.is_some()
    }

    fn measure(&self, recorder: &Recorder, moment: CallMoment) {
        if let Some(exporter) = &self.exporter {
            exporter.note(|observer| observer.take_moment(recorder.source(), &moment));
        }
    }
}

impl Watcher {
    /// Starts the thread, which passes all rows on to `kept` and to `exporter`, if there is one, and writes the lines that it prints to `process_log`, too. Fails if the log cannot be created.
    pub(super) fn start(
        args: &LoadArgs,
        process_log: Option<File>,
        kept: Arc<Queue>,
        exporter: Option<Exporter>,
    ) -> Result<Self, Failure> {
        let log = args.log.as_deref().map(|path| create_log(path, args.force)).transpose()?;
        let lines = RequestLines::new(args.quiet);
        let (sender, rows) = mpsc::channel();
        let feed = Arc::new(Feed { rows: sender, exporter: exporter.clone() });
        let thread = thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || watch(&rows, lines, log, process_log, (&kept, exporter)))
            .map_err(Failure::run_failed)?;
        Ok(Self { feed, thread })
    }

    /// The sink of this thread.
    pub(super) fn feed(&self) -> Arc<Feed> {
        self.feed.clone()
    }

    /// Ends the thread, which has passed on all rows then. Returns the first error of the log.
    pub(super) fn end(self) -> Result<io::Result<()>, Failure> {
        let _ = self.feed.rows.send(None);
        self.thread.join().map_err(|_| Failure::run_failed("the thread that shows requests has ended"))
    }
}

/// Creates the log. A file that is there is replaced by force only: it may hold a load that cannot be had again.
fn create_log(path: &Path, force: bool) -> Result<File, Failure> {
    let is_empty = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0);
    let mut options = File::options();
    options.write(true);
    // Devices, such as /dev/stderr, hold nothing that could be lost.
    let is_device = fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
    if force || is_empty || is_device {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path).map_err(|error| {
        let shown = path.visible();
        Failure::wrong_input(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("the log {shown} exists; choose another --log, or replace it with --force")
            }
            _ => format!("cannot write the log: {shown}: {error}; choose another --log"),
        })
    })
}

/// Runs the thread. After an error of the log, rows are still printed and passed on.
fn watch(
    rows: &Receiver<Option<Row>>,
    mut lines: RequestLines,
    log: Option<File>,
    process_log: Option<File>,
    (kept, exporter): (&Queue, Option<Exporter>),
) -> io::Result<()> {
    let mut process_log = process_log.map(LineWriter::new);
    let mut log = log.map(LineWriter::new);
    let mut logged = Ok(());
    while let Ok(Some(row)) = rows.recv() {
        if let Some(line) = lines.line(&row) {
            if let Some(file) = &mut process_log {
                // The lines are for people; what is recorded are the rows.
                let _ = writeln!(file, "[{}] {}", time_of_day(), anstream::adapter::strip_str(&line));
            }
            log_line(line);
        }
        if let (Row::Request(row), Some(file), Ok(())) = (&row, &mut log, &logged) {
            let line = serde_json::to_string(row).expect("plain data is always written");
            logged = file.write_all((line + "\n").as_bytes());
        }
        if let Some(exporter) = &exporter {
            exporter.note(|observer| observer.take(&row));
        }
        kept.push(&row);
    }
    logged
}
