//! The pictures of requests: their sources, and the limits that a server checks.

mod decode;
mod files;
mod gallery;
mod synthetic;

use bytes::Bytes;
use thiserror::Error;

pub use decode::UndecodablePicture;
pub use files::PictureFileError;
pub use gallery::{Gallery, VARIANTS};

/// An 8-bit grayscale picture. Clones share the pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Number of pixels in a row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// `width * height` bytes, row after row from the top, each row from the left; 0 is black, 255 white.
    pub pixels: Bytes,
}

/// The error of data that are no acceptable picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidPicture {
    /// A side is 0.
    #[error("picture is {width}x{height}: width and height must be at least 1")]
    Empty {
        /// The width of the picture, in pixels.
        width: u32,
        /// The height of the picture, in pixels.
        height: u32,
    },
    /// A side is longer than [`Picture::SIDE_MAX`].
    #[error("picture is {width}x{height}: width and height must be at most {}", Picture::SIDE_MAX)]
    SideTooLong {
        /// The width of the picture, in pixels.
        width: u32,
        /// The height of the picture, in pixels.
        height: u32,
    },
    /// The picture has more pixels than [`Picture::PIXELS_MAX`].
    #[error("picture is {width}x{height} = {pixels} pixels: at most {} are accepted", Picture::PIXELS_MAX)]
    TooManyPixels {
        /// The width of the picture, in pixels.
        width: u32,
        /// The height of the picture, in pixels.
        height: u32,
        /// The number of pixels, width times height.
        pixels: u64,
    },
    /// The number of bytes is not that of the pixels.
    #[error("picture is {width}x{height} = {expected} pixels of one byte each, but {got} bytes arrived")]
    WrongLength {
        /// The width of the picture, in pixels.
        width: u32,
        /// The height of the picture, in pixels.
        height: u32,
        /// The number of pixels, and so of bytes.
        expected: u64,
        /// The number of bytes that arrived.
        got: usize,
    },
}

impl Picture {
    /// Longest side, in pixels.
    pub const SIDE_MAX: u32 = 16_384;

    /// Largest picture, in pixels: 16 Mpixel, which is 4096x4096 and 16 MiB on the network.
    pub const PIXELS_MAX: u64 = 16 << 20;

    /// Returns true if the two pictures share their pixels and so are equal.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        self.width == other.width && self.pixels.as_ptr_range() == other.pixels.as_ptr_range()
    }

    /// Checks that `pixels` are a picture of `width` times `height` that a server accepts.
    ///
    /// # Errors
    ///
    /// Returns the first error of these: a side of 0, a side over [`Self::SIDE_MAX`], more pixels than
    /// [`Self::PIXELS_MAX`], a number of bytes other than that of the pixels.
    pub fn validate(width: u32, height: u32, pixels: &[u8]) -> Result<(), InvalidPicture> {
        let expected = Self::pixel_count(width, height)?;
        if pixels.len() as u64 != expected {
            return Err(InvalidPicture::WrongLength { width, height, expected, got: pixels.len() });
        }
        Ok(())
    }

    /// Returns `width * height`, or an error if no picture may be that large.
    pub(crate) fn pixel_count(width: u32, height: u32) -> Result<u64, InvalidPicture> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return Err(InvalidPicture::Empty { width, height });
        }
        if width.max(height) > Self::SIDE_MAX {
            return Err(InvalidPicture::SideTooLong { width, height });
        }
        if pixels > Self::PIXELS_MAX {
            return Err(InvalidPicture::TooManyPixels { width, height, pixels });
        }
        Ok(pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn message(width: u32, height: u32, pixels: &[u8]) -> String {
        Picture::validate(width, height, pixels).expect_err("no picture").to_string()
    }

    fn two_pixels(pixels: [u8; 2]) -> Picture {
        Picture { width: 2, height: 1, pixels: Bytes::copy_from_slice(&pixels) }
    }

    #[test]
    fn equal_pictures_are_shared_only_if_they_have_the_same_memory() {
        let one = two_pixels([0, 1]);
        let same = two_pixels([0, 1]);
        assert!(one.is_shared_with(&one.clone()) && !one.is_shared_with(&same) && one == same);
        // A part of the pixels is another picture, and so are all of them in another shape.
        let part = Picture { width: 2, height: 1, pixels: one.pixels.slice(..1) };
        assert!(!one.is_shared_with(&part) && !one.is_shared_with(&Picture { width: 1, height: 2, ..one.clone() }));
    }

    #[test]
    fn as_many_bytes_as_pixels_are_a_picture() {
        assert_eq!(Picture::validate(1, 1, &[0]), Ok(()));
        assert_eq!(Picture::validate(3, 2, &[0; 6]), Ok(()));
        assert_eq!(Picture::validate(Picture::SIDE_MAX, 1024, &vec![0; 16 << 20]), Ok(()));
    }

    #[test]
    fn a_side_of_zero_is_rejected() {
        assert_eq!(message(0, 5, &[]), "picture is 0x5: width and height must be at least 1");
        assert_eq!(message(u32::MAX, 0, &[]), "picture is 4294967295x0: width and height must be at least 1");
    }

    #[test]
    fn a_side_that_is_too_long_is_rejected() {
        assert_eq!(message(16_385, 1, &[]), "picture is 16385x1: width and height must be at most 16384");
        assert_eq!(
            message(u32::MAX, u32::MAX, &[]),
            "picture is 4294967295x4294967295: width and height must be at most 16384"
        );
    }

    #[test]
    fn an_area_that_is_too_large_is_rejected() {
        assert_eq!(message(4096, 4097, &[]), "picture is 4096x4097 = 16781312 pixels: at most 16777216 are accepted");
    }

    #[test]
    fn a_wrong_number_of_bytes_is_rejected() {
        assert_eq!(message(3, 2, &[0; 5]), "picture is 3x2 = 6 pixels of one byte each, but 5 bytes arrived");
        assert_eq!(message(3, 2, &[0; 7]), "picture is 3x2 = 6 pixels of one byte each, but 7 bytes arrived");
    }
}
