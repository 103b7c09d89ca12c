//! A connection to a store, whose commands are pipelined: each is sent at once, and answers come in the order of commands.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};

use super::resp::{self, Value};
use crate::{
    link::{Link, ShapedStream},
    world::{SharedWorld, Stream},
};

/// The answer to a command, or why there is none, in a few words.
pub(super) type Answer = Result<Value, String>;

/// A command on its way, and where its answer goes.
struct Command {
    bytes: Bytes,
    answer: oneshot::Sender<Answer>,
}

/// A connection. It is closed when this is dropped, whatever is under way.
pub(super) struct Connection {
    commands: UnboundedSender<Command>,
}

impl Connection {
    /// Opens a connection over `link`, as a task of `world`, and sends `greeting` first, whose answers have to be no errors.
    pub(super) fn open(world: &SharedWorld, link: &Arc<Link>, greeting: Vec<Bytes>) -> Self {
        let (commands, received) = unbounded_channel();
        let link = link.clone();
        world.spawn(Box::pin(run(link, greeting, received)));
        Self { commands }
    }

    /// Returns whether it has failed or was closed by the store.
    pub(super) fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Sends a command. The returned channel has its answer, and is closed without one if the connection is.
    pub(super) fn send(&self, bytes: Bytes) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // Without a receiver the connection has failed, and so does the command.
        let _ = self.commands.send(Command { bytes, answer });
        answered
    }
}

/// The stream of a connection with the data on its way.
struct Traffic {
    stream: ShapedStream,
    /// The bytes that have not been written yet.
    outgoing: VecDeque<Bytes>,
    arrived: BytesMut,
    /// Answers to the greeting that have not come yet.
    greetings: usize,
    /// Where the next answers go.
    waiting: VecDeque<oneshot::Sender<Answer>>,
}

async fn run(link: Arc<Link>, greeting: Vec<Bytes>, mut commands: UnboundedReceiver<Command>) {
    let mut early = Vec::new();
    let stream = match open(&link, &mut commands, &mut early).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => return fail(early.into_iter().map(|command| command.answer), commands, &cause_of(&error)),
        None => return,
    };
    let mut traffic = Traffic {
        stream,
        greetings: greeting.len(),
        outgoing: greeting.into(),
        arrived: BytesMut::new(),
        waiting: VecDeque::new(),
    };
    early.into_iter().for_each(|command| traffic.add(command));
    if let Err(cause) = poll_fn(|cx| traffic.poll(cx, &mut commands)).await {
        fail(traffic.waiting.into_iter(), commands, &cause);
    }
}

/// Opens the stream, and keeps the commands that come meanwhile. Returns `None` if the connection is not wanted any more.
async fn open(
    link: &Arc<Link>,
    commands: &mut UnboundedReceiver<Command>,
    early: &mut Vec<Command>,
) -> Option<io::Result<ShapedStream>> {
    let mut opening = pin!(link.connect());
    loop {
        match select(opening.as_mut(), pin!(commands.recv())).await {
            Either::Left((opened, _)) => return Some(opened),
            Either::Right((command, _)) => early.push(command?),
        }
    }
}

/// Answers everything that waits with `cause`.
fn fail(waiting: impl Iterator<Item = oneshot::Sender<Answer>>, mut commands: UnboundedReceiver<Command>, cause: &str) {
    commands.close();
    // The one who has sent a command may not wait any more.
    waiting.for_each(|answer| drop(answer.send(Err(cause.to_owned()))));
    while let Ok(Command { answer, .. }) = commands.try_recv() {
        drop(answer.send(Err(cause.to_owned())));
    }
}

/// Returns the cause of a failure in a few words, which are the same for one kind of failure.
fn cause_of(error: &io::Error) -> String {
    error.kind().to_string()
}

impl Traffic {
    fn add(&mut self, Command { bytes, answer }: Command) {
        self.outgoing.push_back(bytes);
        self.waiting.push_back(answer);
    }

    /// Carries what can be carried. Ready when the connection is not wanted any more, and with the cause of its failure.
    fn poll(&mut self, cx: &mut Context<'_>, commands: &mut UnboundedReceiver<Command>) -> Poll<Result<(), String>> {
        loop {
            match commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.add(command),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        while let Some(chunk) = self.outgoing.front_mut() {
            match self.stream.poll_write_chunk(cx, chunk) {
                Poll::Ready(Ok(())) if chunk.is_empty() => drop(self.outgoing.pop_front()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(cause_of(&error))),
                Poll::Pending => break,
            }
        }
        loop {
            match self.stream.poll_read_chunk(cx) {
                Poll::Ready(Ok(chunk)) if chunk.is_empty() => return Poll::Ready(Err("connection closed".to_owned())),
                Poll::Ready(Ok(chunk)) => self.arrived.extend_from_slice(&chunk),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(cause_of(&error))),
                Poll::Pending => return Poll::Pending,
            }
            self.answer()?;
        }
    }

    /// Passes on the answers that have arrived whole.
    fn answer(&mut self) -> Result<(), String> {
        while let Some(value) = resp::take(&mut self.arrived, 0).map_err(|error| error.to_string())? {
            if self.greetings > 0 {
                self.greetings -= 1;
                if let Value::Error(text) = value {
                    return Err(format!("refused: {}", text_of(&text)));
                }
                continue;
            }
            let Some(waiting) = self.waiting.pop_front() else {
                return Err("what it sent is an answer to nothing".to_owned());
            };
            // The one who has sent the command may not wait any more.
            drop(waiting.send(Ok(value)));
        }
        Ok(())
    }
}

/// The most characters of an error of a store that are kept.
const TEXT_MAX: usize = 120;

/// Returns the text of an error of a store, cut to a length.
pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|character| !character.is_control()).take(TEXT_MAX).collect()
}
