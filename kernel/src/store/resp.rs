//! RESP2, the protocol of Redis: what is sent, and what arrives in pieces of any size.
//!
//! What arrives is of a peer that may be any program. Its parts are bounded, and memory is used for what has arrived only.

use bytes::{Bytes, BytesMut};

/// The most bytes of a bulk string, and of all bulk strings of a value together.
pub(crate) const BULK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most bytes of a line: a type, a number or the text of an error.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A short text, such as `OK`.
    Text(Bytes),
    /// An error, as the peer words it.
    Error(Bytes),
    Number(i64),
    /// Bytes, or none.
    Bulk(Option<Bytes>),
    /// The bulk strings of a list, such as a command.
    List(Vec<Bytes>),
}

/// The data that arrived is no value, or a value beyond the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what it sent is {0}")]
pub(super) struct Malformed(&'static str);

/// Takes the value at the front of `arrived`; `None` if it is not whole. A list has up to `items_max` items, all of them bulk strings.
///
/// # Errors
///
/// Returns an error if no value can follow. The connection is of no use then.
pub(super) fn take(arrived: &mut BytesMut, items_max: usize) -> Result<Option<Value>, Malformed> {
    let mut cursor = Cursor { bytes: arrived, at: 0 };
    let Some(shape) = cursor.shape(items_max)? else { return Ok(None) };
    let whole = cursor.at;
    let bytes = arrived.split_to(whole).freeze();
    Ok(Some(match shape {
        Shape::Text(range) => Value::Text(bytes.slice(range)),
        Shape::Error(range) => Value::Error(bytes.slice(range)),
        Shape::Number(number) => Value::Number(number),
        Shape::Bulk(range) => Value::Bulk(range.map(|range| bytes.slice(range))),
        Shape::List(items) => Value::List(items.into_iter().map(|range| bytes.slice(range)).collect()),
    }))
}

type Range = std::ops::Range<usize>;

/// A value, by the places of its bytes.
enum Shape {
    Text(Range),
    Error(Range),
    Number(i64),
    Bulk(Option<Range>),
    List(Vec<Range>),
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn shape(&mut self, items_max: usize) -> Result<Option<Shape>, Malformed> {
        let Some((kind, line)) = self.line()? else { return Ok(None) };
        Ok(Some(match kind {
            b'+' => Shape::Text(line),
            b'-' => Shape::Error(line),
            b':' => Shape::Number(number(&self.bytes[line])?),
            b'$' => {
                let length = number(&self.bytes[line])?;
                match self.bulk(length)? {
                    Some(range) => Shape::Bulk(range),
                    None => return Ok(None),
                }
            }
            b'*' => {
                let length = number(&self.bytes[line])?;
                let length = usize::try_from(length).ok().filter(|length| *length <= items_max);
                let Some(length) = length else { return Err(Malformed("a list that is too long")) };
                match self.items(length)? {
                    Some(items) => Shape::List(items),
                    None => return Ok(None),
                }
            }
            _ => return Err(Malformed("not the protocol of Redis")),
        }))
    }

    /// Returns the bulk strings of a list of this length; `None` if they are not whole.
    fn items(&mut self, length: usize) -> Result<Option<Vec<Range>>, Malformed> {
        let mut items = Vec::new();
        let mut total = 0;
        for _ in 0..length {
            let Some((kind, line)) = self.line()? else { return Ok(None) };
            let length = number(&self.bytes[line])?;
            if kind != b'$' || length < 0 {
                return Err(Malformed("a list of something else than bulk strings"));
            }
            total += usize::try_from(length).unwrap_or(usize::MAX).min(BULK_BYTES_MAX + 1);
            if total > BULK_BYTES_MAX {
                return Err(Malformed("a list of too many bytes"));
            }
            let Some(Some(range)) = self.bulk(length)? else { return Ok(None) };
            items.push(range);
        }
        Ok(Some(items))
    }

    /// Returns the type and the text of the next line; `None` if it is not whole.
    fn line(&mut self) -> Result<Option<(u8, Range)>, Malformed> {
        let rest = &self.bytes[self.at..];
        let within = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
            if within.len() == LINE_BYTES_MAX {
                return Err(Malformed("a line that is too long"));
            }
            // What can be no value is known by its first byte.
            return match within.first() {
                Some(kind) if !b"+-:$*".contains(kind) => Err(Malformed("not the protocol of Redis")),
                _ => Ok(None),
            };
        };
        if end < 2 || rest[end - 1] != b'\r' {
            return Err(Malformed("a line without its type or its end"));
        }
        let line = self.at + 1..self.at + end - 1;
        let kind = rest[0];
        self.at += end + 1;
        Ok(Some((kind, line)))
    }

    /// Returns the bulk string of this length behind its line; `None` if it is not whole. A length of -1 is a value that there is not.
    fn bulk(&mut self, length: i64) -> Result<Option<Option<Range>>, Malformed> {
        if length == -1 {
            return Ok(Some(None));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= BULK_BYTES_MAX);
        let Some(length) = length else { return Err(Malformed("a bulk string that is too long")) };
        let rest = &self.bytes[self.at..];
        if rest.len() < length + 2 {
            return Ok(None);
        }
        if rest[length..length + 2] != *b"\r\n" {
            return Err(Malformed("a bulk string without its end"));
        }
        let range = self.at..self.at + length;
        self.at += length + 2;
        Ok(Some(Some(range)))
    }
}

