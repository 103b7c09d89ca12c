//! Tests of the traffic that a peer may send, and of floods that the budget stops.

use super::{
    balance::{FIRST, LENT_FIRST},
    frames::{CONTINUATION, DATA, Frames, HEADERS, PREFACE_BYTES},
    *,
};

/// A frame with a payload of zeros.
fn frame(kind: u8, length: usize) -> Vec<u8> {
    let [.., high, middle, low] = (length as u32).to_be_bytes();
    [&[high, middle, low, kind, 0, 0, 0, 0, 1][..], &vec![0; length]].concat()
}

const PING: u8 = 6;
const RST_STREAM: u8 = 3;

/// A connection that has said hello. Time passes as the test says.
struct Peer {
    budget: Arc<Budget>,
    now: Instant,
}

impl Peer {
    fn new(growth: &Arc<Growth>) -> Self {
        let budget = Budget::new(growth.clone(), Instant::START);
        budget.change(|balance| balance.pay(&[0; PREFACE_BYTES]));
        Self { budget, now: Instant::START }
    }

    fn sends(&self, bytes: &[u8]) {
        self.budget.change(|balance| balance.pay(bytes));
    }

    /// Sends the frame for as long as the server reads, for `seconds`, and returns how often it was read.
    fn floods(&mut self, frame: &[u8], seconds: u64) -> i64 {
        let end = self.now + Duration::from_secs(seconds);
        let cx = Context::from_waker(Waker::noop());
        let mut count = 0;
        while self.now < end {
            match self.budget.bytes_to_read(self.now, &cx) {
                Ok(_) => {
                    self.sends(frame);
                    count += 1;
                }
                Err(until) => self.now = until,
            }
        }
        count
    }

    /// Returns true if the server reads at this moment.
    fn is_read(&self) -> bool {
        self.budget.bytes_to_read(self.now, &Context::from_waker(Waker::noop())).is_ok()
    }

    /// Sends a request with a message in DATA frames of `frames` bytes, whose call consumes them at once.
    fn calls(&self, frames: &[usize]) {
        self.sends(&self::frame(HEADERS, 150));
        let mut loan = self.budget.lend();
        for length in frames {
            self.sends(&self::frame(DATA, *length));
            loan.arrived(*length);
            assert!(self.is_read(), "a good client is not slowed down");
        }
        loan.earn(frames.iter().sum());
    }
}

#[test]
fn the_cost_of_bytes_does_not_depend_on_how_they_are_cut() {
    let bytes = [vec![7; PREFACE_BYTES], frame(4, 36), frame(HEADERS, 200), frame(DATA, 3), frame(DATA, 5_000)];
    let bytes = [bytes.concat(), frame(PING, 8), frame(CONTINUATION, 0), frame(DATA, 0)].concat();
    let whole = Frames::new().cost(&bytes);
    assert_eq!(whole, 24 + 45 + 209 + 12 + (9 + 9) + 17 + 9 + 9);
    for cut in 1..40 {
        let mut frames = Frames::new();
        let cost: i64 = bytes.chunks(cut).map(|chunk| frames.cost(chunk)).sum();
        assert_eq!((cost, frames.block_mean()), (whole, 218), "{cut}");
    }
}

#[test]
fn a_flood_is_read_as_fast_as_the_budget_grows() {
    let growth = Arc::default();
    let mut alone = Peer::new(&growth);
    let ping = frame(PING, 8);
    let cost = ping.len() as i64;
    let read = alone.floods(&ping, 100);
    assert!((100 * GROWTH_MAX / cost..101 * GROWTH_MAX / cost + FIRST).contains(&read), "{read}");
    // Beside a thousand others it gets the least.
    growth.paused.store(1_000, Ordering::Relaxed);
    let read = Peer::new(&growth).floods(&ping, 100);
    assert!((100 * GROWTH_MIN / cost..=(101 * GROWTH_MIN + FIRST) / cost + 1).contains(&read), "{read}");
}

#[test]
fn connections_without_budget_share_what_it_grows_by() {
    let growth = Arc::default();
    let mut peers: Vec<_> = (0..64).map(|_| Peer::new(&growth)).collect();
    let ping = frame(PING, 8);
    // All of them are paused before time passes.
    for peer in &peers {
        while peer.is_read() {
            peer.sends(&ping);
        }
    }
    let read: i64 = peers.iter_mut().map(|peer| peer.floods(&ping, 10)).sum();
    assert!(read * (ping.len() as i64) < 11 * GROWTH * 3 / 2, "{read}");
    drop(peers);
    assert_eq!(growth.paused.load(Ordering::Relaxed), 0);
}

#[test]
fn requests_that_are_reset_at_once_earn_nothing() {
    let growth = Arc::default();
    let mut peer = Peer::new(&growth);
    let opened = frame(HEADERS, 40);
    let reset = frame(RST_STREAM, 4);
    let cost = (opened.len() + reset.len()) as i64;
    let cx = Context::from_waker(Waker::noop());
    let mut count = 0;
    while peer.now < Instant::START + Duration::from_secs(10) {
        match peer.budget.bytes_to_read(peer.now, &cx) {
            Ok(_) => {
                peer.sends(&opened);
                let loan = peer.budget.lend();
                peer.sends(&reset);
                drop(loan);
                count += 1;
            }
            Err(until) => peer.now = until,
        }
    }
    assert!(count * cost <= 11 * GROWTH_MAX + FIRST, "{count}");
}

