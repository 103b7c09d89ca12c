//! Accepts connections for as long as the process lives, whatever is short.
//!
//! Every listening socket of the program has a [`Door`]. Any local user can connect until a process has no descriptors left,
//! and `accept` then fails at once, as often as it is called. A door waits, closes the newest connections so that none hangs
//! half-open, and goes on. It also has a number of places, below the limit of descriptors, so that this is rare.

use std::{
    fs::File,
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tracing::warn;

use crate::{clock::machine_ns, timer::Timer};

/// Most connections of one socket. A client has one connection to a server, and a scenario has at most a few dozen clients'
/// worth of load; the rest is room for what is not ours.
const PLACES_MAX: usize = 1024;

/// Descriptors that connections leave to the rest of the process: its runtime, logs, control socket and upstream.
const DESCRIPTORS_KEPT: usize = 48;

/// Descriptors to give up when there is no other. Between giving one up and accepting with it, another task of the process can take
/// it, such as a proxy's connection to its upstream that was accepted before the shortage; the others are for that.
const RESERVED: usize = 4;

/// Time to wait after a shortage that a closed connection does not end.
const PAUSE: Duration = Duration::from_millis(50);

/// The number of connections that one socket accepts at once. Each of them needs `descriptors` descriptors.
pub(crate) fn places(descriptors: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    // A process with a low limit has few descriptors of its own, too.
    let kept = DESCRIPTORS_KEPT.min(limit / 2);
    ((limit - kept) / descriptors).clamp(1, PLACES_MAX)
}

/// The way in to a listening socket.
pub(crate) struct Door {
    timer: Timer,
    /// Number of places.
    places: usize,
    /// Number of places that are taken.
    taken: Arc<AtomicUsize>,
    /// Descriptors to give up when there is no other, so that a connection can be accepted and closed.
    reserve: Vec<File>,
    /// Connections were closed or could not be accepted since the last one that was let in.
    short: bool,
    /// Says what is short, once for each shortage.
    notice: fn(&str),
}

/// A place of a connection, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Door {
    /// A door with this number of places. It waits with `timer`.
    pub(crate) fn new(places: usize, timer: Timer) -> Self {
        let mut door = Self {
            timer,
            places,
            taken: Arc::default(),
            reserve: Vec::new(),
            short: false,
            notice: |text| warn!("{text}"),
        };
        door.refill();
        door
    }

    /// The same door, which reports shortages to `notice` instead of the log.
    pub(crate) fn with_notice(self, notice: fn(&str)) -> Self {
        Self { notice, ..self }
    }

    /// The same door, with another number of places.
    pub(crate) fn with_places(self, places: usize) -> Self {
        Self { places, ..self }
    }

    /// The number of places.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Waits for the next connection, which `poll_accept` accepts, and for which there is a place. Others are passed to `refuse`.
    /// Fails only if the socket is no listening socket, which is a bug.
    pub(crate) async fn next<T>(
        &mut self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
        refuse: impl Fn(T),
    ) -> io::Result<(T, Place)> {
        loop {
            match poll_fn(&mut poll_accept).await {
                Ok(connection) => match self.place() {
                    Some(place) => {
                        self.short = false;
                        return Ok((connection, place));
                    }
                    None => {
                        let text = format!(
                            "{} connections are open, as many as are accepted: new ones are closed",
                            self.places
                        );
                        self.report(&text);
                        refuse(connection);
                    }
                },
                Err(error) => match Shortage::from_error(&error) {
                    Shortage::None => return Err(error),
                    // Only that connection failed, before it was accepted.
                    Shortage::Connection => {}
                    Shortage::Descriptors => {
                        self.report(&format!("{error}: new connections are closed"));
                        if !self.shed(&mut poll_accept, &refuse).await {
                            self.pause().await;
                        }
                    }
                    Shortage::Other => {
                        self.report(&format!("cannot accept connections for now: {error}"));
                        self.pause().await;
                    }
                },
            }
        }
    }

    /// Takes a place, if there is one.
    fn place(&self) -> Option<Place> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.taken.clone());
        (taken < self.places).then_some(place)
    }

    /// Closes the next connection that waits, with a reserved descriptor. Returns false if there is none, or if other tasks
    /// have taken what was given up.
    async fn shed<T>(
        &mut self,
        mut poll_accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
        refuse: impl Fn(T),
    ) -> bool {
        // Dropped, and so closed.
        if self.reserve.pop().is_none() {
            self.refill();
            return false;
        }
        let accepted = poll_fn(|cx| match poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(accepted.ok()),
            // Nothing waits any more.
            Poll::Pending => Poll::Ready(None),
        });
        let accepted = accepted.await;
        let has_shed = accepted.is_some();
        accepted.into_iter().for_each(refuse);
        self.refill();
        has_shed
    }

    /// Reserves descriptors, as many as there are.
    fn refill(&mut self) {
        while self.reserve.len() < RESERVED
            && let Ok(file) = File::open("/dev/null")
        {
            self.reserve.push(file);
        }
    }

    async fn pause(&self) {
        self.timer.sleep_until(machine_ns() + PAUSE.as_nanos() as u64).await;
    }

    fn report(&mut self, text: &str) {
        if !std::mem::replace(&mut self.short, true) {
            (self.notice)(text);
        }
    }
}

