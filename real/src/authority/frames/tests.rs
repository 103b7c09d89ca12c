use proptest::{collection::vec, prelude::*};

use super::*;

const DATA: u8 = 0;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of a request, whose authority is in the Huffman code or not.
fn block(is_huffman: bool, authority: &[u8]) -> Vec<u8> {
    let (flag, value) =
        if is_huffman { (0x80, super::super::huffman::encode(authority)) } else { (0, authority.to_vec()) };
    [b"\x83\x86\x41", &[flag | value.len() as u8][..], &value, b"\x04\x02/a"].concat()
}

const WRONG: &[u8] = b"127.0.0.1:1%2C127.0.0.1:2";
const RIGHT: &[u8] = b"127.0.0.1.1.2C127.0.0.1.2";

/// Returns the bytes that a client sends: the preface, its SETTINGS, and these frames.
fn sent(frames: &[Vec<u8>]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])[..], &frames.concat()].concat()
}

/// Returns the part of `bytes` that passes if they arrive in pieces of these sizes, which repeat.
fn passed(bytes: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut frames = Frames::new();
    let mut passed = BytesMut::new();
    let mut left = bytes;
    for size in sizes.iter().cycle() {
        let (piece, rest) = left.split_at(left.len().min(*size));
        let count = frames.pass(piece);
        passed.extend_from_slice(&piece[..count]);
        if count < piece.len() {
            frames.take(&piece[count..], &mut passed);
        }
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    frames.finish(&mut passed);
    passed.to_vec()
}

/// Checks what passes of `frames`, in pieces of every size.
fn check(frames: &[Vec<u8>], expected: &[Vec<u8>]) {
    let expected = sent(expected);
    let sent = sent(frames);
    for size in 1..=sent.len() {
        assert_eq!(passed(&sent, &[size]), expected, "in pieces of {size} bytes");
    }
}

#[test]
fn the_authority_of_a_request_is_valid_then_and_other_frames_pass() {
    for is_huffman in [false, true] {
        let request = |authority| {
            [
                frame(HEADERS, END_HEADERS, 1, &block(is_huffman, authority)),
                frame(DATA, 1, 1, &[7; 300]),
                frame(8, 0, 0, &[0, 0, 1, 0]),
                frame(HEADERS, END_HEADERS | 1, 3, &block(is_huffman, authority)),
            ]
        };
        check(&request(WRONG), &request(RIGHT));
        check(&request(b"rehearsal"), &request(b"rehearsal"));
    }
}

#[test]
fn padding_and_priority_stay() {
    let [wrong, right] = [WRONG, RIGHT].map(|authority| {
        let payload = [&[4][..], &[0, 0, 0, 0, 15], &block(true, authority), &[0; 4]].concat();
        [frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 1, &payload)]
    });
    check(&wrong, &right);
    // More padding than there is, and no room for a priority.
    for (flags, payload) in [(PADDED, &[9, 1, 1][..]), (PRIORITY, &[0, 0, 0]), (PADDED, &[])] {
        let frames = [frame(HEADERS, END_HEADERS | flags, 1, payload), frame(DATA, 0, 1, b"abc")];
        check(&frames, &frames);
    }
}

#[test]
fn a_block_in_several_frames_is_read_as_one() {
    for is_huffman in [false, true] {
        let wrong = block(is_huffman, WRONG);
        let right = block(is_huffman, RIGHT);
        for (first, second) in [(1, 2), (5, 5), (5, 12), (10, 30)] {
            let split = |block: &[u8]| {
                // The last frame is the shorter one if the code is shorter.
                [
                    frame(HEADERS, 1, 1, &block[..first]),
                    frame(CONTINUATION, 0, 1, &block[first..second.min(block.len())]),
                    frame(CONTINUATION, END_HEADERS, 1, &block[second.min(block.len())..]),
                ]
            };
            check(&split(&wrong), &split(&right));
        }
    }
}

