use std::{collections::VecDeque, future::poll_fn};

use futures_util::FutureExt;
use proptest::{collection::vec, prelude::*};

use super::*;

/// A connection on which these chunks have arrived, and nothing follows.
struct Arrived(VecDeque<Bytes>);

impl Stream for Arrived {
    fn poll_read_chunk(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        Poll::Ready(Ok(self.0.pop_front().unwrap_or_default()))
    }

    fn poll_write_chunk(&mut self, _: &mut Context<'_>, chunk: &mut Bytes) -> Poll<io::Result<()>> {
        chunk.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Arrived {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(chunk) = self.0.front_mut() {
            buf.put_slice(&chunk.split_to(chunk.len().min(buf.remaining())));
            self.0.retain(|chunk| !chunk.is_empty());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Arrived {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The start of a connection with a request, whose authority is `authority`, and with data.
fn sent(authority: &[u8]) -> Vec<u8> {
    let block = [b"\x83\x86\x41", &[authority.len() as u8][..], authority, b"\x84"].concat();
    let headers = [&[0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1], &block[..]].concat();
    let data = [&[0, 1, 0, 0, 1, 0, 0, 0, 1][..], &[7; 256]].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &headers[..], &data, &headers].concat()
}

fn arrived(bytes: &[u8], size: usize) -> AnyAuthority<Arrived> {
    AnyAuthority::new(Arrived(bytes.chunks(size).map(Bytes::copy_from_slice).collect()))
}

/// Reads everything, in slices of at most `room` bytes.
fn read_slices(mut stream: AnyAuthority<Arrived>, room: usize) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let mut slice = vec![0; room];
        let mut buf = ReadBuf::new(&mut slice);
        poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf)).now_or_never().unwrap().unwrap();
        if buf.filled().is_empty() {
            return read;
        }
        read.extend_from_slice(buf.filled());
    }
}

/// Reads everything, in chunks.
fn read_chunks(mut stream: AnyAuthority<Arrived>) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let chunk = poll_fn(|cx| stream.poll_read_chunk(cx)).now_or_never().unwrap().unwrap();
        if chunk.is_empty() {
            return read;
        }
        read.extend_from_slice(&chunk);
    }
}

#[test]
fn slices_and_chunks_have_the_same_bytes() {
    let wrong = sent(b"127.0.0.1:1,127.0.0.1:2");
    let right = sent(b"127.0.0.1.1.127.0.0.1.2");
    for size in 1..=wrong.len() {
        assert_eq!(read_chunks(arrived(&wrong, size)), right, "{size}");
        for room in [1, 2, 40, 1_000] {
            assert_eq!(read_slices(arrived(&wrong, size), room), right, "{size} {room}");
        }
    }
}

#[test]
fn what_is_held_back_when_a_connection_ends_is_read_before_its_end() {
    let wrong = sent(b"127.0.0.1:1,127.0.0.1:2");
    for end in 0..60 {
        assert_eq!(read_chunks(arrived(&wrong[..end], 7)), &wrong[..end]);
        assert_eq!(read_slices(arrived(&wrong[..end], 7), 5), &wrong[..end]);
    }
}

#[test]
fn a_slice_without_room_reads_nothing() {
    let bytes = sent(b"a,b:c:d");
    // Within the header of a frame.
    let mut stream = arrived(&bytes, 27);
    let mut slice = [0; 100];
    let mut buf = ReadBuf::new(&mut slice);
    let mut none = ReadBuf::new(&mut []);
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf)).now_or_never().unwrap().unwrap();
    poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut none)).now_or_never().unwrap().unwrap();
    assert_eq!(buf.filled(), &bytes[..24]);
    assert_eq!(read_slices(stream, 50), &sent(b"a.b.c.d")[24..]);
}

proptest! {
    #[test]
    fn any_bytes_can_be_read_either_way(bytes in vec(any::<u8>(), 0..500), size in 1..100_usize, room in 1..100_usize) {
        prop_assert_eq!(read_slices(arrived(&bytes, size), room), read_chunks(arrived(&bytes, size)));
    }
}
