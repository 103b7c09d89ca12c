//! The thread of the dashboard: applies updates, draws ten times per second, and reads keys.

use std::{
    io,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};

use super::{
    LiveUpdate,
    board::Board,
    draw::draw,
    screen::{Screen, asked_to_end},
};
use crate::clock::Clock;

/// Time between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The view of a run on the whole terminal.
pub(super) struct Dashboard {
    /// The time of the run.
    pub(super) clock: Clock,
    /// The terminal.
    pub(super) screen: Screen,
    /// The state to draw.
    pub(super) board: Board,
}

impl Dashboard {
    /// Shows the run until its end, or until the terminal is closed.
    pub(super) fn show(mut self, updates: &Receiver<LiveUpdate>) {
        while self.apply(updates) {
            let now = self.clock.now();
            let drawn = self.screen.draw(|frame| draw(frame, &self.board, now.as_micros()));
            if drawn.and_then(|()| self.listen()).is_err() {
                return;
            }
        }
    }

    /// Applies the updates that wait. Returns false after the last one.
    fn apply(&mut self, updates: &Receiver<LiveUpdate>) -> bool {
        loop {
            match updates.try_recv() {
                Ok(update) => self.board.update(update),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Reads keys until it is time for the next frame.
    fn listen(&self) -> io::Result<()> {
        let due = self.clock.now() + FRAME_INTERVAL;
        loop {
            let left = due.since(self.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            if asked_to_end(left)? {
                // The same way as Ctrl-C, so that there is one way to end a run.
                kill_process(getpid(), Signal::INT)?;
            }
        }
    }
}
