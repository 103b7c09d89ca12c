//! How a row becomes a few bytes and comes back.
//!
//! Numbers are differences to those of the row before, as rows are in the order of time or of ids. A text is written once
//! in a chunk and then named by its position in the chunk's list of texts.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use kernel::{
    record::{Answer, AttemptRow, Event, EventRow, Name, RequestRow, StreamFigures},
    status::{Code, Outcome},
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};

/// The number of texts that are compared one by one before they are looked up.
const COMMON: usize = 8;

/// Writes rows.
#[derive(Debug, Default)]
pub struct Packer {
    pub(super) bytes: Vec<u8>,
    texts: Vec<Name>,
    places: BTreeMap<Name, usize>,
}

/// Reads rows.
#[derive(Debug)]
pub struct Unpacker<'a> {
    bytes: Cow<'a, [u8]>,
    at: usize,
    texts: Vec<Name>,
    /// The event that each text names, as far as it was needed.
    events: Vec<Option<Event>>,
}

/// A kind of row that can be packed.
pub trait PackedRow: Sized {
    /// The numbers of the row before.
    type Before: Default;

    /// Returns a row to unpack into.
    fn blank() -> Self;

    /// Writes the row.
    fn pack(&self, before: &mut Self::Before, to: &mut Packer);

    /// Reads the next row into this one, whose memory is used again.
    fn unpack(&mut self, before: &mut Self::Before, from: &mut Unpacker<'_>);
}

impl Packer {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.texts.clear();
        self.places.clear();
    }

    /// Writes seven digits a byte, the lowest first; all bytes but the last have their highest digit set.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Writes a difference, the sign in the lowest digit. Any two numbers have one: it wraps around.
    fn difference(&mut self, from: u64, to: u64) {
        let difference = to.wrapping_sub(from) as i64;
        self.number(((difference << 1) ^ (difference >> 63)) as u64);
    }

    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return self.number(0) };
        // Servers and causes are few; only sizes may be many.
        let common = self.texts.iter().take(COMMON).position(|known| known.as_str() == text);
        match common.or_else(|| self.places.get(&Name::from(text)).copied()) {
            Some(place) => self.number(place as u64 + 1),
            None => {
                self.number(self.texts.len() as u64 + 1);
                self.number(text.len() as u64);
                self.bytes.extend_from_slice(text.as_bytes());
                if self.texts.len() >= COMMON {
                    self.places.insert(text.into(), self.texts.len());
                }
                self.texts.push(text.into());
            }
        }
    }
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(bytes: Cow<'a, [u8]>) -> Self {
        Self { bytes, at: 0, texts: Vec::new(), events: Vec::new() }
    }

    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn number(&mut self) -> u64 {
        let bytes = &self.bytes[self.at..];
        let mut number = 0;
        for (index, byte) in bytes.iter().enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.at += index + 1;
                break;
            }
        }
        number
    }

    /// Returns the number after a byte that is not 0; `None` after a 0.
    fn optional_number(&mut self) -> Option<u64> {
        (self.byte() != 0).then(|| self.number())
    }

    fn count(&mut self) -> u32 {
        self.number() as u32
    }

    fn difference(&mut self, from: u64) -> u64 {
        let number = self.number();
        from.wrapping_add((number >> 1) ^ (number & 1).wrapping_neg())
    }

    /// Returns the place of a text in `texts`.
    fn place(&mut self) -> Option<usize> {
        let place = (self.number() as usize).checked_sub(1)?;
        if place == self.texts.len() {
            let length = self.number() as usize;
            let text = String::from_utf8_lossy(&self.bytes[self.at..self.at + length]);
            self.texts.push(text.as_ref().into());
            self.at += length;
        }
        Some(place)
    }

    fn text(&mut self) -> Option<Name> {
        self.place().map(|place| self.texts[place].clone())
    }

    /// Reads a text into `name`, which most often has it already.
    fn name(&mut self, name: &mut Option<Name>) {
        let text = self.place().map(|place| &self.texts[place]);
        if name.as_deref() != text.map(|text| &**text) {
            *name = text.cloned();
        }
    }

    /// Reads a text into `owned`, which most often has it already.
    fn string(&mut self, owned: &mut String) -> bool {
        let text = self.place().map(|place| self.texts[place].as_str());
        if text != Some(owned.as_str()) {
            owned.clear();
            owned.push_str(text.unwrap_or_default());
        }
        text.is_some()
    }

    fn event(&mut self) -> Event {
        let place = self.place().unwrap_or_default();
        self.events.resize(self.texts.len(), None);
        *self.events[place].get_or_insert_with(|| {
            let name: value::StrDeserializer<'_, value::Error> = self.texts[place].as_str().into_deserializer();
            Event::deserialize(name).expect("it is the name of an event, as it was packed from one")
        })
    }
}

