//! The terminal of standard error, taken over as a whole and always restored.
//!
//! Ctrl-C stays a signal, so that it works at any time. Keys are read here and not with crossterm's events, which loop
//! forever after the terminal has been closed.

use std::{
    io::{self, BufWriter, IsTerminal, Stderr, stderr, stdin},
    panic,
    sync::{Mutex, MutexGuard, Once},
    time::Duration,
};

use kernel::sync::lock;
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

/// Settings of the terminal before this process took it over; `None` while it has not.
static TAKEN: Mutex<Option<Termios>> = Mutex::new(None);

/// The value that disables a special character, `_POSIX_VDISABLE`.
const NO_CHARACTER: u8 = 0;

/// The terminal while it is taken over. It is restored when this is dropped or any thread panics.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stderr>>>,
}

impl Screen {
    /// Takes the terminal over. Fails without a terminal, and in the background, where the operating system would stop this
    /// process.
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

    /// Draws a frame, unless a panic has restored the terminal.
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

/// The settings of `terminal`, changed so that keys arrive at once without echo, and no key stops this process while it has
/// the terminal.
fn key_by_key(mut terminal: Termios) -> Termios {
    terminal.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    for index in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
        terminal.special_codes[index] = NO_CHARACTER;
    }
    terminal
}

/// Waits for a key up to `patience`. Returns true if it asks the run to end. Fails if the terminal has been closed.
pub(super) fn asked_to_end(patience: Duration) -> io::Result<bool> {
    let keys = stdin();
    let screen = stderr();
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
        // An error means that the terminal has been closed, and there is nothing to restore.
        let _ = execute!(stderr(), Show, LeaveAlternateScreen);
        // Keys that were typed during the run are not meant for the shell.
        let _ = tcflush(stderr(), QueueSelector::IFlush);
        let _ = tcsetattr(stderr(), OptionalActions::Now, &before);
    }
}

/// Restores the terminal before the message of a panic, so that it can be read.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            give_back();
            print(panicked);
        }));
    });
}

fn taken() -> MutexGuard<'static, Option<Termios>> {
    lock(&TAKEN)
}
