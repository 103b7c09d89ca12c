//! Authorities in a header block (HPACK, RFC 7541).
//!
//! A block is read without the table of headers that both ends keep: which bytes belong to which header does not depend on it. A
//! header whose name is in that table and not in the standard's is therefore not known to be an authority.

use std::ops::Range;

use http::uri::Authority;

use super::huffman;

const AUTHORITY: &[u8] = b":authority";

/// The place of the name `:authority` in the standard's table.
const AUTHORITY_INDEX: usize = 1;

/// The first bit of a text says whether it is in the Huffman code.
const HUFFMAN: u8 = 0x80;

/// Bits of the first byte of a text that its length begins in.
const LENGTH_PREFIX: u32 = 7;

/// Returns `block` with each authority that no URI can have replaced by one of the same length, or `None` if there is none or
/// the block is malformed. The result is not longer than the block.
pub(super) fn with_valid_authorities(block: &[u8]) -> Option<Vec<u8>> {
    let replaced = replacements(block)?;
    if replaced.is_empty() {
        return None;
    }
    let mut valid = Vec::with_capacity(block.len());
    let mut done = 0;
    for (place, text) in replaced {
        valid.extend_from_slice(&block[done..place.start]);
        valid.extend_from_slice(&text);
        done = place.end;
    }
    valid.extend_from_slice(&block[done..]);
    Some(valid)
}

/// Returns the places of authorities that no URI can have, with what replaces them. Fails if the block is malformed.
fn replacements(block: &[u8]) -> Option<Vec<(Range<usize>, Vec<u8>)>> {
    let mut replaced = Vec::new();
    let mut reader = Reader { block, at: 0 };
    while let Some(first) = block.get(reader.at).copied() {
        // Section 6: an indexed field, one that is added to the table, a new size of the table, and fields that are not added.
        let (prefix, has_value) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            0x20.. => (5, false),
            _ => (4, true),
        };
        let index = reader.integer(prefix)?;
        if !has_value {
            continue;
        }
        let is_authority = match index {
            0 => reader.text()?.is(AUTHORITY),
            index => index == AUTHORITY_INDEX,
        };
        let start = reader.at;
        let text = reader.text()?;
        if is_authority && let Some(valid) = text.made_valid() {
            replaced.push((start..reader.at, valid));
        }
    }
    Some(replaced)
}

/// Reads the parts of a header block. Each reader fails at the end of the block.
struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.block.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// Reads an integer that begins in the low `prefix` bits of a byte (section 5.1).
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let most = (1 << prefix) - 1;
        let mut value = usize::from(self.byte()?) & most;
        if value < most {
            return Some(value);
        }
        // No length in a block needs more than four bytes.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a text (section 5.2).
    fn text(&mut self) -> Option<Text<'a>> {
        let is_huffman = self.block.get(self.at)? & HUFFMAN != 0;
        let length = self.integer(LENGTH_PREFIX)?;
        let bytes = self.block.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(Text { bytes, is_huffman })
    }
}

/// A text as it is in a block.
struct Text<'a> {
    bytes: &'a [u8],
    is_huffman: bool,
}

impl Text<'_> {
    /// Returns whether it is `text`.
    fn is(&self, text: &[u8]) -> bool {
        // The characters of names have codes of eight bits at most.
        self.bytes.len() <= text.len() && self.decoded().is_some_and(|decoded| decoded == text)
    }

    /// Returns the text. Fails if it is no Huffman code.
    fn decoded(&self) -> Option<Vec<u8>> {
        if self.is_huffman { huffman::decode(self.bytes) } else { Some(self.bytes.to_vec()) }
    }

    /// Returns the part of a block with a valid authority of the same length, unless the text is valid, empty or malformed.
    ///
    /// The tables of both ends count the lengths of texts, so these stay. What is replaced has codes of six bits and more, and what
    /// replaces it has one of six.
    fn made_valid(&self) -> Option<Vec<u8>> {
        let text = self.decoded()?;
        if text.is_empty() || Authority::try_from(&text[..]).is_ok() {
            return None;
        }
        let valid = text.iter().map(|byte| if byte.is_ascii_alphanumeric() || *byte == b'-' { *byte } else { b'.' });
        let valid: Vec<u8> = valid.collect();
        let (flag, bytes) = if self.is_huffman { (HUFFMAN, huffman::encode(&valid)) } else { (0, valid) };
        let mut part = integer(flag, LENGTH_PREFIX, bytes.len());
        part.extend_from_slice(&bytes);
        Some(part)
    }
}