#[test]
fn new_connections_are_accepted_in_a_burst_and_then_at_a_rate() {
    let growth: Arc<Growth> = Arc::default();
    let accepted = |now| {
        let mut arrivals = lock(&growth.arrivals);
        std::iter::from_fn(|| arrivals.take(now).ok()).count()
    };
    let second = |count| Instant::START + Duration::from_secs(count);
    assert_eq!(accepted(second(1_000)), ARRIVALS as usize);
    assert_eq!(accepted(second(1_000)), 0);
    assert_eq!(accepted(second(1_001)), ARRIVALS_PER_S as usize);
    assert_eq!(accepted(second(2_000)), ARRIVALS as usize);
    // Those that call count once, and not again with the next request.
    let peer = Peer::new(&growth);
    (0..3).for_each(|_| peer.calls(&[200]));
    assert_eq!(accepted(second(2_000)), 1);
}

#[test]
fn requests_that_never_end_are_lent_little() {
    let peer = Peer::new(&Arc::default());
    let opened = frame(HEADERS, 91);
    let mut loans = Vec::new();
    while peer.is_read() {
        peer.sends(&opened);
        loans.push(peer.budget.lend());
    }
    let most = (FIRST + LENT_FIRST) / opened.len() as i64;
    assert!((most - 1..=most + 1).contains(&(loans.len() as i64)), "{} of {most}", loans.len());
}

#[test]
fn calls_and_uploads_of_any_size_never_wait() {
    let growth = Arc::default();
    let peer = Peer::new(&growth);
    // No time passes, so that nothing grows.
    for _ in 0..10_000 {
        peer.calls(&[200]);
    }
    // 16 MiB in the frames of our client, and in the default ones of others.
    for _ in 0..100 {
        peer.calls(&[1024 * 1024; 16]);
        peer.calls(&[16 * 1024; 1024]);
    }
}

#[test]
fn a_thousand_calls_side_by_side_do_not_wait() {
    let peer = Peer::new(&Arc::default());
    (0..200).for_each(|_| peer.calls(&[200]));
    let mut loans = Vec::new();
    for _ in 0..1024 {
        peer.sends(&frame(HEADERS, 60));
        loans.push(peer.budget.lend());
        assert!(peer.is_read());
    }
    for loan in &mut loans {
        peer.sends(&frame(DATA, 197));
        loan.earn(197);
        assert!(peer.is_read());
    }
}

#[test]
fn thousands_of_cancelled_calls_a_second_do_not_wait() {
    let peer = Peer::new(&Arc::default());
    for _ in 0..10_000 {
        peer.calls(&[200]);
        peer.sends(&frame(RST_STREAM, 4));
        assert!(peer.is_read());
    }
}

#[test]
fn an_upload_that_is_cancelled_halfway_costs_little() {
    let mut peer = Peer::new(&Arc::default());
    // Five of 16 MiB a second that are received, and as many that are not.
    for _ in 0..100 {
        peer.now += Duration::from_millis(200);
        assert!(peer.is_read());
        peer.calls(&[1024 * 1024; 16]);
        peer.sends(&frame(HEADERS, 100));
        let loan = peer.budget.lend();
        loan.arrived(1024 * 1024);
        drop(loan);
        // What was under way to a call that is gone.
        (0..4).for_each(|_| peer.sends(&frame(DATA, 1024 * 1024)));
        assert!(peer.is_read());
    }
}

#[test]
fn small_data_frames_of_a_request_that_never_ends_are_a_flood() {
    let growth = Arc::default();
    let mut peer = Peer::new(&growth);
    peer.sends(&frame(HEADERS, 100));
    let _loan = peer.budget.lend();
    let read = peer.floods(&frame(DATA, 1), 10);
    assert!(read * 10 <= 11 * GROWTH_MAX + FIRST, "{read}");
}

#[test]
fn answers_earn_the_acknowledgements_of_them() {
    let peer = Peer::new(&Arc::default());
    for _ in 0..10_000 {
        peer.budget.change(|balance| balance.wrote(16 * 1024));
        [4, 4, 8].iter().for_each(|length| peer.sends(&frame(8, *length)));
        assert!(peer.is_read());
    }
}

#[test]
fn a_reader_without_budget_is_woken_when_something_is_earned() {
    use std::{sync::atomic::AtomicUsize, task::Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let growth: Arc<Growth> = Arc::default();
    let peer = Peer::new(&growth);
    let mut loan = peer.budget.lend();
    while peer.is_read() {
        peer.sends(&frame(PING, 8));
    }
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    assert!(peer.budget.bytes_to_read(peer.now, &Context::from_waker(&waker)).is_err());
    assert_eq!(growth.paused.load(Ordering::Relaxed), 1);
    loan.earn(0);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(growth.paused.load(Ordering::Relaxed), 0);
    assert!(peer.is_read());
}
