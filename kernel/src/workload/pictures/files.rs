//! Pictures that are read from the user's files.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use thiserror::Error;

use super::{
    InvalidPicture, Picture,
    decode::{Decoder, UndecodablePicture},
};
use crate::{input, visible::Visible};

/// The most files that a pattern may match.
const FILES_MAX: usize = 10_000;

/// The most pixels of all pictures together, which are kept in memory, a byte each.
pub(super) const PIXELS_MAX: u64 = 64 * Picture::PIXELS_MAX;

/// The most bytes of a file: those of the largest picture in the widest format, twice.
const BYTES_MAX: u64 = 256 << 20;

/// The error of a pattern of files that yields no pictures.
#[derive(Debug, Error)]
pub enum PictureFileError {
    /// The pattern is malformed.
    #[error("images pattern '{}' is malformed at character {}: {}", pattern.visible(), source.pos, source.msg)]
    Pattern {
        /// The pattern, as the scenario has it.
        pattern: String,
        /// The mistake and its position.
        source: glob::PatternError,
    },
    /// No file matches the pattern.
    #[error("no file matches images pattern '{}': check its spelling and the folder it starts from", pattern.visible())]
    NoMatch {
        /// The pattern, as the scenario has it.
        pattern: String,
    },
    /// A file cannot be read.
    #[error("cannot read picture '{}': {source}; make it readable or narrow the images pattern", path.visible())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is no picture of a known format, or is damaged.
    #[error("cannot decode picture '{}': {source}; convert it to PNG, JPEG, BMP or PNM", path.visible())]
    Undecodable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the decoder.
        source: UndecodablePicture,
    },
    /// More files match than a workload has.
    #[error("images pattern '{}' matches more than {FILES_MAX} files; narrow it", pattern.visible())]
    TooMany {
        /// The pattern.
        pattern: String,
    },
    /// The pictures do not fit into memory together.
    #[error("the pictures of '{}' have more than {PIXELS_MAX} pixels together; narrow the pattern, or scale them down", pattern.visible())]
    TooManyPixels {
        /// The pattern.
        pattern: String,
    },
    /// A picture is larger than a server accepts.
    #[error("cannot use '{}': {source}; scale it down or leave it out", path.visible())]
    TooLarge {
        /// The path of the file.
        path: PathBuf,
        /// The limit that the picture exceeds.
        source: InvalidPicture,
    },
}

/// Returns the files that the glob `pattern` matches, at least one, sorted by path.
pub(super) fn matching(pattern: &str) -> Result<Vec<PathBuf>, PictureFileError> {
    let matches =
        glob::glob(pattern).map_err(|source| PictureFileError::Pattern { pattern: pattern.to_owned(), source })?;
    let mut paths = matches.take(FILES_MAX + 1).collect::<Result<Vec<_>, _>>().map_err(|error| {
        let path = error.path().to_owned();
        PictureFileError::Unreadable { path, source: error.into() }
    })?;
    if paths.len() > FILES_MAX {
        return Err(PictureFileError::TooMany { pattern: pattern.to_owned() });
    }
    paths.retain(|path| !path.is_dir());
    if paths.is_empty() {
        return Err(PictureFileError::NoMatch { pattern: pattern.to_owned() });
    }
    // Needed because `glob` sorts within each folder only.
    paths.sort();
    Ok(paths)
}

