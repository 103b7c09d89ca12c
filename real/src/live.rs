//! What there is to see on standard error while a run goes on: a dashboard on a terminal, lines elsewhere.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `board` | all that the dashboard shows, fed with rows: `servers`, `tally`, `timeline` |
//! | `draw` | the board on a terminal's cells: `chart` |
//! | `dashboard`, `screen` | the dashboard's thread, and the terminal that it takes and gives back |
//! | `lines` | the lines |
//! | `news` | what an event says to someone who watches, on both |

mod board;
mod chart;
mod dashboard;
mod draw;
mod lines;
mod news;
mod screen;
mod servers;
mod tally;
mod timeline;

use std::{
    io,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
    time::Duration,
};

use kernel::record::{Event, Row};

use crate::clock::Clock;
use board::Board;
use dashboard::Dashboard;
use screen::Screen;

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// On the whole terminal, with figures and charts; lines if it cannot be taken.
    Dashboard,
    /// A line for each thing that happens, and one every few seconds for how it goes.
    Lines,
    /// Not at all.
    Nothing,
}

/// The run that is shown.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// For how long load is offered.
    pub(crate) duration: Duration,
    pub(crate) servers: Vec<String>,
}

/// What there is to be seen.
#[derive(Debug, Clone)]
pub(crate) enum Sight {
    /// This was recorded.
    Row(Row),
    /// This replica has a new process.
    Process { server: String, pid: Option<u32> },
    /// Someone wants the run to end.
    Interrupted,
}

/// What may wait to be shown; an overloaded run says some thousand things a second.
const WAITING_MAX: usize = 64 * 1024;

/// Shows a run on a thread of its own: a terminal that is stopped must not stop the run. What comes while too much
/// waits already is not shown.
pub(crate) struct Live {
    /// `None` once it has ended.
    sights: Option<SyncSender<Sight>>,
    thread: Option<JoinHandle<()>>,
}

impl Live {
    /// Begins to show a run whose time is `clock`'s.
    pub(crate) fn start(clock: Clock, about: &About, view: View) -> io::Result<Self> {
        let (sights, shown) = mpsc::sync_channel(WAITING_MAX);
        let screen = if view == View::Dashboard { Screen::take().ok() } else { None };
        let board = Board::new(about);
        let show = move || match view {
            View::Nothing => shown.iter().for_each(drop),
            View::Dashboard | View::Lines => show(clock, screen, board, &shown),
        };
        let thread = thread::Builder::new().name("live".to_owned()).spawn(show)?;
        Ok(Self { sights: Some(sights), thread: Some(thread) })
    }

    /// Shows a row, if it is of those that are shown.
    pub(crate) fn row(&self, row: &Row) {
        let shown = match row {
            Row::Request(_) => true,
            Row::Event(row) => news::of(row).is_some() || row.event == Event::Backoff,
            Row::Attempt(_) => false,
        };
        if shown {
            self.show(Sight::Row(row.clone()));
        }
    }

    /// Shows something.
    pub(crate) fn show(&self, sight: Sight) {
        if let Some(sights) = &self.sights {
            // Never waits.
            let _ = sights.try_send(sight);
        }
    }
}

impl Drop for Live {
    /// Shows what there is to show first, and gives the terminal back.
    fn drop(&mut self) {
        self.sights = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn show(clock: Clock, screen: Option<Screen>, board: Board, sights: &Receiver<Sight>) {
    match screen {
        Some(screen) => Dashboard { clock, screen, board }.show(sights),
        None => lines::show(clock, sights),
    }
}
