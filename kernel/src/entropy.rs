//! Random streams that depend only on the seed of a run, and on its branches if it has some.

pub mod branch;

use std::convert::Infallible;

use rand::{Rng, SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;

use branch::current_salt;

use crate::time::Instant;

/// The root seed of a run, from which every random stream is derived.
///
/// A stream depends only on the seed and on its own name and numbers, never on other draws. So two variants of a scenario,
/// or its simulated and its real run, have the same draws wherever they use the same stream.
///
/// ```
/// use kernel::entropy::{Entropy, unit};
///
/// let first = unit(&mut Entropy::new(7).stream("retry.backoff"));
/// let again = unit(&mut Entropy::new(7).stream("retry.backoff"));
/// let other = unit(&mut Entropy::new(7).stream("link.handshake"));
/// assert!(first == again && first != other);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entropy {
    seed: u64,
}

impl Entropy {
    /// Creates the randomness of the run with this `--seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Returns the root seed.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// Returns the randomness of the calls that the process called `name` makes: each process has draws of its own.
    #[cfg(feature = "service")]
    pub(crate) fn of_caller(self, name: &str) -> Self {
        Self { seed: self.seed ^ fnv1a(name.bytes()) }
    }

    /// Returns the stream called `name`.
    pub fn stream(self, name: &str) -> RandomStream {
        self.stream_of(name, &[])
    }

    /// Returns the stream called `name` for one of many objects, which `numbers` name: for example a request and an attempt.
    pub fn stream_of(self, name: &str, numbers: &[u64]) -> RandomStream {
        RandomStream::new(self.seed, current_salt(), fingerprint(name, numbers))
    }

    /// Returns the stream called `name` for an object that is asked about at several times of a run, whose answers must be the same: no branch
    /// changes it.
    pub(crate) fn constant_stream_of(self, name: &str, numbers: &[u64]) -> ChaCha8Rng {
        generator(self.seed, fingerprint(name, numbers))
    }

    /// Returns the stream called `name` for one of many objects, whose draws belong to times of the run.
    pub(crate) fn timed_stream_of(self, name: &str, numbers: &[u64]) -> TimedStream {
        let number = fingerprint(name, numbers);
        TimedStream { rng: generator(self.seed, number), seed: self.seed, salt: 0, number }
    }
}

/// A random stream each draw of which belongs to a time of the run. What is drawn depends on that time and not on when it is drawn, so it can be
/// drawn again when the run is over.
#[derive(Debug, Clone)]
pub(crate) struct TimedStream {
    rng: ChaCha8Rng,
    seed: u64,
    salt: u64,
    number: u64,
}

impl TimedStream {
    /// Returns the stream for draws that belong to time `at`: that of the last branch by then. Times must not decrease.
    pub(crate) fn at(&mut self, at: Instant) -> &mut ChaCha8Rng {
        let salt = branch::salt_at(at);
        if salt != self.salt {
            self.salt = salt;
            self.rng = generator(self.seed ^ salt, self.number);
        }
        &mut self.rng
    }
}

/// Returns the generator of one stream.
fn generator(seed: u64, number: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// A random stream of a run. Each draw after a [branch](branch::Branch) of the run comes from the stream of the same name under the salt of
/// the branch, from its beginning, so that a branch changes streams that were begun before it, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomStream {
    rng: ChaCha8Rng,
    seed: u64,
    /// The salt that `rng` was made with.
    salt: u64,
}

impl RandomStream {
    fn new(seed: u64, salt: u64, number: u64) -> Self {
        Self { rng: generator(seed ^ salt, number), seed, salt }
    }

    fn rng(&mut self) -> &mut ChaCha8Rng {
        let salt = current_salt();
        if salt != self.salt {
            *self = Self::new(self.seed, salt, self.rng.get_stream());
        }
        &mut self.rng
    }
}

impl TryRng for RandomStream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.rng().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.rng().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rng().fill_bytes(bytes);
        Ok(())
    }
}

/// Draws a number from `[0, 1)`, of 53 bits.
pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Computes the number of a stream.
fn fingerprint(name: &str, numbers: &[u64]) -> u64 {
    fnv1a(name.bytes().chain(numbers.iter().flat_map(|number| number.to_le_bytes())))
}

/// Computes the FNV-1a hash of `bytes`, which is short and the same on every machine. Different bytes may have the same.
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.into_iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        branch::{Branch, Branching},
        *,
    };

    fn draw(seed: u64, name: &str, numbers: &[u64]) -> u64 {
        Entropy::new(seed).stream_of(name, numbers).next_u64()
    }

    #[test]
    fn a_stream_depends_on_seed_name_and_numbers() {
        let first = draw(1, "jitter", &[7]);
        assert_eq!(first, draw(1, "jitter", &[7]));
        assert_ne!(first, draw(2, "jitter", &[7]));
        assert_ne!(first, draw(1, "jitters", &[7]));
        assert_ne!(first, draw(1, "jitter", &[8]));
    }

    /// A change of the generator would silently change every recorded run.
    #[test]
    fn the_first_draw_of_a_stream_is_pinned() {
        assert_eq!(Entropy::new(42).stream("arrivals").next_u64(), 14_071_806_660_196_103_904);
    }

    #[test]
    fn a_branch_changes_streams_that_were_begun_before_it_and_those_begun_after_it() {
        let draws = |branches: &[Branch]| {
            let _branching = Branching::begin(branches);
            let mut begun = Entropy::new(1).stream("arrivals");
            let before = begun.next_u64();
            branch::advance(Instant::START + Duration::from_secs(2));
            [before, begun.next_u64(), begun.next_u64(), draw(1, "jitter", &[])]
        };
        let at = |seconds, salt| Branch { at: Duration::from_secs(seconds), salt };
        let plain = draws(&[]);
        assert_eq!(draws(&[at(3, 7)]), plain, "a branch that the run does not come to");
        let branched = draws(&[at(1, 7)]);
        assert_eq!(branched[0], plain[0]);
        assert!((1..4).all(|index| branched[index] != plain[index]), "{branched:?}");
        assert_eq!(draws(&[at(1, 7)]), branched, "a recipe draws the same again");
        assert_eq!(draws(&[at(1, 9), at(1, 7)]), branched, "of two that are passed at once, the last one counts");
        assert_ne!(draws(&[at(1, 8)]), branched);
        assert_eq!(draws(&[]), plain, "a run does not change the next one of its thread");
    }
}
