//! The frames in what a peer sends, and what they cost.

/// Size from which on a DATA frame is large, in bytes.
pub(super) const LARGE: usize = 1024;

/// Number of bytes of a large DATA frame that cost as much as one other byte. They are copied and counted, and no more.
const PER_LARGE: usize = 512;

/// Bytes of the HTTP/2 preface of a client.
pub(super) const PREFACE_BYTES: usize = 24;

/// Bytes of the header of an HTTP/2 frame.
const HEADER_BYTES: usize = 9;

/// The types of frames that differ in what they cost.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const CONTINUATION: u8 = 9;

/// Finds the frames in what a peer sends, and says what they cost.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface that have not arrived.
    preface: usize,
    /// The header of the frame under way.
    header: [u8; HEADER_BYTES],
    /// Number of bytes of it that have arrived.
    headed: usize,
    /// Bytes of the frame's payload that have not arrived.
    payload: usize,
    /// Number of header blocks so far.
    blocks: i64,
    /// The cost of these blocks.
    block_cost: i64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { preface: PREFACE_BYTES, header: [0; HEADER_BYTES], headed: 0, payload: 0, blocks: 0, block_cost: 0 }
    }

    /// Returns what `bytes`, the next ones, cost.
    pub(super) fn cost(&mut self, mut bytes: &[u8]) -> i64 {
        let mut cost = take(&mut bytes, &mut self.preface);
        while !bytes.is_empty() {
            if self.headed < HEADER_BYTES {
                let count = bytes.len().min(HEADER_BYTES - self.headed);
                self.header[self.headed..self.headed + count].copy_from_slice(&bytes[..count]);
                self.headed += count;
                bytes = &bytes[count..];
                if self.headed == HEADER_BYTES {
                    cost += self.begin();
                }
            } else {
                let is_free = self.kind() == DATA && self.length() >= LARGE;
                let count = take(&mut bytes, &mut self.payload);
                cost += if is_free { 0 } else { self.noted(count) };
            }
            if self.headed == HEADER_BYTES && self.payload == 0 {
                self.headed = 0;
            }
        }
        cost
    }

    /// Returns the cost of the header that has arrived, and of the payload if it is large DATA.
    fn begin(&mut self) -> i64 {
        self.payload = self.length();
        match self.kind() {
            DATA => large_data_cost(self.length()).unwrap_or(HEADER_BYTES as i64),
            kind => {
                self.blocks += i64::from(kind == HEADERS);
                self.noted(HEADER_BYTES as i64)
            }
        }
    }

    /// Returns `cost`, which is noted if it is of a header block.
    fn noted(&mut self, cost: i64) -> i64 {
        if matches!(self.kind(), HEADERS | CONTINUATION) {
            self.block_cost += cost;
        }
        cost
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.header;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    /// Returns the number of bytes of the DATA frame under way that have not arrived.
    pub(super) fn data_left(&self) -> usize {
        if self.headed == HEADER_BYTES && self.kind() == DATA { self.payload } else { 0 }
    }

    /// Returns what the header block of a request has cost on average.
    pub(super) fn block_mean(&self) -> i64 {
        self.block_cost / self.blocks.max(1)
    }
}

/// Removes up to `left` bytes from the front of `bytes` and from `left`, and returns their number.
fn take(bytes: &mut &[u8], left: &mut usize) -> i64 {
    let count = bytes.len().min(*left);
    *bytes = &bytes[count..];
    *left -= count;
    count as i64
}

/// Returns the cost of a DATA frame with `length` bytes of payload, or `None` if it is not large.
pub(super) fn large_data_cost(length: usize) -> Option<i64> {
    (length >= LARGE).then_some((HEADER_BYTES + length / PER_LARGE) as i64)
}
