use ndarray::{Array2, ArrayView2, s};
use proptest::{collection::vec, prelude::*};

use super::{BLOCK, image_magnitudes, integer_root, sobel, sobel_into};

/// Computes the definition, one pixel at a time: signed 64-bit sums over the two Sobel operators, coordinates clamped to the
/// image.
fn reference(image: ArrayView2<'_, u8>) -> Array2<u8> {
    const OPERATOR: [[i64; 3]; 3] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];
    let (height, width) = image.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let mut gx = 0;
        let mut gy = 0;
        for dy in 0..3 {
            for dx in 0..3 {
                let pixel = i64::from(image[(near(y, dy, height), near(x, dx, width))]);
                gx += OPERATOR[dy][dx] * pixel;
                gy += OPERATOR[dx][dy] * pixel;
            }
        }
        (gx * gx + gy * gy).isqrt().min(255) as u8
    })
}

/// Returns the coordinate `at + offset - 1`, clamped to the image.
fn near(at: usize, offset: usize, len: usize) -> usize {
    (at + offset).saturating_sub(1).min(len - 1)
}

#[track_caller]
fn assert_matches(image: ArrayView2<'_, u8>) {
    assert_eq!(sobel(image), reference(image), "of {image:?}");
}

/// Sizes around a block and its multiples, and the smallest ones.
const SIDES: [usize; 15] =
    [1, 2, 3, 4, 7, 16, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 2, BLOCK + 3, 65, 66, 67, 2 * BLOCK + 35];

/// Generates images of every contrast, because with full contrast alone nearly all magnitudes would be 255.
fn image() -> impl Strategy<Value = Array2<u8>> {
    (1..80_usize, 1..120_usize, 1..=255_u8).prop_flat_map(|(height, width, contrast)| {
        vec(0..=contrast, height * width)
            .prop_map(move |pixels| Array2::from_shape_vec((height, width), pixels).expect("one pixel a cell"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_images_match_the_definition(image in image()) {
        prop_assert_eq!(sobel(image.view()), reference(image.view()));
    }

    #[test]
    fn the_baseline_instruction_set_gives_the_same_bytes(image in image()) {
        let mut baseline = Array2::zeros(image.dim());
        image_magnitudes(image.as_slice().unwrap(), image.ncols(), baseline.as_slice_mut().unwrap());
        prop_assert_eq!(sobel(image.view()), baseline);
    }

    #[test]
    fn views_that_are_not_contiguous_match_the_definition(image in image(), rows in 1..3_isize, columns in 1..4_isize) {
        let sliced = image.slice(s![..;rows, ..;columns]);
        prop_assert_eq!(sobel(sliced), reference(sliced));
        let flipped = image.slice(s![..;-rows, ..;-columns]);
        prop_assert_eq!(sobel(flipped), reference(flipped));
        prop_assert_eq!(sobel(image.t()), reference(image.t()));
    }
}

#[test]
fn every_square_has_its_integer_root() {
    for square in 0..=u16::MAX {
        assert_eq!(u16::from(integer_root(square)), square.isqrt(), "of {square}");
    }
}

#[test]
fn every_size_around_a_block_matches_the_definition() {
    for height in [1, 2, 3, 5] {
        for width in SIDES {
            let image = Array2::from_shape_fn((height, width), |(y, x)| ((7 * x * x + 13 * y + x * y) % 61) as u8);
            assert_matches(image.view());
            assert_matches(image.t());
        }
    }
}

#[test]
fn a_flat_image_has_no_gradient() {
    for level in [0, 128, 255] {
        for (height, width) in [(1, 1), (1, 40), (40, 1), (2, 2), (37, 71)] {
            assert!(sobel(Array2::from_elem((height, width), level).view()).iter().all(|&magnitude| magnitude == 0));
        }
    }
}

#[test]
fn a_checkerboard_cancels_everywhere_but_in_the_corners() {
    let image = Array2::from_shape_fn((36, 70), |(y, x)| if (x + y) % 2 == 0 { 255 } else { 0 });
    assert_matches(image.view());
    let magnitudes = sobel(image.view());
    let marked: Vec<_> = magnitudes.indexed_iter().filter(|(_, magnitude)| **magnitude != 0).collect();
    assert_eq!(marked, [((0, 0), &255), ((0, 69), &255), ((35, 0), &255), ((35, 69), &255)]);
}

#[test]
fn a_bright_pixel_has_a_ring_around_it() {
    let mut image = Array2::zeros((5, 5));
    image[(2, 2)] = 100;
    let ring = [[0; 5], [0, 141, 200, 141, 0], [0, 200, 0, 200, 0], [0, 141, 200, 141, 0], [0; 5]];
    assert_eq!(sobel(image.view()), Array2::from(ring.to_vec()));
}

#[test]
fn a_step_marks_the_two_columns_it_lies_between() {
    let image = Array2::from_shape_fn((9, 80), |(_, x)| if x < 40 { 10 } else { 60 });
    assert_matches(image.view());
    let expected = Array2::from_shape_fn((9, 80), |(_, x)| if x == 39 || x == 40 { 200 } else { 0 });
    assert_eq!(sobel(image.view()), expected);
}

#[test]
fn the_steepest_corner_saturates() {
    let image = Array2::from_shape_fn((40, 80), |(y, x)| if y < 20 && x < 40 { 255 } else { 0 });
    assert_matches(image.view());
    assert_eq!(sobel(image.view())[(19, 39)], 255);
}

#[test]
fn an_empty_image_stays_empty() {
    assert_eq!(sobel(Array2::zeros((0, 0)).view()).dim(), (0, 0));
    assert_eq!(sobel(Array2::zeros((3, 0)).view()).dim(), (3, 0));
}

#[test]
#[should_panic(expected = "10 pixels are not rows of 3")]
fn an_incomplete_last_row_is_rejected() {
    sobel_into(&[0; 10], 3, &mut [0; 10]);
}
