//! Picture sizes.

use std::{fmt, str::FromStr};

/// The size of a picture, written `256x256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
}

/// The error for a text that is no picture size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a picture size; write width x height in pixels, such as \"256x256\"")]
pub struct SizeError(String);

impl Size {
    /// Returns the number of pixels.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}", self.width, self.height))
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `parse` alone would take a `+` as well.
        let side = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        text.split_once('x')
            .and_then(|(width, height)| Some(Self { width: side(width)?, height: side(height)? }))
            .ok_or_else(|| SizeError(text.to_owned()))
    }
}

/// Returns the amount of work of an input by its size in a row: the pixels of `64x64`, the nodes and edges of `2000+6000`. `None` if the size
/// says nothing of it.
pub fn units(size: &str) -> Option<u64> {
    match size.parse::<Size>() {
        Ok(size) => Some(size.pixels()),
        Err(_) => size.split('+').map(|part| part.parse::<u64>().ok()).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_an_input_is_known_from_its_size() {
        assert_eq!(["64x32", "2000+6000", "data"].map(units), [Some(2_048), Some(8_000), None]);
    }

    #[test]
    fn a_size_is_read_back_as_it_is_written() {
        let size = Size { width: 640, height: 480 };
        assert_eq!((size.to_string().as_str(), "640x480".parse()), ("640x480", Ok(size)));
        for text in ["", "x", "640", "640x", "640X480", "+1x1", "-1x1", "1.5x1", "1x1x1", "99999999999x1"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError(text.into())));
        }
    }
}
