//! Joins two connections, so that they behave as a single one.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use kernel::world::BoxStream;
use tokio::io::AsyncWrite as _;

/// Passes bytes on in both directions, until both have ended or one side has reset. The end of one direction is passed on
/// and leaves the other direction open. A reset is passed on as a reset, after the bytes that were sent before it.
pub(super) async fn relay(near: &mut BoxStream, far: &mut BoxStream) {
    let mut there = Pump::default();
    let mut back = Pump::default();
    poll_fn(|cx| {
        if there.poll(cx, near, far).is_err() || back.poll(cx, far, near).is_err() {
            // One of them has reset, and another reset does not affect it.
            near.abort();
            far.abort();
            return Poll::Ready(());
        }
        match (there.state, back.state) {
            (State::Done, State::Done) => Poll::Ready(()),
            // A side that accepts no more bytes has reset, and everything that it sent before has been passed on.
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

/// One direction of a relay.
#[derive(Default)]
struct Pump {
    /// Bytes that were read and not written yet.
    chunk: Bytes,
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Open,
    /// The end was read, and is being passed on.
    Ending,
    /// The end was passed on.
    Done,
    /// The destination accepts no more bytes. Bytes that it sent before can still arrive in the other direction.
    Refused,
}

impl Pump {
    /// Passes on the available bytes. An error is one of the source.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> io::Result<()> {
        while let Poll::Ready(moved) = self.poll_step(cx, from, to) {
            if !moved? {
                break;
            }
        }
        // A link moves its delayed bytes only when it is polled, even if there is nothing more to write. An error of the
        // socket shows at the next read or write.
        let _ = Pin::new(to).poll_flush(cx);
        Ok(())
    }

    /// Makes one step. Returns false if there are no more steps.
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
