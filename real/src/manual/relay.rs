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

use super::toxiproxy::Flow;

/// Passes bytes on in both directions, until both have ended, one side has reset, or one direction has reached its limit. The end of one
/// direction is passed on and leaves the other direction open. A reset is passed on as a reset, after the bytes that were sent before it.
/// `flows` are the directions from `near` to `far`, and back.
pub(super) async fn relay(near: &mut BoxStream, far: &mut BoxStream, flows: [Flow<'_>; 2]) {
    let [to, from] = flows;
    let mut there = Pump::new(to);
    let mut back = Pump::new(from);
    poll_fn(|cx| {
        if there.poll(cx, near, far).is_err() || back.poll(cx, far, near).is_err() {
            // One of them has reset, and another reset does not affect it.
            near.abort();
            far.abort();
            return Poll::Ready(());
        }
        match (there.state, back.state) {
            (State::Done, State::Done) | (State::Limited, _) | (_, State::Limited) => Poll::Ready(()),
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
struct Pump<'a> {
    flow: Flow<'a>,
    /// Bytes that were read and not written yet.
    chunk: Bytes,
    /// Those of them that are written next.
    piece: Bytes,
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
    /// The limit is reached, and the end is being passed on.
    Limiting,
    /// The limit is reached, and the end was passed on.
    Limited,
    /// The destination accepts no more bytes. Bytes that it sent before can still arrive in the other direction.
    Refused,
}

impl<'a> Pump<'a> {
    fn new(flow: Flow<'a>) -> Self {
        Self { flow, chunk: Bytes::new(), piece: Bytes::new(), state: State::Open }
    }

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
        ready!(self.flow.poll_pause(cx));
        match self.state {
            State::Open if self.chunk.is_empty() && self.piece.is_empty() => {
                self.chunk = ready!(from.poll_read_chunk(cx))?;
                if self.chunk.is_empty() {
                    self.flow.end();
                    self.state = State::Ending;
                }
            }
            State::Open if self.piece.is_empty() && self.flow.discards() => self.chunk.clear(),
            State::Open if self.piece.is_empty() => {
                self.piece = self.chunk.split_to(self.flow.piece(self.chunk.len()));
                if self.piece.is_empty() {
                    self.state = State::Limiting;
                }
            }
            State::Open => {
                let before = self.piece.len();
                if ready!(to.poll_write_chunk(cx, &mut self.piece)).is_err() {
                    self.state = State::Refused;
                    return Poll::Ready(Ok(true));
                }
                self.flow.pass(before - self.piece.len());
                // The limit is reached by the last byte, not by the next one.
                if self.piece.is_empty() && self.flow.piece(1) == 0 {
                    self.state = State::Limiting;
                }
            }
            State::Ending | State::Limiting => {
                let ended = ready!(Pin::new(to).poll_shutdown(cx));
                self.state = match self.state {
                    State::Limiting => State::Limited,
                    _ if ended.is_ok() => State::Done,
                    _ => State::Refused,
                };
            }
            State::Done | State::Limited | State::Refused => return Poll::Ready(Ok(false)),
        }
        Poll::Ready(Ok(true))
    }
}
