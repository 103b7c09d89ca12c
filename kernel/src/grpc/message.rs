//! The bytes of one message, as they arrived.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use smallvec::{SmallVec, smallvec};
use tonic::Status;

use crate::transport::{LARGE, MESSAGE_HEADER_BYTES};

/// The data of a body in the pieces in which it arrived, which are not copied, and its trailers. It is a body itself, without a size in
/// advance, and whose end shows when it is asked for more: HTTP/2 sends the end in a frame of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Pieces {
    /// The pieces; mostly two, the header of a message and the message.
    data: SmallVec<[Bytes; 2]>,
    /// Number of pieces that were passed on, of a body.
    passed: usize,
    trailers: Option<HeaderMap>,
}

/// Reads `body` to its end.
///
/// # Errors
///
/// Returns the error of the body.
pub(crate) async fn collect<B: Body<Data = Bytes>>(body: B) -> Result<Pieces, B::Error> {
    let mut data = SmallVec::new();
    let trailers = read(body, |piece| data.push(piece)).await?;
    Ok(Pieces { data, trailers, passed: 0 })
}

/// Reads `body` to its end, for longer than it takes to decode it. Small pieces are copied into one: they are parts of the buffer that a
/// connection reads into, which can be used again then. A large piece is most of such a buffer, and stays as it is.
///
/// # Errors
///
/// Returns the error of the body.
pub(crate) async fn collect_whole<B: Body<Data = Bytes>>(body: B) -> Result<Pieces, B::Error> {
    let mut data = SmallVec::new();
    let mut small = BytesMut::new();
    let add = |piece: Bytes| {
        if piece.len() >= LARGE {
            if !small.is_empty() {
                data.push(small.split().freeze());
            }
            return data.push(piece);
        }
        // The header comes when all of the message has arrived, so memory is used for what was sent.
        if let ([], [_, a, b, c, d, ..]) = (&small[..], &piece[..]) {
            let message = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            small.reserve(MESSAGE_HEADER_BYTES + if message < LARGE { message } else { 0 });
        }
        small.extend_from_slice(&piece);
    };
    let trailers = read(body, add).await?;
    if !small.is_empty() {
        data.push(small.freeze());
    }
    Ok(Pieces { data, trailers, passed: 0 })
}

/// Reads `body` to its end, calls `add` with each piece of its data, and returns its trailers.
async fn read<B: Body<Data = Bytes>>(body: B, mut add: impl FnMut(Bytes)) -> Result<Option<HeaderMap>, B::Error> {
    let mut body = pin!(body);
    let mut trailers = None;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(piece) => add(piece),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(trailers)
}

impl From<Bytes> for Pieces {
    fn from(data: Bytes) -> Self {
        Self::in_two(data, Bytes::new())
    }
}

impl Pieces {
    /// Returns the pieces `first` and `second`, without those that are empty.
    pub(crate) fn in_two(first: Bytes, second: Bytes) -> Self {
        let mut data: SmallVec<[Bytes; 2]> = smallvec![first, second];
        data.retain(|piece| !piece.is_empty());
        Self { data, passed: 0, trailers: None }
    }

    /// Sets the trailers.
    pub(crate) fn end_with(&mut self, trailers: HeaderMap) {
        self.trailers = Some(trailers);
    }

    /// Takes the trailers, if there are any.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    /// Returns the number of whole messages; `None` if the last one is not whole.
    pub(crate) fn message_count(&self) -> Option<usize> {
        let mut left: usize = self.data.iter().map(Bytes::len).sum();
        let mut bytes = self.data.iter().flatten();
        let mut count = 0;
        while left > 0 {
            let mut header = [0; MESSAGE_HEADER_BYTES];
            for byte in &mut header {
                *byte = *bytes.next()?;
            }
            let [_, length @ ..] = header;
            let length = u32::from_be_bytes(length) as usize;
            left = left.checked_sub(MESSAGE_HEADER_BYTES + length)?;
            count += 1;
            // What follows is looked at only if there is more.
            if left > 0 && length > 0 {
                bytes.nth(length - 1)?;
            }
        }
        Some(count)
    }

    /// Returns the number of bytes of its only message, without its header.
    pub(crate) fn only_message_bytes(&self) -> usize {
        self.data.iter().map(Bytes::len).sum::<usize>().saturating_sub(MESSAGE_HEADER_BYTES)
    }

