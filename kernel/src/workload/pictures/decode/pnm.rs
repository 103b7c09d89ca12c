//! PNM, the formats of Netpbm: bitmaps, gray maps and pixel maps in text or bytes, and PAM.

use super::luma::Samples;

/// The largest sample of the format.
const SAMPLE_MAX: u32 = 0xffff;

/// A picture whose header has been read.
pub(in super::super) struct Pnm<'a> {
    width: u32,
    height: u32,
    /// Samples of a pixel, 1 to 4.
    channels: usize,
    /// The largest sample, at least 1.
    most: u32,
    encoding: Encoding,
    /// The bytes after the header.
    rest: &'a [u8],
}

enum Encoding {
    /// Samples in decimal digits.
    Text,
    /// Samples of one byte, or of two if the largest one needs two.
    Bytes,
    /// Digits 0 for white and 1 for black.
    TextBits,
    /// Bits 0 for white and 1 for black; a row begins with a byte.
    Bits,
}

impl<'a> Pnm<'a> {
    /// Reads the header. An error says what is wrong with it.
    pub(super) fn new(file: &'a [u8]) -> Result<Self, String> {
        let kind = file.get(1).copied();
        let mut rest = file.get(2..).unwrap_or_default();
        let (channels, encoding) = match kind {
            Some(b'1') => (1, Encoding::TextBits),
            Some(b'2') => (1, Encoding::Text),
            Some(b'3') => (3, Encoding::Text),
            Some(b'4') => (1, Encoding::Bits),
            Some(b'5') => (1, Encoding::Bytes),
            Some(b'6') => (3, Encoding::Bytes),
            _ => return Self::pam(rest),
        };
        let [width, height] = [number(&mut rest)?, number(&mut rest)?];
        let most = match encoding {
            Encoding::TextBits | Encoding::Bits => 1,
            Encoding::Text | Encoding::Bytes => number(&mut rest)?,
        };
        Self { width, height, channels, most, encoding, rest }.checked()
    }

    /// Reads the header of PAM, which is of lines with a name and a value.
    fn pam(mut rest: &'a [u8]) -> Result<Self, String> {
        let [mut width, mut height, mut depth, mut most] = [None; 4];
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or("its header does not end")?;
            let line = String::from_utf8_lossy(&rest[..end]);
            rest = &rest[end + 1..];
            let mut words = line.split_ascii_whitespace();
            let place = match words.next() {
                Some("ENDHDR") => break,
                Some("WIDTH") => &mut width,
                Some("HEIGHT") => &mut height,
                Some("DEPTH") => &mut depth,
                Some("MAXVAL") => &mut most,
                // The type of a pixel follows from its depth.
                _ => continue,
            };
            let value = words.next().and_then(|word| word.parse().ok());
            *place = Some(value.ok_or_else(|| format!("its header has the line `{line}`"))?);
        }
        let (Some(width), Some(height), Some(channels @ 1..=4), Some(most)) = (width, height, depth, most) else {
            return Err("its header lacks a size, a MAXVAL, or a DEPTH from 1 to 4".to_owned());
        };
        Self { width, height, channels: channels as usize, most, encoding: Encoding::Bytes, rest }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if self.most == 0 || self.most > SAMPLE_MAX {
            return Err(format!("its largest sample is {}", self.most));
        }
        Ok(self)
    }

    /// Width and height, in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Decodes the samples.
    pub(super) fn samples(mut self) -> Result<Samples, String> {
        let width = self.width as usize;
        let rows = self.height as usize;
        let count = width * rows * self.channels;
        let bytes = match self.encoding {
            Encoding::TextBits => {
                let digits = self.rest.iter().filter(|byte| !byte.is_ascii_whitespace());
                let bits: Vec<u8> = digits.take(count).map(|digit| if *digit == b'1' { 0 } else { 0xff }).collect();
                if bits.len() < count { return Err(TOO_SHORT.to_owned()) } else { bits }
            }
            Encoding::Bits => {
                let row = width.div_ceil(8);
                let packed = self.rest.get(..row * rows).ok_or(TOO_SHORT)?;
                let bit = |row: &[u8], at: usize| if row[at / 8] >> (7 - at % 8) & 1 == 1 { 0 } else { 0xff };
                packed.chunks_exact(row.max(1)).flat_map(|row| (0..width).map(move |at| bit(row, at))).collect()
            }
            Encoding::Bytes => self.rest.get(..count * self.sample_bytes()).ok_or(TOO_SHORT)?.to_vec(),
            Encoding::Text => {
                let wide = self.sample_bytes() == 2;
                let mut bytes = Vec::new();
                for _ in 0..count {
                    let sample = number(&mut self.rest)?;
                    if sample > self.most {
                        return Err(format!("a sample is {sample}, and the largest is {}", self.most));
                    }
                    let [.., high, low] = sample.to_be_bytes();
                    bytes.extend(wide.then_some(high).into_iter().chain([low]));
                }
                bytes
            }
        };
        let is_deep = self.sample_bytes() == 2;
        let most = match self.encoding {
            Encoding::TextBits | Encoding::Bits => 0xff,
            Encoding::Text | Encoding::Bytes => self.most,
        };
        Ok(Samples { bytes: scaled(bytes, most, is_deep), channels: self.channels, is_deep })
    }

    fn sample_bytes(&self) -> usize {
        if self.most > 0xff { 2 } else { 1 }
    }
}

const TOO_SHORT: &str = "it has fewer pixels than its header says";

/// Scales samples up to `most` to all of 8 or 16 bits, to the nearest. Those that are larger become the largest.
fn scaled(mut bytes: Vec<u8>, most: u32, is_deep: bool) -> Vec<u8> {
    let full = if is_deep { SAMPLE_MAX } else { 0xff };
    if most == full {
        return bytes;
    }
    let factor = full as f32 / most as f32;
    let scale = |sample: u32| (sample as f32 * factor).round().min(full as f32) as u16;
    if is_deep {
        for pair in bytes.chunks_exact_mut(2) {
            let sample = u32::from(pair[0]) << 8 | u32::from(pair[1]);
            pair.copy_from_slice(&scale(sample).to_be_bytes());
        }
    } else {
        for byte in &mut bytes {
            *byte = scale(u32::from(*byte)) as u8;
        }
    }
    bytes
}

/// Takes a number and the one byte that ends it off the front of `bytes`, with the white space and the comments before.
fn number(bytes: &mut &[u8]) -> Result<u32, String> {
    let mut value: Option<u32> = None;
    let mut is_comment = false;
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        match byte {
            b'\n' | b'\r' => is_comment = false,
            b'#' => is_comment = true,
            _ => {}
        }
        match byte {
            _ if is_comment => {}
            b'0'..=b'9' => {
                let digit = u32::from(byte - b'0');
                let more = value.unwrap_or(0).checked_mul(10).and_then(|value| value.checked_add(digit));
                value = Some(more.ok_or("a number in it is too large")?);
            }
            _ if !(byte.is_ascii_whitespace() || byte == 0x0b) => {
                return Err("a number in it has other characters".to_owned());
            }
            _ if value.is_some() => break,
            _ => {}
        }
    }
    value.ok_or_else(|| TOO_SHORT.to_owned())
}