#[test]
fn what_is_no_valid_sequence_of_frames_passes_as_it_is() {
    let wrong = block(false, WRONG);
    let (start, rest) = wrong.split_at(8);
    let interrupted = [
        frame(HEADERS, 0, 1, start),
        frame(DATA, 0, 1, b"abc"),
        frame(CONTINUATION, END_HEADERS, 1, rest),
        frame(CONTINUATION, END_HEADERS, 3, rest),
    ];
    check(&interrupted, &interrupted);
    let of_others = [frame(HEADERS, 0, 1, start), frame(CONTINUATION, END_HEADERS, 3, rest)];
    check(&of_others, &of_others);
    let cut = [wrong[..20].to_vec()];
    check(
        &[frame(HEADERS, END_HEADERS, 1, &wrong)[..25].to_vec()],
        &[frame(HEADERS, END_HEADERS, 1, &wrong)[..25].to_vec()],
    );
    check(&cut, &cut);
}

#[test]
fn nothing_is_held_back_beyond_what_the_library_takes() {
    let long =
        [frame(HEADERS, END_HEADERS, 1, &[0; BLOCK_BYTES_MAX]), frame(HEADERS, END_HEADERS, 3, &block(false, WRONG))];
    let mut frames = Frames::new();
    let bytes = sent(&long);
    // The header of the frame is enough to know.
    assert_eq!(frames.pass(&bytes[..60]), 60);
    assert_eq!(passed(&bytes, &[1_000]), bytes);
    let mut many = vec![frame(HEADERS, 0, 1, &[]); 1];
    many.extend(vec![frame(CONTINUATION, 0, 1, &[]); BLOCK_FRAMES_MAX]);
    many.push(frame(CONTINUATION, END_HEADERS, 1, &block(false, WRONG)));
    check(&many, &many);
}

/// A header field whose name is not that of an authority: indexed, or a literal.
fn other_field() -> impl Strategy<Value = Vec<u8>> {
    let text = vec(any::<u8>(), 0..100).prop_map(|text| [&[text.len() as u8], &text[..]].concat());
    let literal = (prop_oneof![Just(0x40_u8), Just(0), Just(0x10)], 2..15_u8, text)
        .prop_map(|(flags, index, value)| [&[flags | index], &value[..]].concat());
    prop_oneof![(0x81..0xff_u8).prop_map(|byte| vec![byte]), literal]
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(HEADERS), Just(CONTINUATION), 0..12_u8];
    let authority = prop_oneof![Just(WRONG.to_vec()), vec(any::<u8>(), 0..100)];
    let payload =
        prop_oneof![vec(any::<u8>(), 0..100), (any::<bool>(), authority).prop_map(|(code, text)| block(code, &text))];
    (kind, any::<u8>(), 0..4_u32, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #[test]
    fn valid_requests_pass_as_they_are(
        blocks in vec(vec(other_field(), 0..20), 1..5),
        cut in 0..40_usize,
        sizes in vec(1..500_usize, 1..10),
    ) {
        let frames: Vec<_> = blocks.iter().flat_map(|fields| {
            let block = fields.concat();
            let (first, second) = block.split_at(cut.min(block.len()));
            [frame(HEADERS, 0, 1, first), frame(CONTINUATION, END_HEADERS, 1, second)]
        }).collect();
        let sent = sent(&frames);
        prop_assert_eq!(passed(&sent, &sizes), sent);
    }

    /// It does not matter in which pieces bytes arrive, and none is lost.
    #[test]
    fn any_frames_pass_in_any_pieces(frames in vec(any_frame(), 0..20), sizes in vec(1..200_usize, 1..10)) {
        let sent = sent(&frames);
        let whole = passed(&sent, &[usize::MAX]);
        prop_assert_eq!(&passed(&sent, &sizes), &whole);
        prop_assert!(whole.len() <= sent.len());
        prop_assert_eq!(passed(&whole, &sizes), whole);
    }

    #[test]
    fn any_bytes_pass_in_any_pieces(bytes in vec(any::<u8>(), 0..2_000), sizes in vec(1..200_usize, 1..10)) {
        prop_assert_eq!(passed(&bytes, &sizes), passed(&bytes, &[usize::MAX]));
    }
}
