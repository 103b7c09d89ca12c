//! proto3's JSON, read as gRPC's clients read it: every mistake has its place in the document, and what gRPC says of it.
//!
//! `null` is as if the field were not there, numbers may be strings, and fields may have their name in the proto file
//! (`max_attempts`). A field that gRPC does not know is ignored, with a note. Where only some of gRPC's implementations read a
//! spelling, it is read, with a note that says which do not.

use std::{cell::RefCell, fmt, ops::RangeInclusive, time::Duration};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{settings::limits, status::Code, visible::Visible};

/// The most notes that are kept of one document.
const NOTES_MAX: usize = 20;

/// The most characters of a value that a message shows.
const SHOWN_MAX: usize = 80;

/// The most characters of a note, which quotes names of the file.
const NOTE_MAX: usize = 600;

/// The longest duration that proto3 has, in seconds: about 10,000 years.
const SECONDS_MAX: u64 = 315_576_000_000;

/// A mistake in the document, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

/// A document whose objects have each field once: gRPC refuses another one.
pub(super) struct Document(pub(super) Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor).map(Self)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Document(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate key \"{name}\"")));
            }
            fields.insert(name, object.next_value::<Document>()?.0);
        }
        Ok(fields.into())
    }
}

/// Sentences about a document that is valid.
#[derive(Debug, Default)]
pub(super) struct Notes {
    kept: RefCell<Vec<String>>,
}

impl Notes {
    pub(super) fn add(&self, note: &str) {
        let note = note.visible_within(NOTE_MAX).to_string();
        let mut kept = self.kept.borrow_mut();
        if kept.len() <= NOTES_MAX && !kept.contains(&note) {
            kept.push(note);
        }
    }

    pub(super) fn into_sentences(self) -> Vec<String> {
        let mut kept = self.kept.into_inner();
        if kept.len() > NOTES_MAX {
            kept[NOTES_MAX] = "there is more to say; the rest is left out".to_owned();
        }
        kept
    }
}

