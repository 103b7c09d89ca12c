//! Shards of a sweep: the part of the seeds that one of several machines runs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Seeds;

/// Every `of`-th seed, from the `number`-th. All variants of a seed are in the same shard.
///
/// ```
/// use kernel::experiment::sweep::{Seeds, Shard};
///
/// let seeds: Seeds = "0..10".parse().expect("a range");
/// let shard: Shard = "3/4".parse().expect("a shard");
/// assert_eq!(shard.count(seeds), 2);
/// assert!(shard.contains(2) && shard.contains(6));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Number of this shard, from 1 to `of`.
    pub number: u64,
    /// Number of all shards; at least 1.
    pub of: u64,
}

/// Reason why a text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// The text is not two whole numbers with `/` between them, or the second one is 0.
    #[error("a shard is its number and how many there are, such as 3/16")]
    NotAShard,
    /// The number is 0, or above the number of shards.
    #[error("there is no shard {number} of {of}; they go from 1/{of} to {of}/{of}{}", if *number == 0 { ": an index from 0 is written index:0/16" } else { "" })]
    OutOfRange {
        /// Number of the shard as given.
        number: u64,
        /// Number of all shards as given.
        of: u64,
    },
}

impl Shard {
    /// The only shard of one, which has all seeds.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Returns true if the seed at `index` of the range, from 0, is in this shard.
    pub fn contains(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// Returns the number of `seeds` that are in this shard.
    pub fn count(self, seeds: Seeds) -> u64 {
        // Every `of`-th from the `number`-th.
        seeds.count().saturating_sub(self.number - 1).div_ceil(self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (number, of) = text.split_once('/').ok_or(ShardError::NotAShard)?;
        let of = whole_number(of)?;
        // A manifest of Kubernetes can name an index, and cannot add one to it.
        let number = match number.trim().strip_prefix("index:") {
            Some(index) => whole_number(index)?.saturating_add(1),
            None => whole_number(number)?,
        };
        if of == 0 {
            return Err(ShardError::NotAShard);
        }
        // `0/16` is a text of the right form by someone who counts from 0, so it gets another message than `x/16`.
        if number == 0 || number > of {
            return Err(ShardError::OutOfRange { number, of });
        }
        Ok(Self { number, of })
    }
}

fn whole_number(text: &str) -> Result<u64, ShardError> {
    text.trim().parse().map_err(|_| ShardError::NotAShard)
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        text.parse::<Shard>().unwrap_err().to_string()
    }

    #[test]
    fn every_seed_is_in_exactly_one_shard() {
        for of in 1..20 {
            for index in 0..100 {
                let shards = (1..=of).filter(|&number| Shard { number, of }.contains(index)).count();
                assert_eq!(shards, 1, "seed {index} of {of} shards");
            }
        }
    }

    #[test]
    fn the_count_of_a_shard_is_the_number_of_seeds_that_it_contains() {
        let seeds = Seeds { start: 5, end: 15 };
        for of in 1..=12 {
            for shard in (1..=of).map(|number| Shard { number, of }) {
                let contained = (0..seeds.count()).filter(|&index| shard.contains(index)).count();
                assert_eq!(shard.count(seeds), contained as u64, "{shard}");
            }
        }
    }

    #[test]
    fn shards_are_numbered_from_one() {
        assert_eq!("16/16".parse(), Ok(Shard { number: 16, of: 16 }));
        assert_eq!("index:0/16".parse(), Ok(Shard { number: 1, of: 16 }));
        assert_eq!(message("index:16/16"), "there is no shard 17 of 16; they go from 1/16 to 16/16");
        assert_eq!(message("17/16"), "there is no shard 17 of 16; they go from 1/16 to 16/16");
        assert_eq!(
            message("0/16"),
            "there is no shard 0 of 16; they go from 1/16 to 16/16: an index from 0 is written index:0/16"
        );
        for text in ["", "3", "3/", "/16", "3/0", "-1/4", "3 of 16", "index:/4", "index:-1/4"] {
            assert_eq!(text.parse::<Shard>(), Err(ShardError::NotAShard), "{text}");
        }
    }
}
