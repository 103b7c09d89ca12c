//! The operating system's clock, randomness, waits, threads and sockets, replaced on simulation threads.
//!
//! Some dependencies ask the operating system directly, without the World: h2 expires reset streams by
//! `std::time::Instant`, hyper dates replies, `RandomState` seeds hash maps, tokio seeds its `select!`. This folder
//! defines the C functions that these calls end up in. On a thread that runs a simulation the functions answer from the
//! virtual clock and from the simulation's seed; on any other thread they make the system call.
//!
//! | module | functions |
//! | --- | --- |
//! | this one | `clock_gettime`, `getrandom` |
//! | `epoll` | `epoll_wait`, by which the runtime of a [process](crate::process) says until when it has nothing to do |
//! | `foreign` | `pthread_create` and `socket`, which a simulation refuses |
//! | `waits` | `nanosleep`, `clock_nanosleep` and `getaddrinfo`, which a simulation refuses |
//! | `original` | libc's functions, for all other threads |
//!
//! This is the only unsafe code of the workspace.

#![allow(unsafe_code)]

mod epoll;
mod foreign;
mod original;
mod waits;

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use kernel::{
    entropy::branch::{self, Branch, Branching},
    time::Instant,
};
use original::Original;

use crate::{planted::planted, trace, virtual_time};

/// The wall-clock time at which every simulation begins, in Unix time: 2020-01-01T00:00:00Z.
pub(crate) const EPOCH_SECONDS: u64 = 1_577_836_800;

/// The monotonic clock's value when a simulation begins. It is large, so that subtracting from an `Instant` cannot fail.
const UPTIME_SECONDS: u64 = 1_000_000;

/// Seconds that are added to the host's wall-clock time, on threads that run no simulation.
static DATE_SHIFT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// State of the generator behind `getrandom`.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Makes the present thread see the virtual clock and the simulation's randomness, until it is dropped.
pub(crate) struct Interposed {
    _branching: Branching,
    _thread: PhantomData<*const ()>,
}

impl Interposed {
    /// Begins a run with this seed and these branches, in the order of time.
    pub(crate) fn enter(seed: u64, branches: &[Branch]) -> Self {
        virtual_time::begin();
        RANDOM.set(seed);
        Self { _branching: Branching::begin(branches), _thread: PhantomData }
    }
}

impl Drop for Interposed {
    fn drop(&mut self) {
        virtual_time::end();
    }
}

/// Draws everything random of the present thread again if its run has come to a branch at `now`.
pub(crate) fn pass_branches(now: Instant) {
    if let Some(salt) = branch::advance(now) {
        RANDOM.set(RANDOM.get() ^ salt);
    }
}

/// Moves the date that this process sees by `by` into the future. Simulations must not be affected by it, which is what
/// `sim verify` checks.
pub fn shift_date(by: Duration) {
    DATE_SHIFT.store(by.as_secs(), Relaxed);
}

/// Returns the next number of SplitMix64. Its callers, such as hash maps, need distinct values rather than good ones.
fn next_random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// Returns libc's `clock_gettime`, which usually answers without entering the kernel, as the bare system call does not.
fn real_clock_gettime() -> ClockGettime {
    static ORIGINAL: Original = Original::named(c"clock_gettime");
    let found = ORIGINAL.address();
    if found.is_null() {
        return by_system_call;
    }
    // SAFETY: the address is that of libc's function, which has this type.
    unsafe { std::mem::transmute::<*mut libc::c_void, ClockGettime>(found) }
}

/// Makes the system call. It is used when libc is linked statically and so has no second `clock_gettime`.
unsafe extern "C" fn by_system_call(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the arguments are the caller's, for the system call they were meant for.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as libc::c_int }
}

/// Replaces libc's `clock_gettime`.
///
/// # Safety
///
/// `time` points to a writable `timespec`, as for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let is_date = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE);
    let virtual_nanos = virtual_time::nanos();
    let leaks = (is_date && planted!(Canary::WallClock)) || (!is_date && planted!(Canary::Monotonic));
    let Some(nanos) = virtual_nanos.filter(|_| !leaks) else {
        // SAFETY: the arguments are the caller's, for the function they were meant for.
        let result = unsafe { real_clock_gettime()(clock, time) };
        if is_date && result == 0 {
            // SAFETY: the caller passes a pointer that may be written, and has been.
            unsafe { (*time).tv_sec += DATE_SHIFT.load(Relaxed) as libc::time_t };
        }
        return result;
    };
    let offset = if is_date { EPOCH_SECONDS } else { UPTIME_SECONDS };
    let seconds = offset + nanos / 1_000_000_000;
    // SAFETY: the caller passes a pointer that may be written.
    unsafe { time.write(libc::timespec { tv_sec: seconds as _, tv_nsec: (nanos % 1_000_000_000) as _ }) };
    0
}

/// Replaces libc's `getrandom`.
///
/// # Safety
///
/// `buffer` points to `length` writable bytes, as for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> libc::ssize_t {
    let is_simulated = virtual_time::nanos().is_some();
    if !is_simulated || planted!(Canary::RandomState) || planted!(Canary::MapField) {
        // SAFETY: the arguments are the caller's, for the system call they were meant for.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as libc::ssize_t };
    }
    // A request for no bytes is how a library finds out once in a process whether the function is there: whichever simulation is first in
    // the process makes it, and it decides nothing.
    if length > 0 {
        trace::note(None, || format!("asks the operating system for {length} random bytes"));
    }
    for offset in 0..length {
        // SAFETY: `offset` is within the caller's `length` writable bytes.
        unsafe { buffer.cast::<u8>().add(offset).write(next_random() as u8) };
    }
    length as libc::ssize_t
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what is replaced is what is tested")]
mod tests {
    use std::{
        collections::hash_map::RandomState,
        hash::BuildHasher,
        thread,
        time::{Duration, SystemTime},
    };

    use kernel::time::Instant;

    use super::*;

    fn hash_on_a_thread(seed: Option<u64>) -> u64 {
        thread::spawn(move || {
            let _interposed = seed.map(|seed| Interposed::enter(seed, &[]));
            RandomState::new().hash_one("key")
        })
        .join()
        .unwrap()
    }

    #[test]
    fn default_hashers_follow_the_seed_on_simulation_threads_only() {
        assert_eq!(hash_on_a_thread(Some(1)), hash_on_a_thread(Some(1)));
        assert_ne!(hash_on_a_thread(Some(1)), hash_on_a_thread(Some(2)));
        assert_ne!(hash_on_a_thread(None), hash_on_a_thread(None));
    }

    #[test]
    fn the_clocks_of_a_simulation_thread_are_virtual() {
        thread::spawn(|| {
            let _interposed = Interposed::enter(1, &[]);
            let monotonic = std::time::Instant::now();
            let wall = SystemTime::now();
            assert_eq!(monotonic.elapsed(), Duration::ZERO);
            virtual_time::set(Instant::START + Duration::from_millis(1_500));
            assert_eq!(monotonic.elapsed(), Duration::from_millis(1_500));
            assert_eq!(wall.elapsed().unwrap(), Duration::from_millis(1_500));
            let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS);
            assert_eq!(wall, epoch);
        })
        .join()
        .unwrap();
        let outside = std::time::Instant::now();
        thread::sleep(Duration::from_millis(2));
        assert!(outside.elapsed() >= Duration::from_millis(2));
    }
}
