//! Random numbers and permutations, with which scenarios are drawn.

use crate::entropy::{Entropy, unit};

/// Random numbers of one purpose. They do not depend on what is drawn for other purposes.
///
/// ```
/// use kernel::dice::Dice;
///
/// let draw = || Dice::new(7, "example", &[1]).between(2.0, 3.0);
/// assert!(draw() == draw() && (2.0..3.0).contains(&draw()));
/// ```
pub struct Dice(Box<dyn FnMut() -> f64>);

impl std::fmt::Debug for Dice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dice").finish_non_exhaustive()
    }
}

impl Dice {
    /// Returns the numbers of `seed` for the purpose that `stream` names and the object that `numbers` name.
    pub fn new(seed: u64, stream: &str, numbers: &[u64]) -> Self {
        let mut rng = Entropy::new(seed).stream_of(stream, numbers);
        Self(Box::new(move || unit(&mut rng)))
    }

    /// Draws a number from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.0)()
    }

    /// Draws a number from `low` to `high`, each magnitude as likely. Both are over 0.
    pub fn spread(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf((self.0)())
    }

    /// Returns true with this probability.
    pub fn odds(&mut self, probability: f64) -> bool {
        (self.0)() < probability
    }

    /// Draws a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.0)() * bound as f64) as usize
    }

    /// Draws one of `values`, which is not empty.
    pub fn any<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Draws an order of the numbers below `count` (Fisher and Yates).
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// Rounds a positive number to two significant digits.
pub fn two_digits(value: f64) -> f64 {
    let scale = 10.0_f64.powi(value.log10().floor() as i32 - 1);
    let digits = (value / scale).round();
    // The reciprocal of a scale below 1 is a whole number, so that 0.15 is written as 0.15.
    if scale < 1.0 { digits / (1.0 / scale).round() } else { digits * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_number_once_and_is_the_same_again() {
        let order = || Dice::new(1, "test", &[2]).order(12);
        assert_eq!(order(), order());
        assert_ne!(order(), Dice::new(1, "test", &[3]).order(12));
        let mut sorted = order();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_are_rounded_to_two_digits() {
        let rounded = [1.0, 1.26, 12.6, 316.2, 999.0, 0.0123, 0.1549].map(two_digits);
        assert_eq!(rounded, [1.0, 1.3, 13.0, 320.0, 1_000.0, 0.012, 0.15]);
    }
}
