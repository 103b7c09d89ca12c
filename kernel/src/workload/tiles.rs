//! Tiles: bands of the rows of an image, each computed and sent on its own.

use std::ops::Range;

use bytes::Bytes;

use super::{pictures::Picture, sobel::sobel_into};

/// The bands of an image, from its first row to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bands {
    rows: u32,
    count: u32,
}

impl Bands {
    /// Cuts `rows` into `count` bands, at most one for each row. Their heights differ by one row at most.
    pub(super) fn new(rows: u32, count: u32) -> Self {
        Self { rows, count: count.min(rows) }
    }

    pub(super) fn count(self) -> u32 {
        self.count
    }

    /// Returns the rows of the band `index`, from 0.
    pub(super) fn rows(self, index: u32) -> Range<u32> {
        let start = |index: u32| (u64::from(self.rows) * u64::from(index) / u64::from(self.count.max(1))) as u32;
        start(index)..start(index + 1)
    }
}

/// Returns the pixels of these rows.
fn pixels(picture: &Picture, rows: Range<u32>) -> Range<usize> {
    let width = picture.width as usize;
    rows.start as usize * width..rows.end as usize * width
}

/// Returns a part of the result for a whole `picture`.
pub(super) fn part(picture: &Picture, whole: &Bytes, rows: Range<u32>) -> Bytes {
    whole.slice(pixels(picture, rows))
}

/// Computes the gradient magnitudes of these rows of `picture`, which depend on the rows beside them, too.
pub(super) fn compute(picture: &Picture, rows: Range<u32>) -> Bytes {
    let seen = rows.start.saturating_sub(1)..(rows.end + 1).min(picture.height);
    let source = &picture.pixels[pixels(picture, seen.clone())];
    let mut magnitudes = vec![0; source.len()];
    sobel_into(source, picture.width as usize, &mut magnitudes);
    let inside = pixels(picture, rows.start - seen.start..rows.end - seen.start);
    Bytes::from(magnitudes).slice(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_tiles_of_an_image_are_its_result(
            width in 1..20_u32, height in 1..20_u32, count in 1..30_u32, seed in any::<u64>(),
        ) {
            let pixels: Vec<u8> = (0..u64::from(width * height)).map(|pixel| (pixel.wrapping_mul(seed) >> 7) as u8).collect();
            let picture = Picture { width, height, pixels: pixels.into() };
            let mut whole = vec![0; picture.pixels.len()];
            sobel_into(&picture.pixels, width as usize, &mut whole);
            let whole = Bytes::from(whole);
            let bands = Bands::new(height, count);
            let tiles: Vec<_> = (0..bands.count()).map(|index| compute(&picture, bands.rows(index))).collect();
            prop_assert!(tiles.iter().all(|tile| !tile.is_empty()));
            prop_assert_eq!(tiles.concat(), whole.to_vec());
            let parts: Vec<_> = (0..bands.count()).map(|index| part(&picture, &whole, bands.rows(index))).collect();
            prop_assert_eq!(tiles, parts);
        }
    }
}
