//! The pictures that the requests of a run are drawn from.

use rand::{Rng, RngExt};

use super::{Picture, PictureFileError, files, synthetic};
use crate::{workload::settings::Pictures, workload::size::Size};

/// Number of synthetic pictures of each size: enough that consecutive requests differ, and few enough to generate before
/// every run.
pub const VARIANTS: usize = 8;

/// A set of at least one picture. All are in memory before the first request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gallery {
    pictures: Vec<Picture>,
}

impl Gallery {
    /// Creates the gallery that a scenario's `pictures` describe; synthetic ones are drawn from `rng`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Self::from_files`].
    pub fn for_pictures(pictures: &Pictures, rng: &mut impl Rng) -> Result<Self, PictureFileError> {
        match pictures {
            Pictures::Synthetic(sizes) => Ok(Self::synthetic(sizes, rng)),
            Pictures::Files(pattern) => Self::from_files(pattern),
        }
    }

    /// Generates [`VARIANTS`] synthetic pictures of each of `sizes`, in that order: shaded, with a few shapes and some noise.
    ///
    /// The same `rng` state gives the same bytes on every machine and in every build.
    ///
    /// # Panics
    ///
    /// Panics if `sizes` is empty or contains a size that [`Picture::validate`] rejects; a scenario is checked for both.
    pub fn synthetic(sizes: &[Size], rng: &mut impl Rng) -> Self {
        assert!(!sizes.is_empty(), "a gallery has at least one size");
        let pictures = sizes.iter().flat_map(|&size| [size; VARIANTS]).map(|size| synthetic::picture(size, rng));
        Self { pictures: pictures.collect() }
    }

    /// Reads the files that the glob `pattern` matches, as 8-bit luma (ITU-R BT.709 weights), sorted by path.
    ///
    /// The format (PNG, JPEG, BMP, PNM) is detected from a file's content, not from its name. Folders that match are skipped.
    ///
    /// # Errors
    ///
    /// Returns an error if the pattern is malformed or matches no file, if a file cannot be read, cannot be decoded, or is too large, or if there are too many.
    pub fn from_files(pattern: &str) -> Result<Self, PictureFileError> {
        let paths = files::matching(pattern)?;
        let mut pictures = Vec::with_capacity(paths.len());
        let mut pixels = 0;
        for path in paths {
            let picture = files::picture(&path)?;
            pixels += picture.pixels.len() as u64;
            if pixels > files::PIXELS_MAX {
                return Err(PictureFileError::TooManyPixels { pattern: pattern.to_owned() });
            }
            pictures.push(picture);
        }
        Ok(Self { pictures })
    }

    /// Draws one picture, each with the same probability.
    pub fn draw(&self, rng: &mut impl Rng) -> &Picture {
        // `u64` and not `usize`: a draw must not depend on the word size of the machine.
        let index = rng.random_range(0..self.pictures.len() as u64);
        &self.pictures[index as usize]
    }

    /// Returns every picture, in the order of the sizes or of the paths.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    use super::*;

    const SIZES: [Size; 3] =
        [Size { width: 64, height: 48 }, Size { width: 1, height: 1 }, Size { width: 33, height: 100 }];

    fn gallery(seed: u64) -> Gallery {
        Gallery::synthetic(&SIZES, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    /// Returns the FNV-1a hash of all pixels.
    fn checksum(gallery: &Gallery) -> u64 {
        crate::entropy::fnv1a(gallery.pictures().iter().flat_map(|picture| &picture.pixels).copied())
    }

    #[test]
    fn a_seed_fixes_every_byte() {
        assert_eq!(gallery(1), gallery(1));
        assert_eq!(
            checksum(&gallery(1)),
            0xc831_dede_98ae_6d4f,
            "a change here changes what every recorded seed replays"
        );
    }

    #[test]
    fn another_seed_makes_other_pictures() {
        assert_ne!(checksum(&gallery(1)), checksum(&gallery(2)));
    }

    #[test]
    fn each_size_gets_its_variants_in_order() {
        let gallery = gallery(3);
        let sizes: Vec<_> = gallery.pictures().iter().map(|p| Size { width: p.width, height: p.height }).collect();
        assert_eq!(sizes, SIZES.iter().flat_map(|&size| [size; VARIANTS]).collect::<Vec<_>>());
        for picture in gallery.pictures() {
            assert_eq!(Picture::validate(picture.width, picture.height, &picture.pixels), Ok(()));
        }
    }

    #[test]
    fn the_variants_of_a_size_differ() {
        let gallery = gallery(4);
        let distinct: BTreeSet<_> = gallery.pictures()[..VARIANTS].iter().map(|picture| &picture.pixels).collect();
        assert_eq!(distinct.len(), VARIANTS);
    }

    #[test]
    fn every_picture_can_be_drawn() {
        let gallery = gallery(5);
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let drawn: BTreeSet<_> = (0..1000).map(|_| std::ptr::from_ref(gallery.draw(&mut rng))).collect();
        assert_eq!(drawn.len(), gallery.pictures().len());
    }

    #[test]
    fn a_clone_shares_its_pixels() {
        let gallery = gallery(7);
        let picture = &gallery.pictures()[0];
        assert_eq!(picture.clone().pixels.as_ptr(), picture.pixels.as_ptr());
    }
}
