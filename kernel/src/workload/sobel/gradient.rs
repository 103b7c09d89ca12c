//! The 3x3 Sobel gradient magnitude of an 8-bit grayscale image, exact to the last bit on every machine.
//!
//! With `a`, `b`, `c` the rows above, at and below a pixel, and 0, 1, 2 the columns left, at and right of it,
//!
//! ```text
//! gx = (a2 + 2 b2 + c2) - (a0 + 2 b0 + c0)
//! gy = (c0 + 2 c1 + c2) - (a0 + 2 a1 + a2)
//! magnitude = min(255, floor(sqrt(gx² + gy²)))
//! ```
//!
//! (Sobel and Feldman, 1968; the layout is that of OpenCV's `Sobel` with `ksize = 3`). Beyond the border the nearest
//! pixel repeats, OpenCV's `BORDER_REPLICATE`, so the result has the size of the image.
//!
//! A block of a row is squared in 16-bit lanes, and then its roots are taken in 32-bit lanes, while it is still in registers
//! or the first cache. One loop over both steps would make the compiler use the wider lanes for both.

use ndarray::{Array2, ArrayView2};

/// Number of pixels in a step of the inner loop: two AVX2 registers of 16-bit lanes, four of NEON or SSE2.
const BLOCK: usize = 32;

/// A block with its neighbours on the left and the right.
type BlockWindow = [u8; BLOCK + 2];

/// Returns the Sobel gradient magnitude of `image` (rows, columns), which has the size of `image`.
///
/// A view whose rows are not contiguous (a transposed or strided one) is copied first.
pub fn sobel(image: ArrayView2<'_, u8>) -> Array2<u8> {
    let source = image.as_standard_layout();
    let mut magnitudes = Array2::zeros(image.dim());
    sobel_into(
        source.as_slice().expect("a standard layout is contiguous"),
        image.ncols(),
        magnitudes.as_slice_mut().expect("a new array is contiguous"),
    );
    magnitudes
}

/// Writes the Sobel gradient magnitude of `src`, rows of `width` pixels one after the other, into `dst`.
///
/// # Panics
///
/// Panics if `src` is not whole rows of `width` pixels, or if `dst` is not as long as `src`.
pub fn sobel_into(src: &[u8], width: usize, dst: &mut [u8]) {
    assert_eq!(src.len(), dst.len(), "source and destination hold the same number of pixels");
    if src.is_empty() {
        return;
    }
    assert!(width > 0 && src.len().is_multiple_of(width), "{} pixels are not rows of {width}", src.len());
    pulp::Arch::new().dispatch(Dispatched { src, width, dst });
}

/// The computation as a type, so that it is compiled once for every instruction set. It is not a closure, because a closure
/// is called through a shim that is not inlined, and the computation would be compiled for the baseline only.
struct Dispatched<'a> {
    src: &'a [u8],
    width: usize,
    dst: &'a mut [u8],
}

impl pulp::WithSimd for Dispatched<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _simd: S) {
        image_magnitudes(self.src, self.width, self.dst);
    }
}

// Every function below must be inlined into `with_simd`, because only that one is compiled for the instruction set.

#[inline(always)]
fn image_magnitudes(src: &[u8], width: usize, dst: &mut [u8]) {
    let last = src.len() / width - 1;
    for (y, magnitudes) in dst.chunks_exact_mut(width).enumerate() {
        let above = &src[y.saturating_sub(1) * width..][..width];
        let here = &src[y * width..][..width];
        let below = &src[(y + 1).min(last) * width..][..width];
        row_magnitudes(above, here, below, magnitudes);
    }
}

#[inline(always)]
fn row_magnitudes(above: &[u8], here: &[u8], below: &[u8], magnitudes: &mut [u8]) {
    let width = magnitudes.len();
    let blocks_end = if width >= BLOCK + 2 { width - 1 } else { 1 };
    let mut start = 1;
    while start < blocks_end {
        // The last block moves back so that it ends at the border. Some pixels are written twice, with the same value.
        start = start.min(blocks_end - BLOCK);
        let block = magnitudes[start..].first_chunk_mut().expect("a block ends before the row does");
        block_magnitudes(window(above, start), window(here, start), window(below, start), block);
        start += BLOCK;
    }
    pixel_magnitude(above, here, below, 0, magnitudes);
    for x in blocks_end..width {
        pixel_magnitude(above, here, below, x, magnitudes);
    }
}