/// Reads a number as Redis writes it.
fn number(text: &[u8]) -> Result<i64, Malformed> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let number = std::str::from_utf8(text).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    number.and_then(|text| text.parse().ok()).ok_or(Malformed("a number that is none"))
}

/// Returns the command of these parts.
pub(super) fn command(parts: &[&[u8]]) -> Bytes {
    let bytes = parts.iter().map(|part| part.len() + 24).sum::<usize>() + 24;
    let mut command = BytesMut::with_capacity(bytes);
    command.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        put_bulk(&mut command, part);
    }
    command.freeze()
}

/// Appends a bulk string.
pub(super) fn put_bulk(to: &mut BytesMut, bytes: &[u8]) {
    to.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    to.extend_from_slice(bytes);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all values in `bytes`, which arrive `cut` bytes at a time, or what is wrong with one of them.
    fn all(bytes: &[u8], cut: usize) -> Result<Vec<Value>, Malformed> {
        let mut arrived = BytesMut::new();
        let mut values = Vec::new();
        for piece in bytes.chunks(cut) {
            arrived.extend_from_slice(piece);
            while let Some(value) = take(&mut arrived, 8)? {
                values.push(value);
            }
        }
        assert!(arrived.is_empty(), "{arrived:?} is left");
        Ok(values)
    }

    #[test]
    fn values_arrive_in_pieces_of_any_size() {
        let mut bytes = b"+OK\r\n-ERR no\r\n:-12\r\n$-1\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n*0\r\n".to_vec();
        bytes.extend_from_slice(&command(&[b"SET", b"key", b"\r\n$3"]));
        let expected = [
            Value::Text(b"OK"[..].into()),
            Value::Error(b"ERR no"[..].into()),
            Value::Number(-12),
            Value::Bulk(None),
            Value::Bulk(Some(Bytes::new())),
            Value::Bulk(Some(b"a\r\nbc"[..].into())),
            Value::List(Vec::new()),
            Value::List(vec![b"SET"[..].into(), b"key"[..].into(), b"\r\n$3"[..].into()]),
        ];
        for cut in 1..=bytes.len() {
            assert_eq!(all(&bytes, cut).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn what_is_no_value_or_too_large_is_refused() {
        let long = [&b"+"[..], &[b'x'; LINE_BYTES_MAX]].concat();
        let too_large = format!("${}\r\n", BULK_BYTES_MAX + 1).into_bytes();
        let together = format!("*2\r\n${BULK_BYTES_MAX}\r\n").into_bytes();
        for wrong in [
            b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
            b"\r\n",
            b"+OK\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"$+1\r\n",
            b"$99999999999999999999\r\n",
            b"$1\r\nab\r\n",
            b"*9\r\n",
            b"*-1\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            &long,
            &too_large,
        ] {
            assert!(all(wrong, wrong.len()).is_err(), "{:?}", &wrong[..wrong.len().min(40)]);
        }
        let mut arrived = BytesMut::from(&together[..]);
        assert_eq!(take(&mut arrived, 8), Ok(None), "what is announced uses no memory");
        let mut more = BytesMut::from(&b"*2\r\n$1\r\na\r\n"[..]);
        more.extend_from_slice(format!("${BULK_BYTES_MAX}\r\n").as_bytes());
        assert!(take(&mut more, 8).is_err());
    }

    proptest! {
        /// Whatever arrives, and wherever it is cut off, is read within bounds and without a panic.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'$'), Just(b'*'), Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'1'), any::<u8>(),
            ], 0..60),
        ) {
            let mut arrived = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut arrived, 4) {}
            prop_assert!(arrived.len() <= bytes.len());
        }

        #[test]
        fn a_command_that_is_cut_off_is_no_value(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5), cut in 0..100_usize) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let whole = command(&parts);
            let mut arrived = BytesMut::from(&whole[..cut.min(whole.len() - 1)]);
            prop_assert_eq!(take(&mut arrived, 8), Ok(None));
        }
    }
}