/// Reads the picture in the file at `path`, as 8-bit luma.
pub(super) fn picture(path: &Path) -> Result<Picture, PictureFileError> {
    let bytes = input::read_within(path, BYTES_MAX)
        .map_err(|source| PictureFileError::Unreadable { path: path.to_owned(), source })?;
    let undecodable = |source| PictureFileError::Undecodable { path: path.to_owned(), source };
    let decoder = Decoder::new(&bytes).map_err(undecodable)?;
    // Checked before decoding, so that a picture that is too large does not take the memory first.
    let (width, height) = decoder.size();
    Picture::pixel_count(width, height)
        .map_err(|source| PictureFileError::TooLarge { path: path.to_owned(), source })?;
    let pixels = decoder.luma().map_err(undecodable)?;
    Ok(Picture { width, height, pixels: Bytes::from(pixels) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma, Rgb, RgbImage};
    use tempfile::TempDir;

    use super::*;
    use crate::workload::pictures::Gallery;

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn pattern(folder: &TempDir, files: &str) -> String {
        folder.path().join(files).display().to_string()
    }

    /// Returns the error message for `files` in `folder`, without the path of the folder.
    #[track_caller]
    fn message(folder: &TempDir, files: &str) -> String {
        let error = Gallery::from_files(&pattern(folder, files)).expect_err("no gallery");
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn a_gray_picture_is_taken_as_it_is() {
        let folder = folder();
        let image = GrayImage::from_fn(5, 3, |x, y| Luma([(40 * x + 7 * y) as u8]));
        for name in ["a.png", "b.bmp", "c.pgm"] {
            image.save(folder.path().join(name)).expect("saved");
        }
        let gallery = Gallery::from_files(&pattern(&folder, "*")).expect("three pictures");
        let expected = Picture { width: 5, height: 3, pixels: Bytes::from(image.into_raw()) };
        assert_eq!(gallery.pictures(), vec![expected; 3]);
    }

    #[test]
    fn a_colour_picture_becomes_its_luma() {
        let folder = folder();
        RgbImage::from_pixel(2, 1, Rgb([0, 255, 0])).save(folder.path().join("green.png")).expect("saved");
        let gallery = Gallery::from_files(&pattern(&folder, "green.png")).expect("one picture");
        assert_eq!(gallery.pictures()[0].pixels, [182, 182].as_slice());
    }

    #[test]
    fn pictures_are_sorted_by_path_and_folders_are_skipped() {
        let folder = folder();
        for (level, name) in ["b/z.png", "a/y.png", "b/a.png", "a/b.png"].into_iter().enumerate() {
            let path = folder.path().join(name);
            fs::create_dir_all(path.with_extension("")).expect("made");
            GrayImage::from_pixel(1, 1, Luma([level as u8])).save(path).expect("saved");
        }
        let gallery = Gallery::from_files(&pattern(&folder, "*/*")).expect("four pictures");
        let levels: Vec<_> = gallery.pictures().iter().map(|picture| picture.pixels[0]).collect();
        assert_eq!(levels, [3, 1, 2, 0]);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named() {
        assert_eq!(
            message(&folder(), "*.png"),
            "no file matches images pattern '*.png': check its spelling and the folder it starts from"
        );
    }

    #[test]
    fn a_malformed_pattern_is_named_with_the_place() {
        let error = Gallery::from_files("photos/[a.png").expect_err("no pattern");
        assert_eq!(
            error.to_string(),
            "images pattern 'photos/[a.png' is malformed at character 7: invalid range pattern"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = folder();
        let missing = folder.path().join("gone.png");
        let error = picture(&missing).expect_err("no file").to_string();
        let expected = format!(
            "cannot read picture '{}': No such file or directory (os error 2); \
             make it readable or narrow the images pattern",
            missing.display()
        );
        assert_eq!(error, expected);
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let folder = folder();
        fs::write(folder.path().join("notes.png"), "not a picture").expect("written");
        assert_eq!(
            message(&folder, "*.png"),
            "cannot decode picture 'notes.png': its format is unknown; \
             convert it to PNG, JPEG, BMP or PNM"
        );
    }

    #[test]
    fn a_truncated_picture_cannot_be_decoded() {
        let folder = folder();
        let path = folder.path().join("cut.png");
        GrayImage::from_fn(64, 64, |x, y| Luma([(x * y) as u8])).save(&path).expect("saved");
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let message = message(&folder, "*.png");
        assert!(message.starts_with("cannot decode picture 'cut.png': "), "{message}");
    }

    #[test]
    fn a_picture_that_is_too_large_is_rejected_before_it_is_decoded() {
        let folder = folder();
        // Headers only: decoding either would fail.
        fs::write(folder.path().join("area.pgm"), "P5 5000 4000 255\n").expect("written");
        fs::write(folder.path().join("side.pgm"), "P5 20000 2 255\n").expect("written");
        assert_eq!(
            message(&folder, "area.pgm"),
            "cannot use 'area.pgm': picture is 5000x4000 = 20000000 pixels: at most 16777216 are accepted; \
             scale it down or leave it out"
        );
        assert_eq!(
            message(&folder, "side.pgm"),
            "cannot use 'side.pgm': picture is 20000x2: width and height must be at most 16384; \
             scale it down or leave it out"
        );
    }
}