/// Returns the block that begins at column `start`, with its neighbours.
#[inline(always)]
fn window(row: &[u8], start: usize) -> &BlockWindow {
    row[start - 1..].first_chunk().expect("a block has a neighbour on either side")
}

#[inline(always)]
fn block_magnitudes(above: &BlockWindow, here: &BlockWindow, below: &BlockWindow, magnitudes: &mut [u8; BLOCK]) {
    let mut squares = [0; BLOCK];
    for (x, square) in squares.iter_mut().enumerate() {
        *square = squared_magnitude(
            [above[x], above[x + 1], above[x + 2]],
            [here[x], here[x + 2]],
            [below[x], below[x + 1], below[x + 2]],
        );
    }
    for (magnitude, square) in magnitudes.iter_mut().zip(squares) {
        *magnitude = integer_root(square);
    }
}

/// Computes one pixel. It serves the borders, and images narrower than a block.
#[inline(always)]
fn pixel_magnitude(above: &[u8], here: &[u8], below: &[u8], x: usize, magnitudes: &mut [u8]) {
    let left = x.saturating_sub(1);
    let right = (x + 1).min(magnitudes.len() - 1);
    magnitudes[x] = integer_root(squared_magnitude(
        [above[left], above[x], above[right]],
        [here[left], here[right]],
        [below[left], below[x], below[right]],
    ));
}

/// Returns `gx² + gy²`, or some value of at least `255²` where it is more than that.
///
/// Each gradient is at most 1020 away from 0, so 16 bits hold it. A gradient beyond 255 already makes the magnitude 255, so
/// it is clamped to 255: its square then fits into 16 bits, and the sum may saturate.
#[inline(always)]
fn squared_magnitude(above: [u8; 3], here: [u8; 2], below: [u8; 3]) -> u16 {
    let [a0, a1, a2] = [i16::from(above[0]), i16::from(above[1]), i16::from(above[2])];
    let [b0, b2] = [i16::from(here[0]), i16::from(here[1])];
    let [c0, c1, c2] = [i16::from(below[0]), i16::from(below[1]), i16::from(below[2])];
    // Both gradients need the diagonals: gx adds them, and gy takes their difference.
    let falling = c2 - a0;
    let rising = a2 - c0;
    let gx = falling + rising + 2 * (b2 - b0);
    let gy = falling - rising + 2 * (c1 - a1);
    let gx = gx.abs().min(255) as u16;
    let gy = gy.abs().min(255) as u16;
    (gx * gx).saturating_add(gy * gy)
}

/// Returns `floor(sqrt(square))`, exactly.
///
/// Let `k` be that root, at most 255. `square + 0.5` is exact in an `f32` and at least 0.5 away from both `k²` and
/// `(k + 1)²`, so its root is at least 0.5 / 512 = 2⁻¹⁰ away from `k` and from `k + 1`. IEEE 754 rounds a square root
/// correctly, and below 256 that moves it by at most 2⁻¹⁷, so the computed root too lies strictly between them. Adding
/// 2²³ - 0.5 leaves the sum strictly within 0.5 of 2²³ + k, and since an `f32` there is an integer, the sum rounds to
/// 2²³ + k, whose lowest byte is `k`. (Just under 2²³ an `f32` has halves, but only `k = 0` could land there and its
/// one square, 0, gives 2²³ + 0.2.)
///
/// `sqrt() as u8` has the same result, but its saturating cast costs more than the root itself.
#[inline(always)]
fn integer_root(square: u16) -> u8 {
    const TWO_POW_23_LESS_HALF: f32 = 8_388_607.5;
    ((f32::from(square) + 0.5).sqrt() + TWO_POW_23_LESS_HALF).to_bits() as u8
}

#[cfg(test)]
mod tests;