/// A value and its place, such as `methodConfig[0].timeout`.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
    notes: &'a Notes,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, notes: &'a Notes) -> Self {
        Self { path: String::new(), value, notes }
    }

    fn place(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// Returns the mistake `what`.
    pub(super) fn fault(&self, what: impl AsRef<str>) -> Fault {
        Fault(format!("{}: {}", self.place(), what.as_ref()))
    }

    /// Returns the mistake of a value that gRPC refuses with the words `said`.
    pub(super) fn refused(&self, said: &str) -> Fault {
        let value = self.value.to_string();
        self.fault(format!("{} is refused by gRPC: {said}", value.visible_within(SHOWN_MAX)))
    }

    /// Adds a note about the value.
    pub(super) fn note(&self, what: impl AsRef<str>) {
        self.notes.add(&format!("{}: {}", self.place(), what.as_ref()));
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value, notes: self.notes }
    }

    /// Returns an object's fields, of which gRPC knows those in `known`. The others are noted, and ignored as gRPC does.
    pub(super) fn fields(&self, known: &[&'static str]) -> Result<Fields<'a>, Fault> {
        let object = self.value.as_object().ok_or_else(|| self.refused("is not an object"))?;
        let mut found: Vec<(&'static str, Self)> = Vec::new();
        for (key, value) in object {
            let field = self.child(key, value);
            let Some(name) = known_name(key, known) else {
                field.note(unknown(known));
                continue;
            };
            if found.iter().any(|(other, _)| *other == name) {
                return Err(field.fault(format!("the field is there twice, the other time as `{name}`")));
            }
            if name != key {
                field.note(other_spelling(key, name));
            }
            if !value.is_null() {
                found.push((name, field));
            }
        }
        Ok(Fields { node: self.clone(), found })
    }

    /// Returns the key and the value of an entry of a list of policies: an object with one field.
    pub(super) fn only_key(&self) -> Result<(&'a str, Self), Fault> {
        let object = self.value.as_object().ok_or_else(|| self.refused("child entry should be of type object"))?;
        let mut entries = object.iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Ok((key, self.child(key, value))),
            (None, _) => Err(self.refused("no policy found in child entry")),
            _ => Err(self.refused("oneOf violation: an entry has one policy")),
        }
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Fault> {
        let items = self.value.as_array().ok_or_else(|| self.refused("is not an array"))?;
        let items = items.iter().enumerate().map(|(index, value)| Self {
            path: format!("{}[{index}]", self.path),
            value,
            notes: self.notes,
        });
        Ok(items.collect())
    }

    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.refused("is not a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.refused("is not a boolean"))
    }

    /// Returns a number, which may be in a string.
    fn as_number(&self) -> Result<Number, Fault> {
        match self.value {
            Value::Number(number) => Ok(number.clone()),
            Value::String(text) => {
                serde_json::from_str(text.trim()).map_err(|_| self.refused("failed to parse number"))
            }
            _ => Err(self.refused("is not a number")),
        }
    }

    /// Reads a number. gRPC takes every one above 0; one beyond `limits` is read as the nearest within.
    pub(super) fn positive(&self, limits: &RangeInclusive<f64>) -> Result<f64, Fault> {
        let number = self.as_number()?.as_f64().unwrap_or(f64::NAN);
        if number.is_nan() || number <= 0.0 {
            return Err(self.refused("must be greater than 0"));
        }
        let read = number.clamp(*limits.start(), *limits.end());
        if read != number {
            self.note(format!("{number} is beyond what a rehearsal has, and is read as {read}"));
        }
        Ok(read)
    }

    /// Reads a number of tokens, in thousandths: further digits are cut.
    pub(super) fn thousandths(&self) -> Result<u64, Fault> {
        let number = self.as_number()?.as_f64().unwrap_or(f64::NAN);
        // The shortest decimal that is this number is what the file has, short of digits that no f64 has.
        let decimal = number.to_string();
        let (whole, fraction) = decimal.split_once('.').unwrap_or((&decimal, ""));
        let digits = format!("{fraction:0<3}");
        match format!("{whole}{}", &digits[..3]).parse::<u64>() {
            Ok(thousandths) if thousandths > 0 => Ok(thousandths),
            _ => Err(self.refused("must be greater than 0, of which three decimal places count")),
        }
    }

    /// Reads a whole number of proto3's `uint32`.
    pub(super) fn whole(&self) -> Result<u32, Fault> {
        let number = self.as_number()?;
        if let Some(whole) = number.as_u64() {
            return u32::try_from(whole).map_err(|_| self.refused("failed to parse non-negative number of 32 bits"));
        }
        let whole =
            number.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number));
        let whole = whole.ok_or_else(|| self.refused("failed to parse non-negative number"))?;
        self.note(
            "only grpc-java reads a whole number with a point or an exponent; the other clients refuse the config",
        );
        Ok(whole as u32)
    }

    /// Reads a count; one above what a rehearsal has is read as that.
    pub(super) fn count(&self) -> Result<usize, Fault> {
        let read = self.whole()? as usize;
        let most = *limits::COUNT.end();
        if read > most {
            self.note(format!("{read} is beyond what a rehearsal has, and is read as {most}"));
        }
        Ok(read.min(most))
    }

    pub(super) fn percent(&self) -> Result<f64, Fault> {
        match self.whole()? {
            percent @ 0..=100 => Ok(f64::from(percent)),
            _ => Err(self.refused("value must be <= 100")),
        }
    }

    /// Reads proto3's JSON form of a Duration: decimal seconds with an `s`, such as `"0.5s"`. One that is longer than any run is
    /// read as a day.
    pub(super) fn duration(&self) -> Result<Duration, Fault> {
        let text = self.value.as_str().ok_or_else(|| self.refused("is not a string, such as \"0.5s\""))?;
        let not_a_duration = |why: &str| self.refused(&format!("Not a duration ({why}), such as \"0.5s\""));
        let seconds = text.strip_suffix('s').ok_or_else(|| not_a_duration("no s suffix"))?.trim();
        if seconds.starts_with('-') {
            return Err(self.refused("seconds must be in the range [0, 315576000000]"));
        }
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
        let is_decimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_decimal(whole) || !is_decimal(fraction) || fraction.is_empty() || seconds.is_empty() {
            return Err(not_a_duration("not a number of seconds"));
        }
        if fraction.len() > 9 {
            return Err(not_a_duration("too many digits after decimal"));
        }
        if whole.is_empty() {
            // gRPC A6's own examples have it.
            self.core_refuses("a duration without a digit before the point");
        }
        let whole: u64 = if whole.is_empty() { Ok(0) } else { whole.parse() }.unwrap_or(u64::MAX);
        if whole > SECONDS_MAX {
            return Err(self.refused("seconds must be in the range [0, 315576000000]"));
        }
        let nanos: u32 =
            format!("{fraction:0<9}").parse().map_err(|_| not_a_duration("not a number of nanoseconds"))?;
        Ok(Duration::new(whole, nanos).min(*limits::DURATION.end()))
    }

    /// Reads a duration that is more than nothing.
    pub(super) fn some_duration(&self) -> Result<Duration, Fault> {
        match self.duration()? {
            Duration::ZERO => Err(self.refused("must be greater than 0")),
            duration => Ok(duration),
        }
    }

    /// Names of status codes, or their numbers; not OK.
    pub(super) fn codes(&self) -> Result<Vec<Code>, Fault> {
        let mut codes = Vec::new();
        for item in self.items()? {
            let code =
                item.code().ok_or_else(|| item.refused("failed to parse status code, such as \"UNAVAILABLE\""))?;
            if code == Code::Ok {
                return Err(
                    item.fault("OK is no failure; grpc-java refuses it, and it has no effect elsewhere: leave it out")
                );
            }
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        Ok(codes)
    }

    fn code(&self) -> Option<Code> {
        match self.value {
            Value::String(name) => {
                let code: Code = name.to_uppercase().parse().ok()?;
                if name != code.name() {
                    self.core_refuses("a status code that is not in upper case");
                }
                Some(code)
            }
            Value::Number(number) => {
                let name = Code::names().nth(usize::try_from(number.as_u64()?).ok()?)?;
                self.core_refuses("a status code as a number");
                name.parse().ok()
            }
            _ => None,
        }
    }

    /// Notes that the file is right for some clients, and not for those that gRPC's core is in.
    fn core_refuses(&self, what: &str) {
        self.note(format!(
            "{what} is read as gRPC A6 has it; gRPC's core (C++, Python, Ruby and others) refuses the whole config for it"
        ));
    }
}

/// The fields of an object that gRPC knows and that have a value.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    node: Node<'a>,
    found: Vec<(&'static str, Node<'a>)>,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.found.iter().find(|(found, _)| *found == name).map(|(_, node)| node)
    }

    pub(super) fn required(&self, name: &str) -> Result<&Node<'a>, Fault> {
        self.get(name).ok_or_else(|| self.node.child(name, &Value::Null).fault("refused by gRPC: field not present"))
    }
}

