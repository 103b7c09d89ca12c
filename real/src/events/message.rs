//! A row as a message.

use super::waiting::{File, Waiter};

/// The most bytes of a value beside its head and its line: the number of the row, and what is around it.
const REST_BYTES: usize = 32;

/// The most bytes of a record beside its key and its value, and its part of what a batch of records has around it.
const FRAME_BYTES: usize = 24;

/// Makes the messages of a run.
#[derive(Debug)]
pub(super) struct Messages {
    run: String,
    /// The beginning of a value, up to the number of the row, by file.
    heads: [String; 4],
}

impl Messages {
    /// Makes the messages of the run with this identifier in this world.
    pub(super) fn new(run: &str, world: &str) -> Self {
        let quoted = serde_json::Value::from(run);
        let head = |file: File| format!(r#"{{"run":{quoted},"world":"{world}","file":"{}","seq":"#, file.name());
        Self { run: run.to_owned(), heads: [File::Requests, File::Attempts, File::Events, File::Calls].map(head) }
    }

    /// Returns the key: that of one request's rows is one.
    pub(super) fn key(&self, row: Waiter<'_>) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.run.len() + 12);
        self.add_key(&mut key, row);
        key
    }

    /// Adds the key to `bytes`.
    pub(super) fn add_key(&self, bytes: &mut Vec<u8>, row: Waiter<'_>) {
        bytes.extend_from_slice(self.run.as_bytes());
        if let Some(request) = row.request {
            bytes.push(b'/');
            add_number(bytes, request);
        }
    }

    /// Returns an upper bound of the bytes of a message without its key.
    pub(super) fn size(&self, row: Waiter<'_>) -> usize {
        self.heads[row.file as usize].len() + row.line.len() + REST_BYTES + FRAME_BYTES
    }

    /// Returns the value: a JSON object, whose `row` is the line of the file.
    pub(super) fn value(&self, row: Waiter<'_>) -> Vec<u8> {
        let head = self.heads[row.file as usize].as_bytes();
        let mut value = Vec::with_capacity(head.len() + row.line.len() + REST_BYTES);
        value.extend_from_slice(head);
        add_number(&mut value, row.number);
        value.extend_from_slice(br#","row":"#);
        value.extend_from_slice(row.line);
        value.push(b'}');
        value
    }
}

/// Adds the decimal digits of `number` to `bytes`, several times as fast as the formatter does.
fn add_number(bytes: &mut Vec<u8>, mut number: u64) {
    // The longest number has twenty digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[start..]);
}

/// Returns the partition of a message, of this number of them, as the clients of Kafka choose it by default.
pub(super) fn partition(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// The hash of Kafka's default partitioner: Austin Appleby's MurmurHash2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    #[expect(clippy::cast_possible_truncation, reason = "as Kafka does")]
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (blocks, rest) = data.as_chunks::<4>();
    for block in blocks {
        let mut k = u32::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        rest.iter().enumerate().for_each(|(index, byte)| hash ^= u32::from(*byte) << (8 * index));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_line_of_its_row() {
        let messages = Messages::new("a\"b-1", "real");
        let row = Waiter { number: 12, file: File::Attempts, request: Some(7), line: br#"{"request":7}"# };
        assert_eq!(messages.key(row), b"a\"b-1/7");
        let value = messages.value(row);
        let expected = r#"{"run":"a\"b-1","world":"real","file":"attempts","seq":12,"row":{"request":7}}"#;
        assert!(value.len() < messages.size(row) && messages.size(row) < value.len() + REST_BYTES + FRAME_BYTES);
        assert_eq!(String::from_utf8(value).unwrap(), expected);
        assert_eq!(messages.key(Waiter { request: None, ..row }), b"a\"b-1");
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 7, 10, 1_203, u64::MAX] {
            let mut bytes = Vec::new();
            add_number(&mut bytes, number);
            assert_eq!(String::from_utf8(bytes).unwrap(), number.to_string());
        }
    }

    /// The values are those of `UtilsTest.testMurmur2` in Kafka's sources.
    #[test]
    #[expect(clippy::cast_sign_loss, reason = "Java has no unsigned numbers")]
    fn hashes_are_those_of_kafka() {
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in cases {
            assert_eq!(murmur2(key), expected as u32, "{}", String::from_utf8_lossy(key));
        }
        assert_eq!(partition(b"foobar", 1), 0);
    }
}
