//! The frames of what a client sends (HTTP/2, RFC 9113), of which those with headers pass as a whole.

use bytes::{Buf, BytesMut};
use kernel::http2::HEADER_LIST_BYTES_MAX;

use super::header_block::with_valid_authorities;

/// Bytes that precede the first frame.
const PREFACE_BYTES: usize = 24;

/// Bytes of the header of a frame.
const HEADER_BYTES: usize = 9;

/// Types of frames.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Flags of frames with headers.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Bytes of a priority.
const PRIORITY_BYTES: usize = 5;

/// Most bytes of the frames of one header block, and most of its frames: more than the HTTP/2 library accepts. They bound what a connection
/// holds back.
const BLOCK_BYTES_MAX: usize = 2 * HEADER_LIST_BYTES_MAX as usize;
const BLOCK_FRAMES_MAX: usize = 16;

/// Follows the frames of one connection, and makes the authorities in them valid. What is malformed passes as it is.
#[derive(Debug)]
pub(super) struct Frames {
    /// Number of the next bytes that pass as they are: the rest of the preface or of a frame. `usize::MAX` is all that follow.
    passing: usize,
    /// The first bytes of a header block, or of the header of a frame, whose rest has not arrived.
    held: BytesMut,
}

/// The treatment of bytes at whose front a frame begins.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This many bytes pass as they are, though not all of them may have arrived.
    Pass(usize),
    /// This many bytes are replaced by these.
    Replace(usize, Vec<u8>),
    /// The treatment depends on bytes that have not arrived.
    Incomplete,
}

impl Frames {
    /// Returns the frames of a new connection.
    pub(super) fn new() -> Self {
        Self { passing: PREFACE_BYTES, held: BytesMut::new() }
    }

    /// Returns how many of `bytes`, the next ones, pass as they are. [`take`](Self::take) has to take the others.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        if !self.held.is_empty() {
            return 0;
        }
        let mut at = 0;
        loop {
            at += self.skip(bytes.len() - at);
            if at == bytes.len() {
                return at;
            }
            match next(&bytes[at..]) {
                Next::Pass(count) => self.passing = count,
                Next::Replace(..) | Next::Incomplete => return at,
            }
        }
    }

    /// Takes `bytes`, the next ones, and adds to `passed` what passes.
    pub(super) fn take(&mut self, bytes: &[u8], passed: &mut BytesMut) {
        self.held.extend_from_slice(bytes);
        loop {
            let count = self.skip(self.held.len());
            passed.extend_from_slice(&self.held.split_to(count));
            if self.held.is_empty() {
                return;
            }
            match next(&self.held) {
                Next::Pass(count) => self.passing = count,
                Next::Replace(count, frames) => {
                    passed.extend_from_slice(&frames);
                    self.held.advance(count);
                }
                Next::Incomplete => return,
            }
        }
    }

    /// Adds to `passed` what was held back for bytes that do not arrive any more.
    pub(super) fn finish(&mut self, passed: &mut BytesMut) {
        passed.extend_from_slice(&self.held.split());
    }

    /// Returns how many of `most` bytes pass, and counts them.
    fn skip(&mut self, most: usize) -> usize {
        let count = most.min(self.passing);
        if self.passing != usize::MAX {
            self.passing -= count;
        }
        count
    }
}

/// Returns what to do with `bytes`, at whose front a frame begins.
fn next(bytes: &[u8]) -> Next {
    let Some(first) = Header::read(bytes) else { return Next::Incomplete };
    if first.kind != HEADERS {
        return Next::Pass(HEADER_BYTES + first.length);
    }
    let mut frames = Vec::new();
    let mut at = 0;
    loop {
        let Some(header) = Header::read(&bytes[at..]) else { return Next::Incomplete };
        let is_next = at == 0 || header.kind == CONTINUATION && header.stream == first.stream;
        let end = at + HEADER_BYTES + header.length;
        if !is_next {
            return Next::Pass(at);
        }
        // The HTTP/2 library ends such a connection.
        if end > BLOCK_BYTES_MAX || frames.len() == BLOCK_FRAMES_MAX {
            return Next::Pass(usize::MAX);
        }
        let Some(payload) = bytes.get(at + HEADER_BYTES..end) else { return Next::Incomplete };
        let Some(frame) = Frame::read(header, payload) else { return Next::Pass(end) };
        frames.push(frame);
        at = end;
        if header.flags & END_HEADERS != 0 {
            break;
        }
    }
    let valid = match &frames[..] {
        // The usual case, without a copy.
        [frame] => with_valid_authorities(frame.block),
        frames => with_valid_authorities(&frames.iter().map(|frame| frame.block).collect::<Vec<_>>().concat()),
    };
    valid.map_or(Next::Pass(at), |block| Next::Replace(at, with_block(&frames, &block)))
}

/// Returns `frames` with this block, which is not longer than theirs.
fn with_block(frames: &[Frame<'_>], mut block: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Frame { header, before, block: old, after } in frames {
        let (part, rest) = block.split_at(old.len().min(block.len()));
        block = rest;
        let length = before.len() + part.len() + after.len();
        bytes.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[header.kind, header.flags]);
        bytes.extend_from_slice(&header.stream);
        [before, part, after].into_iter().for_each(|part| bytes.extend_from_slice(part));
    }
    bytes
}

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
struct Header {
    /// Number of bytes that follow.
    length: usize,
    kind: u8,
    flags: u8,
    stream: [u8; 4],
}

impl Header {
    /// Reads the header at the front of `bytes`. Fails if it is not there as a whole.
    fn read(bytes: &[u8]) -> Option<Self> {
        let [long, middle, short, kind, flags, stream @ ..] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_be_bytes([0, long, middle, short]) as usize;
        Some(Self { length, kind, flags, stream })
    }
}

/// A frame with headers.
#[derive(Debug)]
struct Frame<'a> {
    header: Header,
    /// The length of its padding and its priority, if there are any.
    before: &'a [u8],
    /// Its part of the header block.
    block: &'a [u8],
    /// Its padding.
    after: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits a payload. Fails if it is shorter than what it has to contain.
    fn read(header: Header, payload: &'a [u8]) -> Option<Self> {
        let has = |flag| header.kind == HEADERS && header.flags & flag != 0;
        let padding = if has(PADDED) { usize::from(*payload.first()?) } else { 0 };
        let before = usize::from(has(PADDED)) + if has(PRIORITY) { PRIORITY_BYTES } else { 0 };
        let (before, rest) = payload.split_at_checked(before)?;
        let (block, after) = rest.split_at_checked(rest.len().checked_sub(padding)?)?;
        Some(Self { header, before, block, after })
    }
}

#[cfg(test)]
mod tests;
