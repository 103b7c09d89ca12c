//! Pictures out of a random number generator: a shaded background, some flat shapes, and noise over all of it, so
//! that a gradient finds slopes, edges and grain.
//!
//! Integer arithmetic only, and no draw of a word-sized number: the bytes are the same on every machine and in every
//! build. A row is shaded, covered by its part of each shape, and grained in three passes that vectorise.

use std::ops::Range;

use bytes::Bytes;
use rand::{Rng, RngExt};

use super::Picture;
use crate::scenario::Size;

/// Shapes in a picture, discs and boxes by turns.
const SHAPES: u32 = 6;

/// Noise is below this: grain that shows in the gradient but drowns no edge. A power of two.
const NOISE_LEVELS: u8 = 8;

/// Brightest before noise, so that noise never wraps around.
const SHADE_MAX: u8 = 255 - NOISE_LEVELS;

/// A picture of `size`.
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

/// All that is random about a picture.
struct Scene {
    /// What the background's shade owes to the column and to the row, each at most half of [`SHADE_MAX`].
    across: Vec<u8>,
    down: Vec<u8>,
    shapes: Vec<Shape>,
    /// Noise for a row, with 255 bytes to spare: each row begins at an offset of its own, which is cheaper than noise
    /// for every pixel and, under shapes and shading, looks the same.
    noise: Vec<u8>,
    noise_offsets: Vec<u8>,
}

impl Scene {
    fn draw(Size { width, height }: Size, rng: &mut impl Rng) -> Self {
        Self {
            across: ramp(width, rng),
            down: ramp(height, rng),
            shapes: (0..SHAPES).map(|index| Shape::draw(index, width, height, rng)).collect(),
            noise: random_bytes(width as usize + 255, rng).iter().map(|byte| byte % NOISE_LEVELS).collect(),
            noise_offsets: random_bytes(height as usize, rng),
        }
    }

    fn paint(&self, y: usize, row: &mut [u8]) {
        let (shade, width) = (self.down[y], row.len() as i32);
        for (pixel, across) in row.iter_mut().zip(&self.across) {
            *pixel = across + shade;
        }
        for shape in &self.shapes {
            row[shape.span(y as i32, width)].fill(shape.shade);
        }
        let noise = &self.noise[usize::from(self.noise_offsets[y])..];
        for (pixel, noise) in row.iter_mut().zip(noise) {
            *pixel += noise;
        }
    }
}

/// `len` shades from one random level evenly to another.
fn ramp(len: u32, rng: &mut impl Rng) -> Vec<u8> {
    let [from, to] = [0, 0].map(|_: u32| rng.random_range(0..=u32::from(SHADE_MAX / 2)));
    (0..len).map(|at| ((from * (len - at) + to * at) / len) as u8).collect()
}

fn random_bytes(len: usize, rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A disc or an upright box of one shade, partly outside the picture maybe. Lengths in pixels.
struct Shape {
    centre_x: i32,
    centre_y: i32,
    half_width: i32,
    half_height: i32,
    round: bool,
    shade: u8,
}

impl Shape {
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

    /// The columns that it covers in row `y` of a picture `width` wide.
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

    const DISC: Shape = Shape { centre_x: 10, centre_y: 20, half_width: 5, half_height: 5, round: true, shade: 0 };

    #[test]
    fn a_disc_is_widest_at_its_centre_and_ends_at_its_radius() {
        assert_eq!([14, 15, 16, 20, 25, 26].map(|y| DISC.span(y, 100)), [0..0, 10..11, 7..14, 5..16, 10..11, 0..0]);
    }

    #[test]
    fn a_shape_is_cut_at_the_border() {
        assert_eq!(DISC.span(20, 12), 5..12);
        assert_eq!(Shape { centre_x: 2, ..DISC }.span(20, 100), 0..8);
        assert_eq!(Shape { round: false, ..DISC }.span(25, 100), 5..16);
    }

    #[test]
    fn the_brightest_shade_and_noise_fit_a_byte() {
        assert!(SHADE_MAX.checked_add(NOISE_LEVELS - 1).is_some());
        assert!((SHADE_MAX / 2).checked_mul(2).is_some_and(|shade| shade <= SHADE_MAX));
    }
}
