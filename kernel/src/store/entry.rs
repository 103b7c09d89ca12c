//! The value that is stored for an answer, and its key.
//!
//! A value begins with four bytes that name the format. Then come the time at which the answer arrived, in nanoseconds of the run, the
//! headers, the trailers, and the bytes of the body. Anything else is no answer.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::{grpc::Reply, policy::CacheKey, time::Instant};

const FORMAT: &[u8; 4] = b"RHA1";

/// The most headers of an answer that is stored.
const HEADERS_MAX: usize = 1_000;

/// The mark of a reply without trailers.
const NO_TRAILERS: u16 = u16::MAX;

/// An answer, and the time at which it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) arrived: Instant,
    pub(crate) reply: Reply,
}

/// Returns the key of the answers to what `key` asks, behind `prefix`.
pub(super) fn key(prefix: &str, key: &CacheKey) -> String {
    let mut hash = Sha256::new();
    hash.update((key.path.len() as u64).to_be_bytes());
    hash.update(&key.path);
    key.numbers.iter().for_each(|number| hash.update(number.to_be_bytes()));
    hash.update(&key.bytes);
    let digest = hash.finalize();
    let mut text = String::with_capacity(prefix.len() + 2 * digest.len());
    text.push_str(prefix);
    digest.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text
}

/// Writes an answer. Returns `None` if it must not be stored: its headers are too many, or beyond what the format has room for.
pub(super) fn write(entry: &Entry) -> Option<Bytes> {
    let (headers, trailers, body) = entry.reply.clone().into_parts();
    let mut bytes = BytesMut::with_capacity(body.len() + 256);
    bytes.put_slice(FORMAT);
    bytes.put_u64(entry.arrived.as_nanos());
    put_headers(&mut bytes, Some(&headers))?;
    put_headers(&mut bytes, trailers.as_ref())?;
    bytes.put_slice(&body);
    Some(bytes.freeze())
}

fn put_headers(to: &mut BytesMut, headers: Option<&HeaderMap>) -> Option<()> {
    let Some(headers) = headers else {
        to.put_u16(NO_TRAILERS);
        return Some(());
    };
    to.put_u16(u16::try_from(headers.len()).ok().filter(|count| usize::from(*count) <= HEADERS_MAX)?);
    for (name, value) in headers {
        to.put_u16(u16::try_from(name.as_str().len()).ok()?);
        to.put_slice(name.as_str().as_bytes());
        to.put_u32(u32::try_from(value.len()).ok()?);
        to.put_slice(value.as_bytes());
    }
    Some(())
}

/// Reads an answer; `None` if the bytes are none.
pub(super) fn read(mut bytes: Bytes) -> Option<Entry> {
    if take(&mut bytes, FORMAT.len())? != FORMAT[..] {
        return None;
    }
    let arrived = Instant::from_nanos(bytes.try_get_u64().ok()?);
    let headers = take_headers(&mut bytes)??;
    let trailers = take_headers(&mut bytes)?;
    Some(Entry { arrived, reply: Reply::from_parts(headers, trailers, bytes)? })
}

/// Takes headers, or the mark that there are none; `None` if there is neither.
fn take_headers(bytes: &mut Bytes) -> Option<Option<HeaderMap>> {
    let count = bytes.try_get_u16().ok()?;
    if count == NO_TRAILERS {
        return Some(None);
    }
    if usize::from(count) > HEADERS_MAX {
        return None;
    }
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let length = usize::from(bytes.try_get_u16().ok()?);
        let name = HeaderName::from_bytes(&take(bytes, length)?).ok()?;
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        headers.append(name, HeaderValue::from_bytes(&take(bytes, length)?).ok()?);
    }
    Some(Some(headers))
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::rehearsal::GetDataReply;

    fn entry() -> Entry {
        let reply = Reply::of_message(&GetDataReply { data: b"data".to_vec().into(), served_by: None });
        let (mut headers, trailers, body) = reply.into_parts();
        headers.append("color", HeaderValue::from_static("green"));
        headers.append("color", HeaderValue::from_bytes(b"\xff").unwrap());
        let reply = Reply::from_parts(headers, trailers, body).unwrap();
        Entry { arrived: Instant::from_nanos(1_234_567_891), reply }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written_and_cut_off_it_is_none() {
        let entry = entry();
        let bytes = write(&entry).unwrap();
        assert_eq!(read(bytes.clone()), Some(entry));
        for cut in 0..bytes.len() {
            assert_eq!(read(bytes.slice(..cut)), None, "{cut}");
        }
        assert_eq!(read(Bytes::from_static(b"a value of another program")), None);
    }

    #[test]
    fn keys_differ_where_what_is_asked_differs() {
        let asked = CacheKey { path: b"/a/b"[..].into(), numbers: [0; 4], bytes: b"c"[..].into() };
        let others = [
            CacheKey { path: b"/a/"[..].into(), bytes: b"bc"[..].into(), ..asked.clone() },
            CacheKey { numbers: [0, 0, 0, 1], ..asked.clone() },
            CacheKey { bytes: b"d"[..].into(), ..asked.clone() },
        ];
        let own = key("run:", &asked);
        assert_eq!((own.len(), &own[..4]), (4 + 64, "run:"));
        assert!(others.iter().all(|other| key("run:", other) != own) && key("run2:", &asked) != own);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80), has_format: bool) {
            let format = if has_format { &FORMAT[..] } else { &[] };
            read([format, &bytes].concat().into());
        }

        /// A value in which a byte was changed may be another answer, and is read within bounds.
        #[test]
        fn a_changed_byte_is_read_within_bounds(at in any::<prop::sample::Index>(), byte: u8) {
            let mut bytes = write(&entry()).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            read(bytes.into());
        }
    }
}
