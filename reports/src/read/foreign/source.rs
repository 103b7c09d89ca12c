//! The bytes of a log as UTF-8: decompressed, and without the encodings of other systems.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use flate2::read::MultiGzDecoder;
use kernel::input;

use super::super::ReadError;

/// The bytes of a log that can be passed over any number of times.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: File,
    /// The length of the log when it was opened. What is written behind it meanwhile is not read.
    pub(super) length: u64,
}

/// The formats that a log may be in but that are not read: their first bytes, their names, and the remedy.
const OTHERS: [(&[u8], &str, &str); 6] = [
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it first: zstd -d FILE"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it first: xz -dk FILE"),
    (b"BZh", "compressed with bzip2", "decompress it first: bunzip2 -k FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"PAR1", "in the format Parquet", "write it as CSV with a header line, or as JSON lines"),
    (b"\x7fELF", "a program", "name a log of requests"),
];

impl Source {
    /// Opens the log at `path`. One that is compressed with gzip or encoded in UTF-16 is written as UTF-8 to a temporary
    /// file without a name, as it is read more than once.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or is in another binary format.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let file = input::open_file(path).map_err(ReadError::unreadable(path))?;
        let length = file.metadata().map_err(ReadError::unreadable(path))?.len();
        let mut source = Self { file, length };
        if source.start(path)?.starts_with(b"\x1f\x8b") {
            let input = BufReader::with_capacity(BUFFER, source.bytes());
            source = rewritten(path, "it is compressed with gzip and damaged", MultiGzDecoder::new(input), copy)?;
        }
        let start = source.start(path)?;
        if let Some((_, what, remedy)) = OTHERS.iter().find(|(magic, ..)| start.starts_with(magic)) {
            return Err(ReadError::Content { path: path.to_owned(), reason: format!("it is {what}; {remedy}") });
        }
        let unit: Option<fn([u8; 2]) -> u16> = match start.as_slice() {
            [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
            [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
            _ => None,
        };
        if let Some(unit) = unit {
            let input = BufReader::with_capacity(BUFFER, source.bytes());
            source =
                rewritten(path, "it is in UTF-16 and damaged", input, |input, output| transcode(input, output, unit))?;
        }
        Ok(source)
    }

    /// Returns the bytes from the beginning.
    pub(super) fn bytes(&self) -> SourceBytes<'_> {
        self.bytes_from(0)
    }

    /// Returns the bytes from the position `at` on.
    pub(super) fn bytes_from(&self, at: u64) -> SourceBytes<'_> {
        SourceBytes { file: &self.file, at, end: self.length }
    }

    fn start(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let mut start = Vec::new();
        self.bytes().take(8).read_to_end(&mut start).map_err(ReadError::unreadable(path))?;
        Ok(start)
    }
}

/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 16;

/// Returns what `write` makes of an input, in a temporary file.
fn rewritten<R: Read>(
    path: &Path,
    damaged: &str,
    input: R,
    write: impl FnOnce(R, &mut BufWriter<File>) -> io::Result<()>,
) -> Result<Source, ReadError> {
    let temporary = |error: io::Error| ReadError::Content {
        path: path.to_owned(),
        reason: format!(
            "what it holds cannot be written to the folder for temporary files, which TMPDIR names: {error}"
        ),
    };
    let mut output = BufWriter::with_capacity(BUFFER, tempfile::tempfile().map_err(temporary)?);
    write(input, &mut output).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => temporary(error),
        _ => ReadError::Content { path: path.to_owned(), reason: format!("{damaged}: {error}") },
    })?;
    let mut file = output.into_inner().map_err(|error| temporary(error.into_error()))?;
    let length = file.stream_position().map_err(temporary)?;
    Ok(Source { file, length })
}

fn copy(mut input: impl Read, output: &mut BufWriter<File>) -> io::Result<()> {
    io::copy(&mut input, output).map(drop)
}

/// Writes text in UTF-16 as UTF-8. What is no character becomes the replacement character, which no field takes.
fn transcode(input: BufReader<impl Read>, output: &mut BufWriter<File>, unit: fn([u8; 2]) -> u16) -> io::Result<()> {
    let mut bytes = input.bytes();
    let mut failure = None;
    let units = std::iter::from_fn(|| {
        let pair = [bytes.next()?, bytes.next()?];
        match pair {
            [Ok(first), Ok(second)] => Some(unit([first, second])),
            [Err(error), _] | [_, Err(error)] => {
                failure = Some(error);
                None
            }
        }
    });
    let mut buffer = [0; 4];
    for character in char::decode_utf16(units) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        output.write_all(character.encode_utf8(&mut buffer).as_bytes())?;
    }
    failure.map_or(Ok(()), Err)
}

/// The bytes of a log up to its length. Each pass has a position of its own.
#[derive(Debug)]
pub(super) struct SourceBytes<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for SourceBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.end.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
