//! A part of many runs, for one machine of several.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Seeds;

/// Every `of`-th seed, from the `number`-th. All variants of a seed are in the same shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub number: u64,
    pub of: u64,
}

/// Why a text is no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    #[error("a shard is its number and how many there are, such as 3/16")]
    NotAShard,
    #[error("there is no shard {number} of {of}; they go from 1/{of} to {of}/{of}{}", if *number == 0 { ": to an index from 0 add one" } else { "" })]
    OutOfRange { number: u64, of: u64 },
}

impl Shard {
    /// All there is.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether the `index`-th seed, from 0, is in it.
    pub fn holds(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// How many of `seeds` are in it.
    pub fn count(self, seeds: Seeds) -> u64 {
        // Every `of`-th from the `number`-th.
        seeds.count().saturating_sub(self.number - 1).div_ceil(self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (number, of) = text.split_once('/').ok_or(ShardError::NotAShard)?;
        let parse = |text: &str| text.trim().parse::<u64>().map_err(|_| ShardError::NotAShard);
        match (parse(number)?, parse(of)?) {
            (_, 0) => Err(ShardError::NotAShard),
            (number, of) if number == 0 || number > of => Err(ShardError::OutOfRange { number, of }),
            (number, of) => Ok(Self { number, of }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_in_exactly_one_shard() {
        for of in 1..20 {
            for index in 0..100 {
                let holders = (1..=of).filter(|&number| Shard { number, of }.holds(index)).count();
                assert_eq!(holders, 1, "seed {index} of {of} shards");
            }
        }
    }

    #[test]
    fn the_seeds_of_a_shard_are_counted_without_listing_them() {
        let seeds = Seeds { start: 5, end: 15 };
        for of in 1..=12 {
            for shard in (1..=of).map(|number| Shard { number, of }) {
                let held = (0..seeds.count()).filter(|&index| shard.holds(index)).count();
                assert_eq!(shard.count(seeds), held as u64, "{shard}");
            }
        }
    }

    #[test]
    fn shards_count_from_one() {
        assert_eq!("16/16".parse(), Ok(Shard { number: 16, of: 16 }));
        let message = |text: &str| text.parse::<Shard>().unwrap_err().to_string();
        assert_eq!(message("17/16"), "there is no shard 17 of 16; they go from 1/16 to 16/16");
        assert_eq!(
            message("0/16"),
            "there is no shard 0 of 16; they go from 1/16 to 16/16: to an index from 0 add one"
        );
        for text in ["", "3", "3/", "/16", "3/0", "-1/4", "3 of 16"] {
            assert_eq!(text.parse::<Shard>(), Err(ShardError::NotAShard), "{text}");
        }
    }
}
