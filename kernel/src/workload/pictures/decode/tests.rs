//! The crate `image` decodes the same files, and has to find the same luma.

use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, codecs::pnm};

use super::*;

/// A picture of this size and kind with different samples everywhere.
fn varied(kind: ExtendedColorType, width: u32, height: u32) -> DynamicImage {
    let channels = usize::from(kind.channel_count());
    let count = width as usize * height as usize * channels;
    let bytes: Vec<u8> = (0..count).map(|at| (at * at * 31 + at * 7 + at / 5) as u8).collect();
    let words: Vec<u16> = (0..count).map(|at| (at * at * 7_919 + at * 251) as u16).collect();
    let image = match kind {
        ExtendedColorType::L8 => image::GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        ExtendedColorType::La8 => image::GrayAlphaImage::from_raw(width, height, bytes).map(DynamicImage::from),
        ExtendedColorType::Rgb8 => image::RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        ExtendedColorType::Rgba8 => image::RgbaImage::from_raw(width, height, bytes).map(DynamicImage::from),
        ExtendedColorType::L16 => image::ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLuma16),
        ExtendedColorType::La16 => image::ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLumaA16),
        ExtendedColorType::Rgb16 => image::ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgb16),
        _ => image::ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgba16),
    };
    image.expect("as many samples as pixels need")
}

/// Checks that both decoders find the same.
#[track_caller]
fn same(file: &[u8]) {
    let theirs = image::load_from_memory(file).expect("decoded").into_luma8();
    let decoder = Decoder::new(file).expect("a header");
    assert_eq!(decoder.size(), theirs.dimensions());
    let ours = decoder.luma().expect("decoded");
    let theirs = theirs.into_raw();
    let other = ours.iter().zip(&theirs).position(|(our, their)| our != their);
    assert!(ours.len() == theirs.len() && other.is_none(), "{}: pixel {other:?} is another", file.len());
}

const KINDS: [ExtendedColorType; 8] = [
    ExtendedColorType::L8,
    ExtendedColorType::La8,
    ExtendedColorType::Rgb8,
    ExtendedColorType::Rgba8,
    ExtendedColorType::L16,
    ExtendedColorType::La16,
    ExtendedColorType::Rgb16,
    ExtendedColorType::Rgba16,
];

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("encoded");
    file.into_inner()
}

#[test]
fn png_of_every_colour_type_is_what_another_decoder_finds() {
    for kind in KINDS {
        same(&encoded(&varied(kind, 61, 47), ImageFormat::Png));
    }
}

#[test]
fn jpeg_in_gray_and_in_colour_is_what_another_decoder_finds() {
    for kind in [ExtendedColorType::L8, ExtendedColorType::Rgb8] {
        for (width, height) in [(61, 47), (8, 8), (1, 1), (200, 3)] {
            same(&encoded(&varied(kind, width, height), ImageFormat::Jpeg));
        }
    }
}

#[test]
fn bmp_is_what_another_decoder_finds() {
    for kind in [ExtendedColorType::L8, ExtendedColorType::Rgb8, ExtendedColorType::Rgba8] {
        for (width, height) in [(61, 47), (4, 4), (1, 1)] {
            same(&encoded(&varied(kind, width, height), ImageFormat::Bmp));
        }
    }
}

#[test]
fn pnm_is_what_another_decoder_finds() {
    use pnm::{PnmSubtype, SampleEncoding};
    for (kind, subtype) in [
        (ExtendedColorType::L8, PnmSubtype::Graymap(SampleEncoding::Binary)),
        (ExtendedColorType::L8, PnmSubtype::Graymap(SampleEncoding::Ascii)),
        (ExtendedColorType::Rgb8, PnmSubtype::Pixmap(SampleEncoding::Binary)),
        (ExtendedColorType::Rgb8, PnmSubtype::Pixmap(SampleEncoding::Ascii)),
        (ExtendedColorType::Rgba8, PnmSubtype::ArbitraryMap),
        (ExtendedColorType::La8, PnmSubtype::ArbitraryMap),
    ] {
        let image = varied(kind, 61, 47);
        let mut file = Vec::new();
        let encoder = pnm::PnmEncoder::new(&mut file).with_subtype(subtype);
        encoder.write_image(image.as_bytes(), 61, 47, kind).expect("encoded");
        same(&file);
    }
    let header = |text: &str, bytes: &[u8]| [text.as_bytes(), bytes].concat();
    same(&header("P1 # a comment 9\n3 2\n", b"0 1 0\n110"));
    same(&header("P4 11 2\n", &[0b1010_0110, 0b0110_0000, 0xff, 0]));
    same(&header("P2\n#x\n 4\t1\n15\n", b"0 7\n8 15"));
    same(&header("P5 3 1 100\n", &[0, 50, 99]));
    same(&header("P5 2 1 1000\n", &[3, 0xe8, 1, 0]));
    same(&header("P6 2 1 65535\n", &[1, 2, 3, 4, 5, 6, 0xff, 0xff, 0, 0, 0x80, 1]));
    same(&header("P3 1 1 300\n", b"299 1 150 "));
    same(&header("P7\nWIDTH 2\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n", &[1, 2, 3, 200, 100, 50]));
}

#[test]
fn what_is_damaged_is_an_error_and_no_panic() {
    let files: Vec<Vec<u8>> = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::Pnm]
        .map(|format| encoded(&varied(ExtendedColorType::Rgb8, 9, 7), format))
        .into();
    for file in &files {
        for length in 0..file.len() {
            // Some decoders fill up what is missing at the end, so that no result is demanded.
            let _ = Decoder::new(&file[..length]).and_then(Decoder::luma);
            let mut flipped = file.clone();
            flipped[length] ^= 0x55;
            if let Ok(decoder) = Decoder::new(&flipped) {
                let (width, height) = decoder.size();
                if u64::from(width) * u64::from(height) < 1 << 20 {
                    let _ = decoder.luma();
                }
            }
        }
    }
    for text in
        ["P5", "P5 1", "P5 1 1 0\n\0", "P5 1 1 70000\n\0\0", "P5 9999999999 1 1\n", "P7\nWIDTH x\n", "P7\nENDHDR\n"]
    {
        assert!(Decoder::new(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Decoder::new(b"P5 2 2 255\n\0\0\0").and_then(Decoder::luma).is_err());
    assert!(matches!(Decoder::new(b"GIF89a"), Err(UndecodablePicture::UnknownFormat)));
}
