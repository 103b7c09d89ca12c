//! Passes bytes on between two connections, as if there were one.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use kernel::world::BoxStream;
use tokio::io::AsyncWrite as _;

/// Passes on what each side sends until both have said their last, or one has reset. An end of one direction is passed
/// on and leaves the other open; a reset is passed on as one, behind what was sent before it.
pub(super) async fn relay(mut near: BoxStream, mut far: BoxStream) {
    let (mut there, mut back) = (Pump::default(), Pump::default());
    poll_fn(|cx| {
        let (near, far) = (&mut near, &mut far);
        if there.poll(cx, near, far).is_err() || back.poll(cx, far, near).is_err() {
            // The one that has reset does not mind.
            near.abort();
            far.abort();
            return Poll::Ready(());
        }
        match (there.state, back.state) {
            (State::Done, State::Done) => Poll::Ready(()),
            // Whoever takes no more has reset, and has had its say.
            (State::Refused, State::Done) | (State::Done, State::Refused) | (State::Refused, State::Refused) => {
                near.abort();
                far.abort();
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    })
    .await;
}

/// One direction.
#[derive(Default)]
struct Pump {
    /// Read, and not written yet.
    chunk: Bytes,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Open,
    /// The end has been read, and is being passed on.
    Ending,
    /// The end has been passed on.
    Done,
    /// The other side takes no more. What it said before, it says in the other direction.
    Refused,
}

impl Pump {
    /// Passes on what there is. An error is the source's.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> io::Result<()> {
        while let Poll::Ready(moved) = self.poll_step(cx, from, to) {
            if !moved? {
                break;
            }
        }
        // A link carries what it holds as it is polled, even if there is nothing more to write. A failure of the
        // socket shows when it is written to or read from.
        let _ = Pin::new(to).poll_flush(cx);
        Ok(())
    }

    /// Whether there may be more to do at once.
    fn poll_step(&mut self, cx: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> Poll<io::Result<bool>> {
        match self.state {
            State::Open if self.chunk.is_empty() => {
                self.chunk = ready!(from.poll_read_chunk(cx))?;
                if self.chunk.is_empty() {
                    self.state = State::Ending;
                }
            }
            State::Open => {
                if ready!(to.poll_write_chunk(cx, &mut self.chunk)).is_err() {
                    self.state = State::Refused;
                }
            }
            State::Ending => {
                let ended = ready!(Pin::new(to).poll_shutdown(cx));
                self.state = if ended.is_ok() { State::Done } else { State::Refused };
            }
            State::Done | State::Refused => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }
}