    /// Returns the compression flag of the first message, or 0 without one.
    pub(crate) fn flag(&self) -> u8 {
        self.data.iter().flatten().next().copied().unwrap_or(0)
    }

    /// Returns all bytes in one piece. They are copied if they are in several.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.data.len() {
            0 | 1 => self.data.pop().unwrap_or_default(),
            _ => self.data.iter().map(|piece| &piece[..]).collect::<Vec<_>>().concat().into(),
        }
    }

    /// Returns the bytes of the message, without what precedes it. They are copied if they are in several pieces.
    pub(crate) fn message(&self) -> Bytes {
        let mut skipped = MESSAGE_HEADER_BYTES;
        let mut parts = self.data.iter().filter_map(|piece| {
            let skip = skipped.min(piece.len());
            skipped -= skip;
            (skip < piece.len()).then(|| piece.slice(skip..))
        });
        let first = parts.next().unwrap_or_default();
        let Some(second) = parts.next() else { return first };
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        parts.for_each(|part| whole.extend_from_slice(&part));
        whole.freeze()
    }

    /// Returns the bytes of the message one by one.
    fn message_bytes(&self) -> impl Iterator<Item = u8> {
        self.data.iter().flatten().skip(MESSAGE_HEADER_BYTES).copied()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { data, passed, trailers } = &mut *self;
        let piece = data.get_mut(*passed).map(|piece| Frame::data(std::mem::take(piece)));
        *passed += usize::from(piece.is_some());
        Poll::Ready(piece.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
    }
}

/// Counts the messages of a body whose pieces come one by one.
#[derive(Debug, Default)]
pub(crate) struct MessageCount {
    /// Bytes of the header of the message under way that have come.
    header: SmallVec<[u8; MESSAGE_HEADER_BYTES]>,
    /// Bytes of the message under way that have not come yet, behind its header.
    left: usize,
    /// Bytes that have come, without headers.
    bytes: u64,
}

impl MessageCount {
    /// Counts the messages that `piece` completes, and returns how many there are.
    pub(crate) fn add(&mut self, mut piece: &[u8]) -> u64 {
        let mut whole = 0;
        while !piece.is_empty() {
            if self.left == 0 {
                let Some([_, length @ ..]) = self.take_header(&mut piece) else { break };
                self.left = u32::from_be_bytes(length) as usize;
            } else {
                let taken = self.left.min(piece.len());
                self.left -= taken;
                self.bytes += taken as u64;
                piece = &piece[taken..];
            }
            whole += u64::from(self.left == 0);
        }
        whole
    }

    /// Takes the header of the next message, or what has come of it, from `piece`; `None` if more of it has yet to come.
    fn take_header(&mut self, piece: &mut &[u8]) -> Option<[u8; MESSAGE_HEADER_BYTES]> {
        // Nearly always: a header in one piece is not kept.
        if self.header.is_empty()
            && let Some((header, rest)) = piece.split_first_chunk()
        {
            *piece = rest;
            return Some(*header);
        }
        let wanted = MESSAGE_HEADER_BYTES - self.header.len();
        let (header, rest) = piece.split_at(wanted.min(piece.len()));
        self.header.extend_from_slice(header);
        *piece = rest;
        let header = self.header[..].try_into().ok()?;
        self.header.clear();
        Some(header)
    }

    /// Returns the number of bytes of the messages so far, without their headers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether the last message is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0 && self.header.is_empty()
    }
}

/// Returns the number in the field 1 of the protobuf message in `pieces`, or 0, as protobuf has it, if it has none.
pub(crate) fn first_number(pieces: &Pieces) -> u64 {
    find_first_number(&mut pieces.message_bytes()).unwrap_or(0)
}

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

fn find_first_number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    loop {
        let tag = varint(bytes)?;
        let length = match tag & 7 {
            VARINT => {
                let number = varint(bytes)?;
                if tag >> 3 == 1 {
                    return Some(number);
                }
                0
            }
            FIXED_64 => 8,
            LENGTH_DELIMITED => usize::try_from(varint(bytes)?).ok()?,
            FIXED_32 => 4,
            _ => return None,
        };
        if length > 0 {
            bytes.nth(length - 1)?;
        }
    }
}

