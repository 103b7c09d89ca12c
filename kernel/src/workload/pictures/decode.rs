//! Decoding of pictures: PNG, JPEG, BMP and PNM become 8-bit luma.
//!
//! The luma of a colour is that of ITU-R BT.709, about `0.2126 R + 0.7152 G + 0.0722 B`, to the nearest of 8 bits. Transparency does not count.
//! `luma` computes it, and `pnm` decodes PNM.

mod luma;
mod pnm;

use std::{borrow::Cow, io::Cursor};

use png::{ColorType, Limits, Transformations};
use thiserror::Error;
use zune_bmp::BmpDecoder;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use self::{luma::Samples, pnm::Pnm};

/// The most bytes that the PNG decoder allocates beside the picture.
const PNG_BYTES_MAX: usize = 64 << 20;

/// The bytes of the headers that the BMP decoder reads.
const BMP_HEADER_MAX: usize = 14 + 124;

/// A picture that cannot be decoded.
#[derive(Debug, Error)]
pub enum UndecodablePicture {
    /// It begins as none of the formats does.
    #[error("its format is unknown")]
    UnknownFormat,
    /// It is damaged, or has what the decoder of its format does not know.
    #[error("as {format}: {what}")]
    Damaged {
        /// The format.
        format: &'static str,
        /// The damage, as a part of the message.
        what: String,
    },
}

fn damaged(format: &'static str) -> impl Fn(String) -> UndecodablePicture {
    move |what| UndecodablePicture::Damaged { format, what }
}

/// A picture whose header has been read.
pub(super) enum Decoder<'a> {
    Png(Box<png::Reader<Cursor<&'a [u8]>>>),
    Jpeg(Box<JpegDecoder<ZCursor<&'a [u8]>>>, [usize; 2]),
    Bmp(Box<BmpDecoder<ZCursor<Cow<'a, [u8]>>>>, [usize; 2]),
    Pnm(Pnm<'a>),
}

impl<'a> Decoder<'a> {
    /// Reads the header of the picture in `file`.
    pub(super) fn new(file: &'a [u8]) -> Result<Self, UndecodablePicture> {
        match file {
            [0x89, b'P', b'N', b'G', ..] => Self::png(file).map_err(damaged("PNG")),
            [0xff, 0xd8, 0xff, ..] => Self::jpeg(file).map_err(damaged("JPEG")),
            [b'B', b'M', ..] => Self::bmp(file).map_err(damaged("BMP")),
            [b'P', b'1'..=b'7', ..] => Pnm::new(file).map(Self::Pnm).map_err(damaged("PNM")),
            _ => Err(UndecodablePicture::UnknownFormat),
        }
    }

    fn png(file: &'a [u8]) -> Result<Self, String> {
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), Limits { bytes: PNG_BYTES_MAX });
        decoder.set_transformations(Transformations::EXPAND);
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        let reader = decoder.read_info().map_err(|error| error.to_string())?;
        Ok(Self::Png(Box::new(reader)))
    }

    fn jpeg(file: &'a [u8]) -> Result<Self, String> {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options());
        decoder.decode_headers().map_err(|error| error.to_string())?;
        // What is neither gray nor colour, such as CMYK, becomes colour.
        let space = match decoder.input_colorspace() {
            Some(ColorSpace::Luma) => ColorSpace::Luma,
            _ => ColorSpace::RGB,
        };
        let chosen = decoder.options().jpeg_set_out_colorspace(space);
        decoder.set_options(chosen);
        let (width, height) = decoder.dimensions().ok_or("it has no size")?;
        Ok(Self::Jpeg(Box::new(decoder), [width, height]))
    }

    fn bmp(file: &'a [u8]) -> Result<Self, String> {
        // The decoder reads a header that is longer than the shortest, which a picture of a pixel or two does not fill.
        let is_short = file.len() < BMP_HEADER_MAX;
        let file = if is_short { Cow::from([file, &[0; BMP_HEADER_MAX]].concat()) } else { Cow::from(file) };
        let mut decoder = BmpDecoder::new_with_options(ZCursor::new(file), options());
        decoder.decode_headers().map_err(|error| format!("{error:?}"))?;
        let (width, height) = decoder.dimensions().ok_or("it has no size")?;
        Ok(Self::Bmp(Box::new(decoder), [width, height]))
    }

    /// Width and height, in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        let bounded = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        match self {
            Self::Png(reader) => (reader.info().width, reader.info().height),
            Self::Jpeg(_, [width, height]) | Self::Bmp(_, [width, height]) => (bounded(*width), bounded(*height)),
            Self::Pnm(pnm) => pnm.size(),
        }
    }

    /// Decodes the picture, and returns a byte for each pixel.
    pub(super) fn luma(self) -> Result<Vec<u8>, UndecodablePicture> {
        let (width, height) = self.size();
        let (samples, format) = match self {
            Self::Png(reader) => (png_samples(*reader).map_err(damaged("PNG"))?, "PNG"),
            Self::Jpeg(mut decoder, _) => {
                let bytes = decoder.decode().map_err(|error| damaged("JPEG")(error.to_string()))?;
                let channels = decoder.output_colorspace().map_or(3, |space| space.num_components());
                (Samples { bytes, channels, is_deep: false }, "JPEG")
            }
            Self::Bmp(mut decoder, _) => {
                let bytes = decoder.decode().map_err(|error| damaged("BMP")(format!("{error:?}")))?;
                let channels = decoder.colorspace().map_or(3, |space| space.num_components());
                (Samples { bytes, channels, is_deep: false }, "BMP")
            }
            Self::Pnm(pnm) => (pnm.samples().map_err(damaged("PNM"))?, "PNM"),
        };
        let luma = samples.luma();
        if luma.len() as u64 != u64::from(width) * u64::from(height) {
            return Err(damaged(format)(format!("it has {} pixels", luma.len())));
        }
        Ok(luma)
    }
}

/// Sizes are checked once the header has been read.
fn options() -> DecoderOptions {
    DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX)
}

fn png_samples(mut reader: png::Reader<Cursor<&[u8]>>) -> Result<Samples, String> {
    let length = reader.output_buffer_size().ok_or("it is too large")?;
    let mut bytes = vec![0; length];
    reader.next_frame(&mut bytes).map_err(|error| error.to_string())?;
    let (color, depth) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err("its palette is missing".to_owned()),
    };
    Ok(Samples { bytes, channels, is_deep: depth == png::BitDepth::Sixteen })
}

#[cfg(test)]
mod tests;