/// The codes by their numbers.
static CODES: LazyLock<Vec<Code>> = LazyLock::new(|| Code::names().filter_map(|name| name.parse().ok()).collect());

/// The number of a dropped request, behind those of the codes.
const DROPPED: u8 = 30;

/// The number of a degraded answer.
const DEGRADED: u8 = 31;

const HAS_SENT: u8 = 1 << 5;
const HAS_DONE: u8 = 1 << 6;
const HAS_LATENCY: u8 = 1 << 7;

/// A flag in the byte of the status of an attempt.
const HAS_COMMITTED: u8 = 1 << 5;

/// The flags of a byte for parts that most requests do not have.
const HAS_KIND: u8 = 1 << 4;
const HAS_USER: u8 = 1 << 5;
const HAS_STREAM: u8 = 1 << 6;

/// The numbers of a request.
#[derive(Debug, Default)]
pub struct BeforeRequest {
    id: u64,
    intended_us: u64,
}

impl PackedRow for RequestRow {
    type Before = BeforeRequest;

    fn blank() -> Self {
        Self {
            id: 0,
            intended_us: 0,
            sent_us: None,
            done_us: None,
            latency_us: None,
            status: Outcome::OK,
            server: None,
            attempts: 0,
            failovers: 0,
            size: String::new(),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
        }
    }

    fn pack(&self, before: &mut BeforeRequest, to: &mut Packer) {
        let status = match self.status {
            Outcome::Status(code) => code as u8,
            Outcome::Dropped => DROPPED,
            Outcome::Degraded => DEGRADED,
        };
        let present = [(HAS_SENT, self.sent_us), (HAS_DONE, self.done_us), (HAS_LATENCY, self.latency_us)];
        to.bytes.push(present.iter().filter(|(_, time)| time.is_some()).fold(status, |byte, (flag, _)| byte | flag));
        to.difference(before.id.wrapping_add(1), self.id);
        to.difference(before.intended_us, self.intended_us);
        let sent_us = self.sent_us.unwrap_or(self.intended_us);
        let done_us = self.done_us.unwrap_or(sent_us);
        if self.sent_us.is_some() {
            to.difference(self.intended_us, sent_us);
        }
        if self.done_us.is_some() {
            to.difference(sent_us, done_us);
        }
        if let Some(latency_us) = self.latency_us {
            to.difference(done_us.wrapping_sub(self.intended_us), latency_us);
        }
        for count in [self.attempts, self.failovers, self.hedges] {
            to.number(count.into());
        }
        let has_kind = if self.kind.is_some() { HAS_KIND } else { 0 };
        let has_user = if self.user.is_some() { HAS_USER } else { 0 };
        let has_stream = if self.stream.is_some() { HAS_STREAM } else { 0 };
        to.bytes.push(u8::from(self.rejected) | answer_number(self.answer) << 1 | has_kind | has_user | has_stream);
        to.text(self.server.as_deref());
        to.text(Some(&self.size));
        if self.kind.is_some() {
            to.text(self.kind.as_deref());
        }
        if let Some(user) = self.user {
            to.number(user.into());
        }
        if let Some(stream) = &self.stream {
            stream.pack(to);
        }
        *before = BeforeRequest { id: self.id, intended_us: self.intended_us };
    }