/// Reads a number of at most ten bytes of seven bits each, the lowest first.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::proto::rehearsal::{GetDataRequest, Graph, Image, ProcessImageRequest, SearchGraphRequest};

    /// Returns the pieces of a message with these bytes, cut at every `cut` bytes.
    fn pieces(message: &[u8], cut: usize) -> Pieces {
        let mut bytes = vec![0; MESSAGE_HEADER_BYTES];
        bytes.extend_from_slice(message);
        of_bytes(&bytes, cut)
    }

    fn of_bytes(bytes: &[u8], cut: usize) -> Pieces {
        Pieces { data: bytes.chunks(cut).map(Bytes::copy_from_slice).collect(), ..Pieces::default() }
    }

    #[test]
    fn the_id_of_a_request_is_its_first_field_wherever_it_stands() {
        for request_id in [0, 1, 127, 128, 300, u64::MAX] {
            let image = Some(Image { width: 2, height: 1, pixels: vec![7, 8].into() });
            let graph = Some(Graph { nodes: 1, edges: 2, seed: 3 });
            for message in [
                GetDataRequest { request_id }.encode_to_vec(),
                ProcessImageRequest { request_id, image: image.clone() }.encode_to_vec(),
                SearchGraphRequest { request_id, graph, start: 9 }.encode_to_vec(),
            ] {
                for cut in [1, 3, 100] {
                    assert_eq!(first_number(&pieces(&message, cut)), request_id);
                }
            }
            // Another order of the fields is allowed.
            let without = ProcessImageRequest { request_id: 0, image };
            let last = [without.encode_to_vec(), GetDataRequest { request_id }.encode_to_vec()].concat();
            assert_eq!(first_number(&pieces(&last, 4)), request_id);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_number(bytes in prop::collection::vec(any::<u8>(), 0..40), cut in 1..9_usize) {
            first_number(&pieces(&bytes, cut));
        }
    }

    #[test]
    fn a_body_is_collected_in_its_pieces_or_whole_with_its_trailers() {
        let mut body = pieces(&[1, 2, 3], 5);
        body.trailers = Some(HeaderMap::new());
        assert_eq!(collect(body.clone()).now_or_never().unwrap().unwrap(), body);
        let whole = collect_whole(body.clone()).now_or_never().unwrap().unwrap();
        assert_eq!((whole.data.len(), &whole.trailers), (1, &body.trailers));
        assert_eq!(whole.into_bytes(), body.into_bytes());
    }

    /// The large piece is the memory that arrived.
    #[test]
    fn a_large_piece_is_not_copied_and_small_ones_become_one() {
        let large = Bytes::from(vec![7; LARGE]);
        let pieces = Pieces { data: smallvec![b"ab"[..].into(), b"c"[..].into(), large.clone()], ..Pieces::default() };
        let whole = collect_whole(pieces).now_or_never().unwrap().unwrap();
        assert_eq!((&whole.data[0][..], whole.data.len()), (&b"abc"[..], 2));
        assert_eq!(whole.data[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn messages_are_counted_piece_by_piece() {
        let three = [&[0, 0, 0, 0, 3, 7, 8, 9][..], &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 5]].concat();
        for cut in 1..=three.len() {
            let mut count = MessageCount::default();
            let added: u64 = three.chunks(cut).map(|piece| count.add(piece)).sum();
            assert_eq!((added, count.bytes(), count.is_whole()), (3, 4, true), "{cut}");
            assert_eq!((count.add(&three[..6]), count.is_whole()), (0, false), "{cut}");
        }
    }

    #[test]
    fn messages_are_counted_and_the_first_is_found_in_its_pieces() {
        let two = [&[0, 0, 0, 0, 3, 7, 8, 9][..], &[0, 0, 0, 0, 1, 5]].concat();
        for cut in 1..=two.len() {
            let pieces = |bytes: &[u8]| of_bytes(bytes, cut);
            assert_eq!(pieces(&two).message_count(), Some(2));
            assert_eq!(pieces(&two[..8]).message_count(), Some(1));
            assert_eq!(pieces(&two[..8]).message()[..], [7, 8, 9]);
            assert_eq!(pieces(&two[..8]).only_message_bytes(), 3);
            assert_eq!(pieces(&two[..8]).into_bytes()[..], two[..8]);
            for wrong in [1, 4, 7, 12, 13] {
                assert_eq!(pieces(&two[..wrong]).message_count(), None, "{wrong}");
            }
        }
        assert_eq!(Pieces::default().message_count(), Some(0));
    }
}
