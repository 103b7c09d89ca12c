//! The edge-detection workload: the input is a grayscale picture, the output its gradient magnitude.

mod gradient;

pub use gradient::{sobel, sobel_into};

use super::{Input, Output, Workload, pictures::Picture};

const NO_PICTURE: &str = "the input is no picture";

/// Edge detection in one picture.
#[derive(Debug, Clone, Copy)]
pub struct Sobel;

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