    fn unpack(&mut self, before: &mut BeforeRequest, from: &mut Unpacker<'_>) {
        let flags = from.byte();
        self.status = match flags & 0x1f {
            DROPPED => Outcome::Dropped,
            DEGRADED => Outcome::Degraded,
            code => Outcome::Status(CODES[usize::from(code)]),
        };
        self.id = from.difference(before.id.wrapping_add(1));
        self.intended_us = from.difference(before.intended_us);
        self.sent_us = (flags & HAS_SENT != 0).then(|| from.difference(self.intended_us));
        let sent_us = self.sent_us.unwrap_or(self.intended_us);
        self.done_us = (flags & HAS_DONE != 0).then(|| from.difference(sent_us));
        let usual_us = self.done_us.unwrap_or(sent_us).wrapping_sub(self.intended_us);
        self.latency_us = (flags & HAS_LATENCY != 0).then(|| from.difference(usual_us));
        for count in [&mut self.attempts, &mut self.failovers, &mut self.hedges] {
            *count = from.count();
        }
        let rest = from.byte();
        self.rejected = rest & 1 != 0;
        self.answer = answer_of(rest >> 1 & 7);
        from.name(&mut self.server);
        from.string(&mut self.size);
        if rest & HAS_KIND != 0 {
            from.name(&mut self.kind);
        } else {
            self.kind = None;
        }
        self.user = (rest & HAS_USER != 0).then(|| from.count());
        self.stream = (rest & HAS_STREAM != 0).then(|| StreamFigures::unpack(from));
        *before = BeforeRequest { id: self.id, intended_us: self.intended_us };
    }
}

/// Figures of a stream, packed without regard to the row before.
trait PackedFigures {
    fn pack(&self, to: &mut Packer);

    fn unpack(from: &mut Unpacker<'_>) -> Self;
}

impl PackedFigures for StreamFigures {
    fn pack(&self, to: &mut Packer) {
        to.number(self.messages);
        for figure in [self.first_us, self.gap_us, self.lost] {
            to.bytes.push(u8::from(figure.is_some()));
            figure.into_iter().for_each(|figure| to.number(figure));
        }
    }

    fn unpack(from: &mut Unpacker<'_>) -> Self {
        let messages = from.number();
        let first_us = from.optional_number();
        let gap_us = from.optional_number();
        let lost = from.optional_number();
        Self { messages, first_us, gap_us, lost }
    }
}

fn answer_number(answer: Option<Answer>) -> u8 {
    match answer {
        None => 0,
        Some(Answer::Cached) => 1,
        Some(Answer::Stale) => 2,
        Some(Answer::Fallback) => 3,
        Some(Answer::OwnStack) => 4,
        Some(Answer::Partial) => 5,
    }
}

fn answer_of(number: u8) -> Option<Answer> {
    let answers = [Answer::Cached, Answer::Stale, Answer::Fallback, Answer::OwnStack, Answer::Partial];
    usize::from(number).checked_sub(1).and_then(|at| answers.get(at).copied())
}

/// The numbers of an attempt.
#[derive(Debug, Default)]
pub struct BeforeAttempt {
    request: u64,
    start_us: u64,
}

impl PackedRow for AttemptRow {
    type Before = BeforeAttempt;

    fn blank() -> Self {
        Self {
            request: 0,
            attempt: 0,
            server: "".into(),
            start_us: 0,
            end_us: 0,
            status: Code::Ok,
            cause: None,
            committed_us: None,
        }
    }

