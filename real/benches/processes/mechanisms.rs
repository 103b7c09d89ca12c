//! What makes the times of calls depend on the rate: processors that have slept, and processors that are busy.

use std::{
    hint::black_box,
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

#[expect(clippy::disallowed_types, reason = "a measurement of this machine")]
type Clock = std::time::Instant;

/// Pauses between two wake-ups, in microseconds, and the number of wake-ups.
const PAUSES: [(u64, usize); 7] =
    [(100, 600), (1_000, 600), (3_000, 300), (5_000, 300), (10_000, 200), (40_000, 60), (200_000, 30)];

/// Work of the threads that keep the processors busy: endless, or bursts of so many milliseconds with pauses of up to 2 ms.
const BURSTS: [Option<u64>; 3] = [None, Some(5), Some(1)];

/// Prints how late timers and wake-ups of threads are, by what the processors did before.
pub(crate) fn print() {
    println!("A timer, and the wake-up of a second thread by the first, after a pause of the whole machine:\n");
    println!("  {:>10}  {:>30}  {:>30}", "pause", "timer late, p10 p50 p90 us", "thread wakes, p10 p50 p90 us");
    for (pause, count) in PAUSES {
        let [late, wakes] = wake_ups(Duration::from_micros(pause), count);
        println!("  {:>7} us  {:>30}  {:>30}", pause, quantiles(&late), quantiles(&wakes));
    }
    println!("\nA timer while threads compute on all processors, of which there are {}:\n", processors());
    println!("  {:>10}  {:>20}  {:>36}", "threads", "each computes", "timer late, p10 p50 p90 p99 us");
    for burst in BURSTS {
        for threads in [processors(), 2 * processors(), 3 * processors()] {
            let late = among_others(threads, burst.map(Duration::from_millis));
            let each = burst.map_or("without a break".to_owned(), |ms| format!("{ms} ms at a time"));
            let p99 = late.last().copied().unwrap_or(0.0);
            println!("  {threads:>10}  {each:>20}  {:>36}", format!("{} {p99:.0}", quantiles(&late)));
        }
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// Measures `count` times after a `pause`: how late the sleep ends, and how long it takes until another thread runs that is woken then.
#[expect(clippy::disallowed_methods, reason = "a measurement of this machine")]
fn wake_ups(pause: Duration, count: usize) -> [Vec<f64>; 2] {
    let begun = Clock::now();
    let woken = Arc::new(AtomicU64::new(0));
    let (mut one, mut other) = UnixStream::pair().expect("a pair of sockets");
    let seen = woken.clone();
    let waiting = thread::spawn(move || {
        let mut byte = [0];
        while other.read_exact(&mut byte).is_ok() {
            seen.store(begun.elapsed().as_nanos() as u64, Relaxed);
            if other.write_all(&byte).is_err() {
                return;
            }
        }
    });
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..count {
        let due = Clock::now() + pause;
        thread::sleep(pause);
        times[0].push(micros(due.elapsed()));
        let wakes = begun.elapsed().as_nanos() as u64;
        one.write_all(&[1]).and_then(|()| one.read_exact(&mut [0])).expect("the other thread answers");
        times[1].push(woken.load(Relaxed).saturating_sub(wakes) as f64 / 1e3);
    }
    drop(one);
    waiting.join().expect("the thread ends with its socket");
    times.map(sorted)
}

/// Measures how late sleeps end while so many threads compute, without a break or for a `burst` at a time.
#[expect(clippy::disallowed_methods, reason = "a measurement of this machine")]
fn among_others(threads: usize, burst: Option<Duration>) -> Vec<f64> {
    let is_over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..threads as u64)
        .map(|number| {
            let is_over = is_over.clone();
            thread::spawn(move || {
                let mut random = number + 1;
                while !is_over.load(Relaxed) {
                    let begun = Clock::now();
                    while burst.is_none_or(|burst| begun.elapsed() < burst) && !is_over.load(Relaxed) {
                        black_box((0..100_u64).sum::<u64>());
                    }
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    thread::sleep(Duration::from_micros((random >> 33) % 2_000));
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    let late = (0..400_u64).map(|number| {
        let pause = Duration::from_micros(3_000 + number * 2_654_435_761 % 4_000);
        let due = Clock::now() + pause;
        thread::sleep(pause);
        micros(due.elapsed())
    });
    let late = sorted(late.collect());
    is_over.store(true, Relaxed);
    for other in others {
        other.join().expect("the thread ends when the flag is set");
    }
    late
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    // The slowest one of a hundred is the last that is printed.
    times.truncate(times.len() - times.len() / 100);
    times
}

/// The tenth, the median and the ninth tenth of sorted times.
fn quantiles(times: &[f64]) -> String {
    let at = |tenth: usize| times.get(times.len() * tenth / 10).copied().unwrap_or(0.0);
    format!("{:.0} {:.0} {:.0}", at(1), at(5), at(9))
}
