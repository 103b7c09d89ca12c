//! The dashboard's thread: takes in what there is to be seen, draws ten times a second, listens to the keys.

use std::{
    io,
    sync::mpsc::{Receiver, TryRecvError},
    time::Duration,
};

use rustix::process::{Signal, getpid, kill_process};

use super::{
    Sight,
    board::Board,
    draw::draw,
    screen::{Screen, asked_to_end},
};
use crate::clock::Clock;

/// Between two frames.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// A run on the whole terminal.
pub(super) struct Dashboard {
    pub(super) clock: Clock,
    pub(super) screen: Screen,
    pub(super) board: Board,
}

impl Dashboard {
    /// Shows the run until its end, or until the terminal is gone.
    pub(super) fn show(mut self, sights: &Receiver<Sight>) {
        while self.take_in(sights) {
            let now = self.clock.now();
            let drawn = self.screen.draw(|frame| draw(frame, &self.board, now.as_micros()));
            if drawn.and_then(|()| self.listen()).is_err() {
                return;
            }
        }
    }

    /// Takes in all that there is; false once there will be no more.
    fn take_in(&mut self, sights: &Receiver<Sight>) -> bool {
        loop {
            match sights.try_recv() {
                Ok(sight) => self.board.see(sight),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Listens to the keys until the next frame is due.
    fn listen(&self) -> io::Result<()> {
        let due = self.clock.now() + FRAME_INTERVAL;
        loop {
            let left = due.since(self.clock.now());
            if left.is_zero() {
                return Ok(());
            }
            if asked_to_end(left)? {
                // As Ctrl-C does.
                kill_process(getpid(), Signal::INT)?;
            }
        }
    }
}