    fn pack(&self, before: &mut BeforeAttempt, to: &mut Packer) {
        let has_committed = if self.committed_us.is_some() { HAS_COMMITTED } else { 0 };
        to.bytes.push(self.status as u8 | has_committed);
        to.difference(before.request, self.request);
        to.number(self.attempt.into());
        to.difference(before.start_us, self.start_us);
        to.difference(self.start_us, self.end_us);
        to.text(Some(&self.server));
        to.text(self.cause.as_deref());
        if let Some(committed_us) = self.committed_us {
            to.difference(self.start_us, committed_us);
        }
        *before = BeforeAttempt { request: self.request, start_us: self.start_us };
    }

    fn unpack(&mut self, before: &mut BeforeAttempt, from: &mut Unpacker<'_>) {
        let flags = from.byte();
        self.status = CODES[usize::from(flags & 0x1f)];
        self.request = from.difference(before.request);
        self.attempt = from.count();
        self.start_us = from.difference(before.start_us);
        self.end_us = from.difference(self.start_us);
        if let Some(server) = from.text() {
            self.server = server;
        }
        unpack_cause(&mut self.cause, from);
        self.committed_us = (flags & HAS_COMMITTED != 0).then(|| from.difference(self.start_us));
        *before = BeforeAttempt { request: self.request, start_us: self.start_us };
    }
}

/// Reads a text that may be missing. Most rows have no cause.
fn unpack_cause(cause: &mut Option<String>, from: &mut Unpacker<'_>) {
    let mut text = cause.take().unwrap_or_default();
    *cause = from.string(&mut text).then_some(text);
}

const HAS_FAULT: u8 = 1;
const HAS_REQUEST: u8 = 1 << 1;
const HAS_ATTEMPT: u8 = 1 << 2;
const HAS_DURATION: u8 = 1 << 3;
const HAS_CALL: u8 = 1 << 4;

/// The numbers of an event.
#[derive(Debug, Default)]
pub struct BeforeEvent {
    at_us: u64,
    request: u64,
}

impl PackedRow for EventRow {
    type Before = BeforeEvent;

    fn blank() -> Self {
        Self {
            at_us: 0,
            source: "".into(),
            event: Event::Idle,
            target: None,
            cause: None,
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    fn pack(&self, before: &mut BeforeEvent, to: &mut Packer) {
        let present = [
            (HAS_FAULT, self.fault.is_some()),
            (HAS_REQUEST, self.request.is_some()),
            (HAS_ATTEMPT, self.attempt.is_some()),
            (HAS_DURATION, self.duration_us.is_some()),
            (HAS_CALL, self.call.is_some()),
        ];
        to.bytes.push(present.iter().filter(|(_, is_there)| *is_there).fold(0, |byte, (flag, _)| byte | flag));
        to.difference(before.at_us, self.at_us);
        to.text(Some(self.event.into()));
        to.text(Some(&self.source));
        to.text(self.target.as_deref());
        to.text(self.cause.as_deref());
        if let Some(request) = self.request {
            to.difference(before.request, request);
        }
        let rest = [self.fault.map(|fault| fault as u64), self.attempt.map(u64::from), self.duration_us, self.call];
        rest.into_iter().flatten().for_each(|number| to.number(number));
        *before = BeforeEvent { at_us: self.at_us, request: self.request.unwrap_or(before.request) };
    }

    fn unpack(&mut self, before: &mut BeforeEvent, from: &mut Unpacker<'_>) {
        let flags = from.byte();
        self.at_us = from.difference(before.at_us);
        self.event = from.event();
        if let Some(source) = from.text() {
            self.source = source;
        }
        self.target = from.text();
        unpack_cause(&mut self.cause, from);
        self.request = (flags & HAS_REQUEST != 0).then(|| from.difference(before.request));
        self.fault = (flags & HAS_FAULT != 0).then(|| from.number() as usize);
        self.attempt = (flags & HAS_ATTEMPT != 0).then(|| from.count());
        self.duration_us = (flags & HAS_DURATION != 0).then(|| from.number());
        self.call = (flags & HAS_CALL != 0).then(|| from.number());
        *before = BeforeEvent { at_us: self.at_us, request: self.request.unwrap_or(before.request) };
    }
}
