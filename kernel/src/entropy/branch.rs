//! Branches of a run: virtual times from which everything random is drawn again, with other values.
//!
//! A run and its branch are equal, event by event, up to the time of the branch. So a search can go back to a moment that was hard to reach,
//! and see what else may happen from there.

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomData,
    str::FromStr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{settings::duration, time::Instant};

/// A time of a run from which every random stream, and the faults that `[nemesis]` draws and that begin later, are drawn again, with other values.
///
/// As text it is `TIME:SALT`, such as `1.25s:77`.
///
/// ```
/// use std::time::Duration;
/// use kernel::entropy::branch::Branch;
///
/// let branch: Branch = "1.25s:77".parse()?;
/// assert_eq!(branch, Branch { at: Duration::from_millis(1_250), salt: 77 });
/// assert_eq!(branch.to_string(), "1.25s:77");
/// assert!("1.25s:0".parse::<Branch>().is_err(), "without a salt nothing would change");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Branch {
    /// The time since the run began, in whole microseconds. What happens at this time or later is drawn with the salt.
    pub at: Duration,
    /// The number that the streams are drawn with, besides the seed; not 0.
    pub salt: u64,
}

impl Branch {
    /// Returns what is added to the seed in every stream. It differs in many bits from that of other salts, and from small seeds.
    fn mixed(self) -> u64 {
        mixed(self.salt)
    }

    /// Returns the seed that the faults behind the branch are drawn with, in a run with this seed.
    pub(crate) fn seed_of_faults(self, seed: u64) -> u64 {
        seed ^ self.mixed()
    }
}

/// The finalizer of SplitMix64, a permutation of 64-bit numbers in which only 0 is kept.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", duration::text(self.at), self.salt)
    }
}

impl FromStr for Branch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no branch; write a time and a salt from 1, such as 1.25s:77");
        let (at, salt) = text.split_once(':').ok_or_else(wrong)?;
        let at = duration::parse(at).map_err(|_| wrong())?;
        let salt = salt.parse().ok().filter(|salt| *salt > 0).ok_or_else(wrong)?;
        if !at.subsec_nanos().is_multiple_of(1_000) {
            return Err(format!(
                "the branch `{text}` is between two microseconds, which the records of a run cannot tell apart"
            ));
        }
        Ok(Self { at, salt })
    }
}

impl From<Branch> for String {
    fn from(branch: Branch) -> Self {
        branch.to_string()
    }
}

impl TryFrom<String> for Branch {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

thread_local! {
    /// The salt that the seed is combined with in every stream of this thread; 0 changes nothing.
    static SALT: Cell<u64> = const { Cell::new(0) };
    /// The time of the next branch, in nanoseconds, so that a clock that moves has one number to look at.
    static NEXT: Cell<u64> = const { Cell::new(u64::MAX) };
    /// All branches of the run, in the order of time.
    static BRANCHES: RefCell<Vec<Branch>> = const { RefCell::new(Vec::new()) };
}

/// The branches of the one run that this process plays in real time, on all of its threads, in the order of time.
static OF_PROCESS: OnceLock<Vec<Branch>> = OnceLock::new();

/// The salt that the seed is combined with in every stream of such a process; 0 changes nothing.
static SALT_OF_PROCESS: AtomicU64 = AtomicU64::new(0);

/// Begins the run of a process that plays one run in real time. What is drawn ahead for a time of the run is drawn by these branches; other
/// draws are as before until [`pass_in_process`]. Only the first call has an effect.
///
/// A thread that simulates a run, with [`Branching`], has the branches of its run alone, if there are any.
pub fn begin_in_process(branches: &[Branch]) {
    let _ = OF_PROCESS.set(sorted(branches));
}

/// Notes that the run of this process has come to `branch`: from now on everything is drawn with its salt.
pub fn pass_in_process(branch: Branch) {
    SALT_OF_PROCESS.store(branch.mixed(), Ordering::Relaxed);
}

/// Returns the branches in the order of time. Of several at one time the last one counts.
pub fn sorted(branches: &[Branch]) -> Vec<Branch> {
    let mut branches = branches.to_vec();
    branches.sort_by_key(|branch| branch.at);
    branches
}

/// Returns what the seed is combined with at this time of the run of this thread, or of this process.
pub(super) fn current_salt() -> u64 {
    match SALT.get() {
        0 => SALT_OF_PROCESS.load(Ordering::Relaxed),
        salt => salt,
    }
}

/// Returns what the seed is combined with at time `at` of the run of this thread, or of this process.
pub(super) fn salt_at(at: Instant) -> u64 {
    let of_thread = BRANCHES.with_borrow(|branches| last(branches, at));
    of_thread.or_else(|| last(OF_PROCESS.get()?, at)).map_or(0, Branch::mixed)
}

/// Returns the last of `branches` by `at`.
fn last(branches: &[Branch], at: Instant) -> Option<Branch> {
    branches[..branches.partition_point(|branch| Instant::START + branch.at <= at)].last().copied()
}

/// The branches of the run on the present thread, until it is dropped. Threads that run no simulation have none.
#[derive(Debug)]
pub struct Branching(PhantomData<*const ()>);

impl Branching {
    /// Begins a run with these branches at its start.
    pub fn begin(branches: &[Branch]) -> Self {
        let branches = sorted(branches);
        SALT.set(0);
        set_next(&branches, 0);
        BRANCHES.set(branches);
        Self(PhantomData)
    }
}

impl Drop for Branching {
    fn drop(&mut self) {
        SALT.set(0);
        NEXT.set(u64::MAX);
        BRANCHES.take();
    }
}

/// Notes the time of the branch at this place, the first that has not come yet.
fn set_next(branches: &[Branch], place: usize) {
    NEXT.set(branches.get(place).map_or(u64::MAX, |branch| (Instant::START + branch.at).as_nanos()));
}

/// Moves the run of this thread to `now`. Returns what the seed is combined with from now on, if it has passed a branch.
pub fn advance(now: Instant) -> Option<u64> {
    if now.as_nanos() < NEXT.get() {
        return None;
    }
    BRANCHES.with_borrow(|branches| {
        set_next(branches, branches.partition_point(|branch| Instant::START + branch.at <= now));
        let salt = last(branches, now)?.mixed();
        SALT.set(salt);
        Some(salt)
    })
}
