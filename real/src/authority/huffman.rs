//! The Huffman code of HPACK (RFC 7541, appendix B).
//!
//! It is canonical: codes of one length are consecutive numbers in the order of their symbols, and follow on those that are shorter. The
//! lengths are therefore all there is to know.

/// Length of the code of each byte, in bits.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Length of the longest code.
const LONGEST: usize = 30;

/// The codes, and where those of each length begin.
struct Table {
    /// The code of each byte.
    codes: [u32; 256],
    /// The bytes by their codes' lengths, and then by themselves.
    symbols: [u8; 256],
    /// The first code of each length.
    first: [u32; LONGEST + 1],
    /// The place in `symbols` of the first code of each length.
    start: [usize; LONGEST + 2],
}

static TABLE: Table = table();

const fn table() -> Table {
    let mut table = Table { codes: [0; 256], symbols: [0; 256], first: [0; LONGEST + 1], start: [0; LONGEST + 2] };
    let mut code = 0;
    let mut count = 0;
    let mut length = 1;
    while length <= LONGEST {
        code <<= 1;
        table.first[length] = code;
        table.start[length] = count;
        let mut symbol = 0;
        while symbol < 256 {
            if LENGTHS[symbol] as usize == length {
                table.codes[symbol] = code;
                table.symbols[count] = symbol as u8;
                code += 1;
                count += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    table.start[LONGEST + 1] = count;
    table
}

/// Returns the text that `coded` stands for. Fails if there is none.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 2);
    let mut code = 0_u32;
    let mut length = 0;
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |place| u32::from(byte >> place & 1))) {
        code = code << 1 | bit;
        length += 1;
        if length > LONGEST {
            return None;
        }
        let among = code.checked_sub(TABLE.first[length]).map_or(usize::MAX, |offset| offset as usize);
        if among < TABLE.start[length + 1] - TABLE.start[length] {
            text.push(TABLE.symbols[TABLE.start[length] + among]);
            (code, length) = (0, 0);
        }
    }
    // What is left fills the last byte, and consists of ones.
    (length < 8 && code + 1 == 1 << length).then_some(text)
}

/// Returns the code of `text`.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(text.len());
    // The bits that fill no byte yet, at the low end.
    let mut bits = 0_u64;
    let mut count = 0;
    for byte in text {
        let length = LENGTHS[usize::from(*byte)];
        bits = bits << length | u64::from(TABLE.codes[usize::from(*byte)]);
        count += length;
        while count >= 8 {
            count -= 8;
            coded.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    if count > 0 {
        let missing = 8 - count;
        coded.push((bits << missing | ((1 << missing) - 1)) as u8);
    }
    coded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7541, appendix C.4 and C.6.
    const EXAMPLES: [(&str, &[u8]); 6] = [
        ("www.example.com", &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff]),
        ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]),
        ("custom-key", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f]),
        ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf]),
        ("302", &[0x64, 0x02]),
        (
            "Mon, 21 Oct 2013 20:13:21 GMT",
            &[
                0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0,
                0x82, 0xa6, 0x2d, 0x1b, 0xff,
            ],
        ),
    ];

    #[test]
    fn the_examples_of_the_standard_are_coded_and_decoded() {
        for (text, coded) in EXAMPLES {
            assert_eq!(encode(text.as_bytes()), coded, "{text}");
            assert_eq!(decode(coded).as_deref(), Some(text.as_bytes()));
        }
    }

    /// RFC 7541, appendix B: some codes of each end of the table, and that of the end of a string.
    #[test]
    fn codes_are_those_of_the_standard() {
        let codes =
            [(b'0', 0x0), (b'%', 0x15), (b':', 0x5c), (b'X', 0xfc), (b'!', 0x3f8), (b'<', 0x7ffc), (0xff, 0x3ff_ffee)];
        for (byte, code) in codes {
            assert_eq!(TABLE.codes[usize::from(byte)], code, "{byte}");
        }
        assert_eq!((TABLE.codes[10], TABLE.codes[13], TABLE.codes[22]), (0x3fff_fffc, 0x3fff_fffd, 0x3fff_fffe));
    }

    #[test]
    fn what_no_text_has_as_its_code_is_refused() {
        // A whole byte of padding, padding with a zero, and the end of a string.
        for coded in [&[0xff][..], &[0, 0, 0, 0, 0, 0xff], &[0x06], &[0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decode(coded), None, "{coded:?}");
        }
        assert_eq!(decode(&[]), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn every_text_is_decoded_again(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn no_bytes_are_too_strange(coded in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(text) = decode(&coded) {
                prop_assert_eq!(encode(&text), coded);
            }
        }
    }
}
