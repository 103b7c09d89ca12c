//! The terminal that standard error goes to, taken over as a whole and given back whatever happens.

use std::{
    io::{self, BufWriter, Stderr, stderr},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crossterm::{
    cursor::{Hide, Show},
    event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};
use rustix::{process::getpgrp, termios::tcgetpgrp};

/// Whether this process has the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

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
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::Release);
        let taken = execute!(stderr(), EnterAlternateScreen, Hide);
        let terminal = taken.and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::new(stderr()))));
        terminal.map(|terminal| Self { terminal }).inspect_err(|_| give_back())
    }

    /// Draws a frame, unless the terminal has been given back.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if TAKEN.load(Ordering::Acquire) {
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

/// Waits up to `patience` for something that is typed, and says whether it means that the run should end.
pub(super) fn asked_to_end(patience: Duration) -> io::Result<bool> {
    if !event::poll(patience)? {
        return Ok(false);
    }
    // In raw mode the terminal makes no signal of Ctrl-C.
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
            KeyCode::Char('q') => true,
            _ => false,
        },
        _ => false,
    })
}

fn give_back() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        // Without a terminal there is nothing to give back.
        let _ = execute!(stderr(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
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