/// Returns `value` as an integer that begins in the low `prefix` bits of a byte, of which `flags` are the others.
fn integer(flags: u8, prefix: u32, value: usize) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![flags | value as u8];
    }
    let mut bytes = vec![flags | most as u8];
    let mut left = value - most;
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A literal header field: flags and index of its name, and its value.
    fn field(name: &[u8], is_huffman: bool, value: &[u8]) -> Vec<u8> {
        let (flag, value) = if is_huffman { (HUFFMAN, huffman::encode(value)) } else { (0, value.to_vec()) };
        [name, &integer(flag, LENGTH_PREFIX, value.len()), &value].concat()
    }

    /// The forms of a name `:authority`: with incremental indexing, without, never indexed; by index and as a literal.
    fn names() -> Vec<Vec<u8>> {
        let mut names = vec![vec![0x41], vec![0x01], vec![0x11]];
        for flags in [0x40, 0x00, 0x10] {
            names.extend([false, true].map(|is_huffman| field(&[flags], is_huffman, AUTHORITY)));
        }
        names
    }

    /// RFC 7541, appendices C.3 and C.4: three requests, in which the authority is a literal once.
    const REQUESTS: [&[u8]; 6] = [
        b"\x82\x86\x84\x41\x0fwww.example.com",
        b"\x82\x86\x84\xbe\x58\x08no-cache",
        b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
        b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
    ];

    #[test]
    fn the_examples_of_the_standard_stay_as_they_are() {
        for request in REQUESTS {
            assert_eq!(replacements(request), Some(Vec::new()));
            assert_eq!(with_valid_authorities(request), None);
        }
    }

    #[test]
    fn an_authority_that_no_uri_has_is_replaced_in_every_form() {
        for name in names() {
            for is_huffman in [false, true] {
                let block = |value| [b"\x82\x86", &field(&name, is_huffman, value)[..], b"\x84"].concat();
                let replaced = with_valid_authorities(&block(b"127.0.0.1:1%2C127.0.0.1:2"));
                assert_eq!(replaced, Some(block(b"127.0.0.1.1.2C127.0.0.1.2")), "{name:?}");
                for valid in [&b"rehearsal"[..], b"example.org:80", b"[::1]:1", b"a_b~!$&'()*+;="] {
                    assert_eq!(with_valid_authorities(&block(valid)), None, "{name:?}");
                }
                assert_eq!(with_valid_authorities(&block(b"")), None, "nothing has its length and is valid");
            }
        }
    }

    #[test]
    fn another_header_and_a_malformed_block_stay_as_they_are() {
        let other = field(&[0x0f, 0x2b], false, b"a,b:c:d");
        assert_eq!(replacements(&other), Some(Vec::new()));
        let whole = [other, field(&[0x41], true, b"a,b:c:d")].concat();
        assert!(with_valid_authorities(&whole).is_some());
        for end in 1..whole.len() {
            let cut = &whole[..end];
            assert_eq!(with_valid_authorities(cut), None, "{cut:?}");
        }
        // A length that no block has.
        assert_eq!(replacements(b"\x41\x7f\xff\xff\xff\xff\x01"), None);
    }

    proptest! {
        #[test]
        fn integers_are_read_again(value in 0..20_000_000_usize, prefix in 4..=7_u32) {
            let bytes = integer(0x80, prefix, value);
            let mut reader = Reader { block: &bytes, at: 0 };
            prop_assert_eq!((reader.integer(prefix), reader.at), (Some(value), bytes.len()));
        }

        #[test]
        fn every_authority_is_valid_then_and_as_long(
            value in prop::collection::vec(any::<u8>(), 1..300),
            is_huffman: bool,
        ) {
            let block = field(&[0x41], is_huffman, &value);
            let replaced = with_valid_authorities(&block);
            prop_assert_eq!(replaced.is_none(), Authority::try_from(&value[..]).is_ok());
            if let Some(replaced) = replaced {
                prop_assert!(replaced.len() <= block.len());
                let text = Reader { block: &replaced, at: 1 }.text().unwrap().decoded().unwrap();
                prop_assert_eq!(text.len(), value.len());
                prop_assert!(Authority::try_from(&text[..]).is_ok());
                prop_assert_eq!(with_valid_authorities(&replaced), None);
            }
        }

        #[test]
        fn no_bytes_are_too_strange(block in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(replaced) = with_valid_authorities(&block) {
                prop_assert!(replaced.len() <= block.len());
                prop_assert_eq!(with_valid_authorities(&replaced), None);
            }
        }
    }
}
