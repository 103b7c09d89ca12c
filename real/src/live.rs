//! The view of a run on standard error while it is under way: a dashboard on a terminal, lines elsewhere.
//!
//! | module | contents |
//! | --- | --- |
//! | `board` | the state behind the dashboard, which rows update: `servers`, `tally`, `timeline`, `in_flight` |
//! | `so_far` | the verdict so far |
//! | `draw` | the board on a terminal's cells: `chart`, `style` |
//! | `dashboard`, `screen` | the thread of the dashboard, and the terminal that it takes over and restores |
//! | `lines` | the lines |
//! | `news` | the line about an event, for both |

mod board;
mod chart;
mod dashboard;
mod draw;
mod in_flight;
mod lines;
mod news;
mod screen;
mod servers;
mod so_far;
mod style;
mod tally;
mod timeline;

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use kernel::{
    detect::LiveAlarm,
    record::{Event, Row},
    scenario::Expectation,
};

use crate::clock::Clock;
use board::Board;
use dashboard::Dashboard;
use screen::Screen;

/// The view of a run on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A dashboard on the whole terminal, with figures and charts; lines if the terminal cannot be taken over.
    Dashboard,
    /// A line for each event, and a line with figures every few seconds.
    Lines,
    /// No output.
    Nothing,
}

/// The run to show.
#[derive(Debug, Clone)]
pub(crate) struct RunOverview {
    /// Name of the scenario.
    pub(crate) name: String,
    /// Seed of the run.
    pub(crate) seed: u64,
    /// Duration of the load.
    pub(crate) duration: Duration,
    /// Names of the servers.
    pub(crate) servers: Vec<String>,
    /// The expectations of the scenario.
    pub(crate) expectations: Vec<Expectation>,
}

/// A change of the run that the view can show.
#[derive(Debug, Clone)]
pub(crate) enum LiveUpdate {
    /// A new row.
    Row(Row),
    /// A new process of a replica.
    Process { server: String, pid: Option<u32> },
    /// An alarm of a detector of anomalies is raised or ends.
    Alarm(LiveAlarm),
    /// A signal has asked the run to end.
    Interrupted,
    /// Updates before this one were dropped.
    Lost,
}

/// Number of updates that can wait to be shown; an overloaded run has some thousands per second.
const WAITING_MAX: usize = 64 * 1024;

/// Shows a run on a thread of its own: a stopped terminal must not stop the run. Updates are dropped while too many wait.
pub(crate) struct Live {
    /// `None` after the end of the run.
    updates: Option<SyncSender<LiveUpdate>>,
    /// Updates were dropped since the last one that was not.
    lost: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts to show a run with the time of `clock`. Fails if the thread cannot be started.
    pub(crate) fn start(clock: Clock, overview: &RunOverview, view: View) -> io::Result<Self> {
        let (updates, shown) = mpsc::sync_channel(WAITING_MAX);
        let screen = if view == View::Dashboard { Screen::take().ok() } else { None };
        let board = Board::new(overview);
        let thread = thread::Builder::new().name("live".to_owned()).spawn(move || match view {
            View::Nothing => shown.iter().for_each(drop),
            View::Dashboard | View::Lines => show(clock, screen, board, &shown),
        })?;
        Ok(Self { updates: Some(updates), lost: AtomicBool::new(false), thread: Some(thread) })
    }

    /// Shows a row, if it belongs to those that are shown.
    pub(crate) fn row(&self, row: &Row) {
        let shown = match row {
            Row::Request(_) => true,
            Row::Event(row) => row.is_of_load() && (news::news(row).is_some() || is_counted(row.event)),
            Row::Attempt(_) | Row::Call(_) => false,
        };
        if shown {
            self.show(LiveUpdate::Row(row.clone()));
        }
    }

    /// Shows an update.
    pub(crate) fn show(&self, update: LiveUpdate) {
        if let Some(updates) = &self.updates {
            // Never waits: the caller is the run, which a slow terminal must not delay.
            if self.lost.swap(false, Relaxed) && updates.try_send(LiveUpdate::Lost).is_err() {
                self.lost.store(true, Relaxed);
            }
            if updates.try_send(update).is_err() {
                self.lost.store(true, Relaxed);
            }
        }
    }
}

/// Returns whether the dashboard needs an event that is no news.
fn is_counted(event: Event) -> bool {
    matches!(event, Event::Backoff | Event::Pick | Event::Queued | Event::FaultEnd | Event::BreakerHalfOpened)
}

impl Drop for Live {
    /// Shows the updates that wait, and restores the terminal.
    fn drop(&mut self) {
        self.updates = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(clock: Clock, screen: Option<Screen>, board: Board, updates: &Receiver<LiveUpdate>) {
    match screen {
        Some(screen) => Dashboard { clock, screen, board }.show(updates),
        None => lines::show(clock, updates),
    }
}
