//! The queue in front of the workers of a replica.
//!
//! Requests are taken in order of arrival. On a server that limits its peers, each peer has a queue of its own, and they take
//! turns: a peer that sends a thousand requests at once waits for them itself, and not the others.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::mpsc;

/// The number of the peer that a request is from, as an extension of the request. Without limits on peers it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerNumber(pub(super) u64);

/// An item that waits, with the number of its peer.
pub(super) type Waiting<T> = (Option<PeerNumber>, T);

/// The end of the queue from which workers take.
pub(super) struct FairReceiver<T> {
    arriving: mpsc::UnboundedReceiver<Waiting<T>>,
    turns: Turns<T>,
}

impl<T> FairReceiver<T> {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Waiting<T>>) -> Self {
        Self { arriving, turns: Turns { waiting: BTreeMap::new(), last: PeerNumber(0) } }
    }

    /// Waits for the next work of an adaptive queue, which is the newest of its peer if `takes_newest` says so then. `None` if no more can
    /// come. If the future is dropped, nothing is lost.
    pub(super) async fn next_by(&mut self, takes_newest: impl Fn() -> bool) -> Option<T> {
        if self.turns.waiting.is_empty() {
            let (peer, work) = self.arriving.recv().await?;
            self.turns.add(peer.unwrap_or(PeerNumber(0)), work);
        }
        while let Ok((peer, work)) = self.arriving.try_recv() {
            self.turns.add(peer.unwrap_or(PeerNumber(0)), work);
        }
        self.turns.next(takes_newest())
    }

    /// Waits for the next work; `None` if no more can come. If the future is dropped, nothing is lost.
    pub(super) async fn next(&mut self) -> Option<T> {
        if self.turns.waiting.is_empty() {
            match self.arriving.recv().await? {
                (None, work) => return Some(work),
                (Some(peer), work) => self.turns.add(peer, work),
            }
        }
        // All peers or none have a number, so that nothing without one arrives here.
        while let Ok((peer, work)) = self.arriving.try_recv() {
            self.turns.add(peer.unwrap_or(PeerNumber(0)), work);
        }
        self.turns.next(false)
    }
}

/// Work by peer, which take turns.
struct Turns<T> {
    /// The work of each peer in order of arrival; of none that has no work.
    waiting: BTreeMap<PeerNumber, VecDeque<T>>,
    /// The peer that had its turn last.
    last: PeerNumber,
}

impl<T> Turns<T> {
    fn add(&mut self, peer: PeerNumber, work: T) {
        self.waiting.entry(peer).or_default().push_back(work);
    }

    /// Takes the first work of the next peer, or its newest.
    fn next(&mut self, newest: bool) -> Option<T> {
        let behind = self.waiting.range(PeerNumber(self.last.0.saturating_add(1))..).next();
        self.last = *behind.or_else(|| self.waiting.first_key_value())?.0;
        let own = self.waiting.get_mut(&self.last)?;
        let work = if newest { own.pop_back() } else { own.pop_front() };
        if own.is_empty() {
            self.waiting.remove(&self.last);
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn queue(work: &[(Option<u64>, u32)]) -> (mpsc::UnboundedSender<Waiting<u32>>, FairReceiver<u32>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        work.iter().for_each(|(peer, work)| sender.send((peer.map(PeerNumber), *work)).unwrap());
        (sender, FairReceiver::new(receiver))
    }

    fn taken(receiver: &mut FairReceiver<u32>) -> Vec<u32> {
        std::iter::from_fn(|| receiver.next().now_or_never().flatten()).collect()
    }

    #[test]
    fn peers_take_turns_each_in_order_of_arrival() {
        let work = [(Some(7), 70), (Some(7), 71), (Some(7), 72), (Some(3), 30), (Some(9), 90), (Some(9), 91)];
        let (sender, mut receiver) = queue(&work);
        assert_eq!(receiver.next().now_or_never(), Some(Some(30)));
        // One that comes late waits for one round at most.
        sender.send((Some(PeerNumber(8)), 80)).unwrap();
        assert_eq!(taken(&mut receiver), [70, 80, 90, 71, 91, 72]);
    }

    #[test]
    fn the_newest_work_comes_first_if_it_is_asked_for() {
        let (_sender, mut receiver) = queue(&[(None, 1), (None, 2), (None, 3)]);
        let next =
            |receiver: &mut FairReceiver<u32>, newest: bool| receiver.next_by(|| newest).now_or_never().flatten();
        assert_eq!([true, false, true].map(|newest| next(&mut receiver, newest)), [Some(3), Some(1), Some(2)]);
    }

    #[test]
    fn without_peers_the_order_is_that_of_arrival() {
        let (sender, mut receiver) = queue(&[(None, 3), (None, 1), (None, 2)]);
        assert_eq!(taken(&mut receiver), [3, 1, 2]);
        drop(sender);
        assert_eq!(receiver.next().now_or_never(), Some(None));
    }
}
