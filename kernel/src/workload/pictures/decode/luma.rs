//! Luma of samples.

/// The samples of a picture, row by row.
pub(super) struct Samples {
    /// The samples of a pixel follow each other: gray, gray and alpha, red, green and blue, or these and alpha.
    pub(super) bytes: Vec<u8>,
    /// Samples of a pixel, 1 to 4.
    pub(super) channels: usize,
    /// A sample has two bytes, the higher one first.
    pub(super) is_deep: bool,
}

/// The shares of red, green and blue in the luma: what they add to the luminance of white, with the primaries of ITU-R BT.709 and its white point
/// D65, computed from their coordinates. Other decoders compute with these digits, and the luma of a file is part of a run's digest.
const SHARES: [f32; 3] = [0.212_647_84, 0.715_179_2, 0.072_173_04];

impl Samples {
    /// Returns a byte for each pixel.
    pub(super) fn luma(self) -> Vec<u8> {
        let Self { bytes, channels, is_deep } = self;
        match (channels, is_deep) {
            (1, false) => bytes,
            (2, false) => bytes.chunks_exact(2).map(|pixel| pixel[0]).collect(),
            (_, false) => {
                let luma = |pixel: &[u8]| of_colour([pixel[0], pixel[1], pixel[2]].map(f32::from), 1.0 / 255.0);
                bytes.chunks_exact(channels).map(luma).collect()
            }
            (1 | 2, true) => bytes.chunks_exact(2 * channels).map(|pixel| narrow(sample(pixel, 0))).collect(),
            (_, true) => {
                let samples = |pixel: &[u8]| [0, 1, 2].map(|channel| f32::from(sample(pixel, channel)));
                bytes.chunks_exact(2 * channels).map(|pixel| of_colour(samples(pixel), 1.0 / 65_535.0)).collect()
            }
        }
    }
}

/// The sample of two bytes of a channel.
fn sample(pixel: &[u8], channel: usize) -> u16 {
    u16::from_be_bytes([pixel[2 * channel], pixel[2 * channel + 1]])
}

/// The luma of a colour whose samples are 1 when they are multiplied with `unit`, to the nearest of 8 bits.
fn of_colour(colour: [f32; 3], unit: f32) -> u8 {
    let luma = colour.into_iter().zip(SHARES).fold(0.0, |luma, (sample, share)| luma + sample * unit * share);
    (luma * 255.0).round() as u8
}

/// Turns a sample of 16 bits into the nearest of 8.
fn narrow(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}
