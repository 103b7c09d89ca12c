//! Random pictures: a shaded background, some flat shapes, and noise over all of it, so that a gradient finds slopes, edges
//! and grain.
//!
//! Only integer arithmetic is used, and no word-sized number is drawn, so the bytes are the same on every machine and in
//! every build. Each row is painted in three passes that vectorise: shade, shapes, noise.

use std::ops::Range;

use bytes::Bytes;
use rand::{Rng, RngExt};

use super::Picture;
use crate::workload::size::Size;

/// Number of shapes in a picture. Discs and boxes alternate.
const FIGURES: u32 = 6;

/// Number of noise levels, a power of two. The noise shows in the gradient but hides no edge.
const NOISE_LEVELS: u8 = 8;

/// Brightest shade without noise. Shade plus noise never overflows a byte.
const SHADE_MAX: u8 = 255 - NOISE_LEVELS;

/// Generates a picture of `size`.
pub(super) fn picture(size: Size, rng: &mut impl Rng) -> Picture {
    let Size { width, height } = size;
    let count = Picture::pixel_count(width, height).expect("sizes were checked with the scenario");
    let scene = Scene::draw(size, rng);
    let mut pixels = vec![0; count as usize];
    for (y, row) in pixels.chunks_exact_mut(width as usize).enumerate() {
        scene.paint(y, row);
    }
    Picture { width, height, pixels: Bytes::from(pixels) }
}

/// The random parts of a picture.
struct Scene {
    /// Part of the background's shade that depends on the column, at most half of [`SHADE_MAX`].
    across: Vec<u8>,
    /// Part of the background's shade that depends on the row, at most half of [`SHADE_MAX`].
    down: Vec<u8>,
    /// The shapes, from the lowest to the topmost.
    figures: Vec<Figure>,
    /// Noise of a row, and 255 bytes more. Each row begins at an offset of its own, which is cheaper than noise for every
    /// pixel and looks the same over shapes and shades.
    noise: Vec<u8>,
    /// Offset in `noise` of each row.
    noise_offsets: Vec<u8>,
}

impl Scene {
    /// Draws the scene of a picture of the given size.
    fn draw(Size { width, height }: Size, rng: &mut impl Rng) -> Self {
        Self {
            across: ramp(width, rng),
            down: ramp(height, rng),
            figures: (0..FIGURES).map(|index| Figure::draw(index, width, height, rng)).collect(),
            noise: random_bytes(width as usize + 255, rng).iter().map(|byte| byte % NOISE_LEVELS).collect(),
            noise_offsets: random_bytes(height as usize, rng),
        }
    }

    /// Paints row `y` into `row`.
    fn paint(&self, y: usize, row: &mut [u8]) {
        let shade = self.down[y];
        let width = row.len() as i32;
        for (pixel, across) in row.iter_mut().zip(&self.across) {
            *pixel = across + shade;
        }
        for figure in &self.figures {
            row[figure.span(y as i32, width)].fill(figure.shade);
        }
        let noise = &self.noise[usize::from(self.noise_offsets[y])..];
        for (pixel, noise) in row.iter_mut().zip(noise) {
            *pixel += noise;
        }
    }
}

/// Draws two levels and returns `len` shades that go evenly from one to the other.
fn ramp(len: u32, rng: &mut impl Rng) -> Vec<u8> {
    let [from, to] = [0, 0].map(|_: u32| rng.random_range(0..=u32::from(SHADE_MAX / 2)));
    (0..len).map(|at| ((from * (len - at) + to * at) / len) as u8).collect()
}

fn random_bytes(len: usize, rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A disc or an upright box of one shade, which may lie partly outside the picture. Lengths are in pixels.
struct Figure {
    centre_x: i32,
    centre_y: i32,
    half_width: i32,
    half_height: i32,
    round: bool,
    shade: u8,
}

impl Figure {
    /// Draws the figure `index` of a picture of the given size.
    fn draw(index: u32, width: u32, height: u32, rng: &mut impl Rng) -> Self {
        let reach = (width.min(height) / 4).max(1) as i32;
        let round = index.is_multiple_of(2);
        let half_width = rng.random_range(0..=reach);
        Self {
            centre_x: rng.random_range(0..width as i32),
            centre_y: rng.random_range(0..height as i32),
            half_width,
            half_height: if round { half_width } else { rng.random_range(0..=reach) },
            round,
            shade: rng.random_range(0..=SHADE_MAX),
        }
    }

    /// Returns the columns that the figure covers in row `y` of a picture `width` wide.
    fn span(&self, y: i32, width: i32) -> Range<usize> {
        let above = (y - self.centre_y).abs();
        if above > self.half_height {
            return 0..0;
        }
        let half = if self.round { (self.half_width.pow(2) - above.pow(2)).isqrt() } else { self.half_width };
        (self.centre_x - half).max(0) as usize..(self.centre_x + half + 1).min(width) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISC: Figure = Figure { centre_x: 10, centre_y: 20, half_width: 5, half_height: 5, round: true, shade: 0 };

    #[test]
    fn a_disc_is_widest_at_its_centre_and_ends_at_its_radius() {
        assert_eq!([14, 15, 16, 20, 25, 26].map(|y| DISC.span(y, 100)), [0..0, 10..11, 7..14, 5..16, 10..11, 0..0]);
    }

    #[test]
    fn a_shape_is_cut_at_the_border() {
        assert_eq!(DISC.span(20, 12), 5..12);
        assert_eq!(Figure { centre_x: 2, ..DISC }.span(20, 100), 0..8);
        assert_eq!(Figure { round: false, ..DISC }.span(25, 100), 5..16);
    }

    #[test]
    fn the_brightest_shade_and_noise_fit_a_byte() {
        assert!(SHADE_MAX.checked_add(NOISE_LEVELS - 1).is_some());
        assert!((SHADE_MAX / 2).checked_mul(2).is_some_and(|shade| shade <= SHADE_MAX));
    }
}
