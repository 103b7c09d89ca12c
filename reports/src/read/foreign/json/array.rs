//! The elements of an array, one after another.

use std::{io::Read, ops::Range};

use kernel::run_folder::blocks::LINE_MAX;
use memchr::{memchr_iter, memchr2, memchr3};

use crate::read::{
    ReadError,
    foreign::{
        log::{LineError, Log},
        source::SourceBytes,
    },
};

/// Elements of an array, one behind the other.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    /// The number of the line that each begins in, and its place in the text.
    pub(super) elements: Vec<(u64, Range<usize>)>,
}

impl Batch {
    pub(super) fn add(&mut self, element: &Element) {
        let start = self.text.len();
        self.text.extend_from_slice(&element.text);
        self.elements.push((element.line as u64, start..self.text.len()));
    }
}

/// An element of an array, and the number of the line that it begins in.
pub(super) struct Element {
    text: Vec<u8>,
    line: usize,
}

/// The elements of an array, as text.
pub(super) struct Elements<'a> {
    input: SourceBytes<'a>,
    buffer: Vec<u8>,
    at: usize,
    pub(super) line: usize,
    /// The memory of the last element.
    text: Vec<u8>,
}

/// The reason why there is no next element.
pub(super) enum ArrayError {
    /// The document ends in the middle.
    End,
    /// An element is too long.
    Long,
    /// There is something that is no array.
    Format(&'static str),
    Io(std::io::Error),
}

impl<'a> Elements<'a> {
    pub(super) fn new(input: SourceBytes<'a>) -> Self {
        Self { input, buffer: Vec::new(), at: 0, line: 1, text: Vec::new() }
    }

    pub(super) fn refused(&self, log: &Log<'_>, error: ArrayError) -> ReadError {
        match error {
            ArrayError::Io(error) => ReadError::unreadable(log.path)(error),
            ArrayError::Long => log.refused(self.line, LineError::Long),
            ArrayError::End => log.content("it ends in the middle of the document".to_owned()),
            ArrayError::Format(reason) => log.refused(self.line, LineError::Format(reason.to_owned())),
        }
    }

    /// Returns the next byte without taking it.
    fn peek(&mut self) -> Result<u8, ArrayError> {
        if self.at == self.buffer.len() {
            self.buffer.resize(1 << 18, 0);
            let read = self.input.read(&mut self.buffer).map_err(ArrayError::Io)?;
            self.buffer.truncate(read);
            self.at = 0;
        }
        self.buffer.get(self.at).copied().ok_or(ArrayError::End)
    }

    fn take(&mut self) -> Result<u8, ArrayError> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Ok(byte)
    }

    /// Returns the next byte that is no white space, or part of a byte order mark, without taking it.
    fn peek_token(&mut self) -> Result<u8, ArrayError> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf) {
            self.take()?;
        }
        self.peek()
    }

    fn expect(&mut self, wanted: u8, reason: &'static str) -> Result<(), ArrayError> {
        if self.peek_token()? != wanted {
            return Err(ArrayError::Format(reason));
        }
        self.take().map(drop)
    }

    /// Goes to the first element; false if the document has no such array, or null in its place.
    pub(super) fn find(&mut self, key: Option<&str>) -> Result<bool, ArrayError> {
        if let Some(key) = key {
            self.expect(b'{', "it is no JSON object")?;
            loop {
                match self.peek_token()? {
                    b'}' => return Ok(false),
                    b',' => self.take().map(drop)?,
                    _ => {
                        let name = self.value()?.text;
                        let is_it =
                            name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) == Some(key.as_bytes());
                        self.text = name;
                        self.expect(b':', "an object has no colon behind a name")?;
                        if is_it {
                            break;
                        }
                        self.text = self.value()?.text;
                    }
                }
            }
            if self.peek_token()? == b'n' {
                return Ok(false);
            }
        }
        self.expect(b'[', "it is no JSON array").map(|()| true)
    }

    /// Takes the next element.
    pub(super) fn next(&mut self) -> Result<Option<Element>, ArrayError> {
        loop {
            match self.peek_token()? {
                b']' => return Ok(None),
                b',' => self.take().map(drop)?,
                _ => return self.value().map(Some),
            }
        }
    }

    /// Takes the bytes before the next one that may begin or end something, as far as they are in memory.
    fn take_run(&mut self, is_quoted: bool, text: &mut Vec<u8>) {
        let rest = &self.buffer[self.at..];
        let length = if is_quoted {
            memchr3(b'"', b'\\', b'\n', rest)
        } else {
            rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':' | b'\\' | b'\n'))
        };
        let run = &rest[..length.unwrap_or(rest.len())];
        text.extend_from_slice(run);
        self.at += run.len();
    }

    /// Takes a value, whatever it is. That it is correct is for its parser to find.
    fn value(&mut self) -> Result<Element, ArrayError> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.peek_token()?;
        let line = self.line;
        if let Some(length) = whole(&self.buffer[self.at..]) {
            let value = &self.buffer[self.at..self.at + length];
            text.extend_from_slice(value);
            self.line += memchr_iter(b'\n', value).count();
            self.at += length;
            return Ok(Element { text, line });
        }
        let mut depth = 0_usize;
        let mut is_quoted = false;
        loop {
            self.peek()?;
            self.take_run(is_quoted, &mut text);
            let byte = self.peek()?;
            if !is_quoted && depth == 0 && !text.is_empty() && matches!(byte, b',' | b']' | b'}' | b':' | b'\n') {
                break;
            }
            self.take()?;
            text.push(byte);
            if text.len() > LINE_MAX {
                return Err(ArrayError::Long);
            }
            match byte {
                b'\\' if is_quoted => text.push(self.take()?),
                b'"' => is_quoted = !is_quoted,
                b'{' | b'[' if !is_quoted => depth += 1,
                b'}' | b']' if !is_quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            let is_closed = !is_quoted && depth == 0 && matches!(byte, b'}' | b']' | b'"');
            if is_closed {
                break;
            }
        }
        Ok(Element { text, line })
    }

    /// Takes the memory of an element for the next one.
    pub(super) fn give_back(&mut self, element: Element) {
        self.text = element.text;
    }
}

/// Returns the length of the object or array at the beginning of `text`; `None` if it is something else, or not whole.
fn whole(text: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => {
                at += 1;
                loop {
                    at += memchr2(b'"', b'\\', text.get(at..)?)?;
                    if text[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        if depth == 0 {
            return None;
        }
        at += 1;
    }
}
