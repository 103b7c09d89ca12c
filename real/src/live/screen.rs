//! The terminal that standard error goes to, taken over as a whole and given back whatever happens.
//!
//! Ctrl-C goes on to be a signal, so that it works whatever this program is at. Keys are read here and not with
//! crossterm's events, which turn in circles for ever once the terminal has been closed.

use std::{
    io::{self, BufWriter, IsTerminal, Stderr, stderr, stdin},
    panic,
    sync::{Mutex, MutexGuard, Once, PoisonError},
    time::Duration,
};

use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::{Hide, Show},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen},
    },
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::getpgrp,
    termios::{
        LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
    },
    time::Timespec,
};

/// The terminal as it was, while this process has it.
static TAKEN: Mutex<Option<Termios>> = Mutex::new(None);

/// A special character that there is not, `_POSIX_VDISABLE`.
const NO_CHARACTER: u8 = 0;

/// The terminal while it is taken. Dropped, or when any thread panics, it is given back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
}

impl Screen {
    /// Takes the terminal, if there is one and this process may: one in the background would be stopped by it.
    pub(super) fn take() -> io::Result<Self> {
        if tcgetpgrp(stderr())? != getpgrp() {
            return Err(io::Error::other("this process is in the background"));
        }
        give_back_on_panic();
        let before = tcgetattr(stderr())?;
        tcsetattr(stderr(), OptionalActions::Now, &key_by_key(before.clone()))?;
        *taken() = Some(before);
        let entered = execute!(stderr(), EnterAlternateScreen, Hide);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(stderr()))));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
    }

    /// Draws a frame, unless the terminal has been given back.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if taken().is_some() {
            self.terminal.draw(draw)?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// `terminal`, but that keys come at once and are not echoed, and none stops this process with the screen taken.
fn key_by_key(mut terminal: Termios) -> Termios {
    terminal.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    for index in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
        terminal.special_codes[index] = NO_CHARACTER;
    }
    terminal
}

/// Waits up to `patience` for a key, and says whether it means that the run should end. An error if the terminal has
/// been closed.
pub(super) fn asked_to_end(patience: Duration) -> io::Result<bool> {
    let (keys, screen) = (stdin(), stderr());
    let closed = PollFd::new(&screen, PollFlags::empty());
    let typed = PollFd::new(&keys, PollFlags::IN);
    let mut awaited = if keys.is_terminal() { vec![closed, typed] } else { vec![closed] };
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    poll(&mut awaited, Some(&timeout))?;
    if awaited[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    if awaited.get(1).is_none_or(|typed| typed.revents().is_empty()) {
        return Ok(false);
    }
    let mut bytes = [0; 64];
    match rustix::io::read(&keys, &mut bytes)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => Ok(bytes[..read] == *b"q"),
    }
}

fn give_back() {
    if let Some(before) = taken().take() {
        // Without a terminal there is nothing to give back.
        let _ = execute!(stderr(), Show, LeaveAlternateScreen);
        // What was typed meanwhile was not meant for whoever reads next.
        let _ = tcflush(stderr(), QueueSelector::IFlush);
        let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
    }
}

/// What a panic says is to be read on the terminal as it was.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let say = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            give_back();
            say(panicked);
        }));
    });
}

fn taken() -> MutexGuard<'static, Option<Termios>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}
