//! Random streams that depend only on the seed of a run.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

    /// Returns the stream called `name`.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        self.stream_of(name, &[])
    }

    /// Returns the stream called `name` for one of many objects, which `numbers` name: for example a request and an attempt.
    pub fn stream_of(self, name: &str, numbers: &[u64]) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(fingerprint(name, numbers));
        rng
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
    use super::*;

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
}