/// The resource that is short when `accept` fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shortage {
    /// Nothing: the socket cannot accept connections, ever.
    None,
    /// One connection, whose peer or network has failed.
    Connection,
    /// Descriptors, of the process or of the machine.
    Descriptors,
    /// Memory, or something else that may come back.
    Other,
}

impl Shortage {
    fn from_error(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT | Errno::OPNOTSUPP) => Self::None,
            Some(Errno::MFILE | Errno::NFILE) => Self::Descriptors,
            // accept(2) passes the errors of the new connection on, and wants the call to be repeated.
            Some(
                Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::CONNRESET
                | Errno::TIMEDOUT,
            ) => Self::Connection,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::VecDeque};

    use tokio::runtime::Runtime;

    use super::*;

    /// Plays the results of `accept`, and returns what was let in, what was refused, and the error at the end.
    fn play(places: usize, results: Vec<Result<u32, Errno>>) -> (Vec<u32>, Vec<u32>, Option<Errno>) {
        let mut results: VecDeque<_> = results.into();
        let refused = RefCell::new(Vec::new());
        let mut taken = Vec::new();
        let ended = Runtime::new().unwrap().block_on(async {
            let mut door = Door::new(places, Timer::start().unwrap());
            loop {
                let accept = |_: &mut Context<'_>| match results.pop_front() {
                    Some(result) => Poll::Ready(result.map_err(io::Error::from)),
                    None => Poll::Ready(Err(Errno::BADF.into())),
                };
                match door.next(accept, |connection| refused.borrow_mut().push(connection)).await {
                    Ok(accepted) => taken.push(accepted),
                    Err(error) => return Errno::from_io_error(&error),
                }
            }
        });
        (taken.iter().map(|(connection, _)| *connection).collect(), refused.into_inner(), ended)
    }

    #[test]
    fn errors_that_can_pass_are_waited_for() {
        let passing = [Errno::CONNABORTED, Errno::NOBUFS, Errno::NOMEM, Errno::PERM, Errno::PROTO, Errno::INTR];
        for error in passing {
            let (taken, refused, ended) = play(8, vec![Ok(1), Err(error), Err(error), Err(error), Ok(2), Ok(3)]);
            assert_eq!((taken, refused, ended), (vec![1, 2, 3], vec![], Some(Errno::BADF)), "{error}");
        }
    }

    #[test]
    fn without_descriptors_the_newest_is_closed() {
        let (taken, refused, _) = play(8, vec![Ok(1), Err(Errno::MFILE), Ok(2), Err(Errno::NFILE), Ok(3), Ok(4)]);
        assert_eq!((taken, refused), (vec![1, 4], vec![2, 3]));
    }

    #[test]
    fn without_places_the_newest_is_closed_and_a_place_is_free_after_its_connection() {
        let (taken, refused, _) = play(2, vec![Ok(1), Ok(2), Ok(3), Ok(4)]);
        assert_eq!((taken, refused), (vec![1, 2], vec![3, 4]));
        let door = Door::new(1, Timer::start().unwrap());
        let place = door.place();
        assert!(place.is_some() && door.place().is_none());
        drop(place);
        assert!(door.place().is_some());
    }
}
