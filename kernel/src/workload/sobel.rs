//! The edge-detection workload: the input is a grayscale picture, the output its gradient magnitude.

mod gradient;

pub use gradient::{sobel, sobel_into};

use super::{
    Input, Output, Workload,
    pictures::{Gallery, Picture, PictureFileError, VARIANTS},
    settings::Pictures,
};
use crate::entropy::Entropy;

const NO_PICTURE: &str = "the input is no picture";

/// Edge detection in one picture.
#[derive(Debug, Clone, Copy)]
pub struct Sobel;

/// Number of pixels below which two random pictures may be equal by chance.
const PIXELS_MIN: u64 = 64;

/// Creates the inputs of a run: each picture once.
pub(super) fn inputs(pictures: &Pictures, entropy: Entropy, numbers: &[u64]) -> Result<Vec<Input>, PictureFileError> {
    let gallery = Gallery::for_pictures(pictures, &mut entropy.stream_of("workload.pictures", numbers))?;
    Ok(gallery.pictures().iter().cloned().map(Input::Image).collect())
}

/// Returns a number for each picture; `None` if they are files, or so small that two may be equal by chance.
pub(super) fn input_numbers(pictures: &Pictures) -> Option<Vec<u64>> {
    match pictures {
        Pictures::Synthetic(sizes) => {
            let differ = sizes.iter().all(|size| size.pixels() >= PIXELS_MIN);
            differ.then(|| (0..(sizes.len() * VARIANTS) as u64).collect())
        }
        Pictures::Files(_) => None,
    }
}

impl Workload for Sobel {
    fn name(&self) -> &'static str {
        "sobel"
    }

    fn check(&self, input: &Input) -> Result<(), String> {
        let Input::Image(picture) = input else { return Err(NO_PICTURE.to_owned()) };
        Picture::validate(picture.width, picture.height, &picture.pixels).map_err(|invalid| invalid.to_string())
    }

    fn run(&self, input: &Input) -> Output {
        let Input::Image(picture) = input else { panic!("{NO_PICTURE}") };
        let mut magnitudes = vec![0; picture.pixels.len()];
        sobel_into(&picture.pixels, picture.width as usize, &mut magnitudes);
        Output::Image(magnitudes.into())
    }
}
