//! A connection of a process: the process's end, and that of its operating system.
//!
//! The chunks of a connection are in its two [`Pipe`]s, which the process reads and writes in its turns. turmoil's socket, which carries a
//! token for each chunk and knows when the other side has closed or is gone, works within a step only. So a task of turmoil's host has it:
//! it sends the tokens of what the process has written, takes those of what the process has read, and reports the end. What the process has
//! not read stays unread in the socket, so that it is reset if the process is killed then.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use kernel::sync::lock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use super::inbox::{Inbox, InboxWaker};
use crate::{
    activity::Activity,
    byte_stream::{ByteStream, ChunkEnd},
    net::Connection,
    pipe::{Head, Pipe},
};

/// Most chunks whose tokens wait to be sent. Like that of turmoil's socket, it is so high that only HTTP/2's flow control holds back.
const UNSENT_MAX: usize = 1 << 16;

/// The state that both ends share.
struct Shared {
    outgoing: Arc<Pipe>,
    incoming: Arc<Pipe>,
    activity: Activity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Chunks that the process has written, whose tokens have not been sent.
    unsent: usize,
    /// Chunks that the process has read, whose tokens have not been taken.
    untaken: usize,
    /// The process sends nothing any more.
    is_shut: bool,
    /// The process has dropped its end.
    is_dropped: bool,
    /// The other side is gone: nothing can be sent to it.
    is_broken: bool,
    /// The end of turmoil's socket: the end of the stream, or an error.
    end: Option<Result<(), io::ErrorKind>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Wakes the operating system's end.
    outside: Option<Waker>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Wakes the operating system's end, for which this instant may end before.
    fn wake_outside(&self, state: MutexGuard<'_, State>) {
        let outside = state.outside.clone();
        drop(state);
        outside.into_iter().for_each(Waker::wake);
    }

    /// Wakes the operating system's end, for which this instant goes on.
    fn act_outside(&self, state: MutexGuard<'_, State>) {
        self.wake_outside(state);
        self.activity.happened();
    }
}

/// Returns the end of a connection that a process has, and the task of its operating system.
pub(super) fn ends(
    connection: Connection,
    inbox: &Arc<Inbox>,
    activity: &Activity,
) -> (ByteStream<ProcessEnd>, OutsideEnd) {
    let Connection { socket, outgoing, incoming } = connection;
    let shared = Arc::new(Shared { outgoing, incoming, activity: activity.clone(), state: Mutex::default() });
    let [reader, writer] = [(); 2].map(|()| InboxWaker::new(inbox.clone()));
    let end = ProcessEnd { shared: shared.clone(), reader, writer };
    (ByteStream::new(end), OutsideEnd { shared, socket, has_ended: false, is_shut: false })
}

/// The end of a connection that the process reads and writes.
pub(super) struct ProcessEnd {
    shared: Arc<Shared>,
    reader: InboxWaker,
    writer: InboxWaker,
}

impl ChunkEnd for ProcessEnd {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Shared { incoming, activity, .. } = &*self.shared;
        let waker = self.reader.for_task(cx.waker());
        let head = incoming.head(waker);
        let mut state = self.shared.state();
        match head {
            Head::OnItsWay => Poll::Pending,
            Head::Chunk | Head::Joined => {
                let chunk = incoming.pop().expect("it is the head");
                if head == Head::Chunk {
                    state.untaken += 1;
                    self.shared.wake_outside(state);
                }
                Poll::Ready(Ok(chunk))
            }
            Head::Nothing => match state.end {
                Some(end) if incoming.has_ended() => Poll::Ready(end.map(|()| Bytes::new()).map_err(io::Error::from)),
                _ => {
                    state.reader = Some(waker.clone());
                    // The end is here before turmoil's: that takes another step, and the clock must not move until then.
                    if incoming.waits_for_turmoil() {
                        activity.happened();
                    }
                    Poll::Pending
                }
            },
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, chunk: Bytes) -> Poll<io::Result<()>> {
        let Shared { outgoing, incoming, .. } = &*self.shared;
        let mut state = self.shared.state();
        if state.is_shut || (state.is_broken && incoming.has_ended()) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Err(chunk) = outgoing.join(chunk) else { return Poll::Ready(Ok(())) };
        if state.is_broken {
            return Poll::Ready(Ok(()));
        }
        if state.unsent == UNSENT_MAX {
            state.writer = Some(self.writer.for_task(cx.waker()).clone());
            return Poll::Pending;
        }
        outgoing.push(chunk);
        state.unsent += 1;
        self.shared.act_outside(state);
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.outgoing.end();
        let mut state = self.shared.state();
        state.is_shut = true;
        self.shared.act_outside(state);
        Poll::Ready(Ok(()))
    }
}