/// Returns which of `known` is meant by `key`: the field itself, its name in the proto file, or its name in another case.
fn known_name(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let joined = key.replace('_', "");
    let exact = known.iter().find(|name| **name == key);
    exact.or_else(|| known.iter().find(|name| name.eq_ignore_ascii_case(&joined))).copied()
}

fn other_spelling(key: &str, name: &str) -> String {
    if key.eq_ignore_ascii_case(name) {
        format!(
            "only the case differs from `{name}`: grpc-go reads it so, the other clients ignore the field; write `{name}`"
        )
    } else {
        format!("proto3's JSON allows this name for `{name}`, but gRPC's clients ignore it; write `{name}`")
    }
}

fn unknown(known: &[&str]) -> String {
    let read = match known {
        [] => "it reads no field there".to_owned(),
        _ => format!("it reads `{}`", known.join("`, `")),
    };
    format!("gRPC does not know this field and ignores it; {read}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(json: &str, read: impl Fn(&Node<'_>) -> Result<T, Fault>) -> Option<T> {
        let notes = Notes::default();
        let Document(value) = serde_json::from_str(json).unwrap();
        read(&Node::root(&value, &notes)).ok()
    }

    fn duration(text: &str) -> Option<Duration> {
        read(&format!("{text:?}"), |node| node.duration())
    }

    #[test]
    fn durations_are_those_of_proto3() {
        assert_eq!(duration(".1s"), Some(Duration::from_millis(100)));
        assert_eq!(duration("3.000000001s"), Some(Duration::new(3, 1)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("315576000000s"), Some(Duration::from_secs(86_400)), "longer than any run");
        for text in
            ["", "s", ".s", "1.s", "1", "1m", "100ms", "-1s", "1.2.3s", "1e3s", "0.0000000001s", "315576000001s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_be_strings_and_have_no_fraction() {
        for text in ["4", "\"4\"", "4.0", "4e0", "\" 4 \""] {
            assert_eq!(read(text, |node| node.whole()), Some(4), "{text}");
        }
        for text in ["4.5", "-4", "true", "\"four\"", "4294967296", "\"\"", "[4]"] {
            assert_eq!(read(text, |node| node.whole()), None, "{text}");
        }
    }

    /// gRPC's core: "We support up to 3 decimal digits".
    #[test]
    fn thousandths_are_cut_and_not_rounded() {
        for (text, expected) in
            [("0.1", 100), ("0.1239", 123), ("1", 1_000), ("1.001", 1_001), ("0.29", 290), ("\"5.0059\"", 5_005)]
        {
            assert_eq!(read(text, |node| node.thousandths()), Some(expected), "{text}");
        }
        for text in ["0", "0.0009", "-1", "\"x\"", "1e300"] {
            assert_eq!(read(text, |node| node.thousandths()), None, "{text}");
        }
    }

    #[test]
    fn notes_are_said_once_and_the_rest_is_left_out() {
        let notes = Notes::default();
        (0..50).for_each(|number| notes.add(&format!("note {}", number / 2)));
        let said = notes.into_sentences();
        assert_eq!((said.len(), said[19].as_str()), (21, "note 19"));
        assert_eq!(said[20], "there is more to say; the rest is left out");
    }

    #[test]
    fn a_field_may_be_there_once() {
        let twice = r#"{ "a": { "b": 1, "b": 2 } }"#;
        let error = serde_json::from_str::<Document>(twice).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("duplicate key \"b\""), "{error}");
        let spelt_twice = r#"{ "maxTokens": 1, "max_tokens": 2 }"#;
        assert!(read(spelt_twice, |node| node.fields(&["maxTokens"]).map(drop)).is_none());
    }
}