impl Drop for ProcessEnd {
    /// Ends the outgoing direction. The operating system closes the socket, and the other side learns of it when the network has carried it
    /// there.
    fn drop(&mut self) {
        self.shared.outgoing.end();
        let mut state = self.shared.state();
        state.is_dropped = true;
        self.shared.act_outside(state);
    }
}

/// The operating system's end of a connection, which has turmoil's socket. It completes when the process has dropped its end.
pub(super) struct OutsideEnd {
    shared: Arc<Shared>,
    socket: TcpStream,
    /// turmoil has reported the end of the incoming direction.
    has_ended: bool,
    /// turmoil knows of the end of the outgoing direction.
    is_shut: bool,
}

impl OutsideEnd {
    /// Sends and takes the tokens of what the process has done. Returns true if that was the last of it.
    fn settle(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { shared, socket, is_shut, .. } = self;
        let mut state = shared.state();
        while state.untaken > 0 {
            let mut token = [0];
            let mut token = ReadBuf::new(&mut token);
            let Poll::Ready(read) = Pin::new(&mut *socket).poll_read(cx, &mut token) else { break };
            // A socket that was reset has no tokens any more.
            let is_taken = read.is_ok() && !token.filled().is_empty();
            state.untaken = if is_taken { state.untaken - 1 } else { 0 };
        }
        while state.unsent > 0 {
            let Poll::Ready(sent) = Pin::new(&mut *socket).poll_write(cx, &[0]) else { break };
            state.is_broken |= sent.is_err();
            state.unsent = if sent.is_ok() { state.unsent - 1 } else { 0 };
        }
        let is_settled = state.unsent == 0 && state.untaken == 0;
        if state.is_shut && state.unsent == 0 && !std::mem::replace(is_shut, true) {
            // A socket whose other side is gone is shut already.
            let _ = Pin::new(socket).poll_shutdown(cx);
        }
        let is_over = state.is_dropped && is_settled;
        let writer = if state.unsent < UNSENT_MAX { state.writer.take() } else { None };
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        is_over
    }

    /// Looks at what has arrived, without taking it, and wakes the reader if it is something to read now.
    fn look(&mut self, cx: &mut Context<'_>) {
        if self.has_ended {
            return;
        }
        let mut token = [0];
        let mut token = ReadBuf::new(&mut token);
        let end = match self.socket.poll_peek(cx, &mut token) {
            Poll::Pending => return,
            Poll::Ready(Ok(0)) => Some(Ok(())),
            Poll::Ready(Ok(_)) => None,
            Poll::Ready(Err(error)) => Some(Err(error.kind())),
        };
        self.has_ended = end.is_some();
        let mut state = self.shared.state();
        state.end = state.end.or(end);
        let is_readable =
            if self.has_ended { self.shared.incoming.has_ended() } else { self.shared.incoming.has_arrived() };
        let reader = if is_readable { state.reader.take() } else { None };
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }
}

impl Future for OutsideEnd {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.state().outside = Some(cx.waker().clone());
        if self.settle(cx) {
            return Poll::Ready(());
        }
        self.look(cx);
        Poll::Pending
    }
}

impl Drop for OutsideEnd {
    /// Sends and takes what there is, before the socket is dropped: what a killed process has written is on its way.
    fn drop(&mut self) {
        // Otherwise the simulation is being dropped.
        if turmoil::in_simulation() {
            self.settle(&mut Context::from_waker(Waker::noop()));
        }
        self.shared.outgoing.end();
        self.shared.activity.happened();
    }
}
