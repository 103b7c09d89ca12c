//! Objects in the notation that most programs write: strings without backslashes, and numbers without exponents. They are read
//! without a parser of all of JSON, and only what is watched is copied.

use memchr::memchr2;

use super::{Key, Keys};

/// The greatest number of objects and arrays inside of each other.
const DEPTH_MAX: usize = 16;

/// The most digits of a number whose shortest notation is the one that it is in, apart from zeros at the end: two decimal
/// numbers of so few digits are never the same binary number.
const DIGITS_MAX: usize = 15;

/// Reads the watched cells of the object in `line`, as the parser of all of JSON would; `None` if that parser has to read it.
/// The cells are undefined then.
pub(super) fn read(keys: &Keys, line: &[u8], cells: &mut [(bool, String)]) -> Option<()> {
    let mut plain = Plain { text: str::from_utf8(line).ok()?, at: 0, cells };
    plain.space();
    plain.object(Some(keys), 0)?;
    plain.space();
    (plain.at == line.len()).then_some(())
}

/// A line as far as it is read.
struct Plain<'a, 'c> {
    text: &'a str,
    at: usize,
    cells: &'c mut [(bool, String)],
}

impl<'a> Plain<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes a byte, and the white space before it and behind it.
    fn sign(&mut self, sign: u8) -> Option<()> {
        self.space();
        self.take(sign)?;
        self.space();
        Some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())
    }

    /// Takes an object; `keys` are those that are watched.
    fn object(&mut self, keys: Option<&Keys>, depth: usize) -> Option<()> {
        self.sign(b'{')?;
        if depth > DEPTH_MAX {
            return None;
        }
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.string()?;
            self.sign(b':')?;
            match keys.and_then(|keys| keys.get(name)) {
                Some(key) => self.watched(key, depth)?,
                None => self.skip(depth)?,
            }
            self.space();
            if self.peek()? == b'}' {
                return self.take(b'}');
            }
            self.sign(b',')?;
        }
    }

    /// Takes the value of a key that is watched, or that leads to one.
    fn watched(&mut self, key: &Key, depth: usize) -> Option<()> {
        let is_path = !key.below.is_empty();
        match (self.peek()?, key.column) {
            (b'{', _) if is_path => self.object(Some(&key.below), depth + 1),
            // An object or an array as a text.
            (b'{' | b'[', _) if !is_path => None,
            (b'n', _) if is_path => self.skip(depth),
            (b'[', _) | (_, None) => self.skip(depth),
            (first, Some(column)) => self.cell(first, column),
        }
    }

    fn cell(&mut self, first: u8, column: usize) -> Option<()> {
        self.cells[column].1.clear();
        self.cells[column].0 = first != b'n';
        let start = self.at;
        match first {
            b'"' => {
                let text = self.string()?;
                self.cells[column].1.push_str(text);
            }
            b'n' => self.word("null")?,
            b't' | b'f' => {
                self.word(if first == b't' { "true" } else { "false" })?;
                self.cells[column].1.push_str(&self.text[start..self.at]);
            }
            _ => {
                let number = shortest(self.number()?)?;
                self.cells[column].1.push_str(number);
            }
        }
        Some(())
    }

    /// Takes a value that is not watched.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'{' => self.object(None, depth + 1),
            b'[' => self.array(depth + 1),
            _ => self.number().map(drop),
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.sign(b'[')?;
        if depth > DEPTH_MAX {
            return None;
        }
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            self.skip(depth)?;
            self.space();
            if self.peek()? == b']' {
                return self.take(b']');
            }
            self.sign(b',')?;
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let text = self.text;
        let rest = &text.as_bytes()[self.at..];
        let length = memchr2(b'"', b'\\', rest)?;
        // Of JSON, only the parser knows the rest.
        if rest[length] == b'\\' || rest[..length].iter().any(|byte| *byte < 0x20) {
            return None;
        }
        let start = self.at;
        self.at += length + 1;
        Some(&text[start..start + length])
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Takes a number without an exponent.
    fn number(&mut self) -> Option<&'a str> {
        let text = self.text;
        let start = self.at;
        let _ = self.take(b'-');
        let is_zero_first = self.peek()? == b'0';
        let digits = self.digits();
        if digits == 0 || is_zero_first && digits > 1 {
            return None;
        }
        if self.take(b'.').is_some() && self.digits() == 0 || matches!(self.peek(), Some(b'e' | b'E')) {
            return None;
        }
        Some(&text[start..self.at])
    }
}

/// Returns the notation of a number that its binary form has; `None` if it has to be computed.
fn shortest(number: &str) -> Option<&str> {
    let digits = number.trim_start_matches('-');
    // Minus zero is a number with a fraction.
    let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if digits.len() > DIGITS_MAX + 1 || is_zero && digits.len() < number.len() {
        return None;
    }
    let Some((whole, fraction)) = digits.split_once('.') else {
        return (digits.len() <= DIGITS_MAX).then_some(number);
    };
    // Small numbers have an exponent.
    if whole == "0" && fraction.starts_with("000") && !is_zero {
        return None;
    }
    let zeros = fraction.len() - fraction.trim_end_matches('0').len();
    Some(&number[..number.len() - zeros.min(fraction.len() - 1)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Cells, Keys},
        *,
    };

    /// Numbers, strings and objects in all notations, and what is almost one.
    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?",
            "[0-9.eE+-]{1,6}",
            "0\\.0{0,6}[0-9]{0,12}0{0,3}",
            "\"[a-z.\\\\é\\x01 ]{0,4}\"",
            prop_oneof![Just("null"), Just("true"), Just("false"), Just("nul"), Just("")].prop_map(str::to_owned),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(|values| format!("[{}]", values.join(" , "))),
                members(inner),
            ]
        })
    }

    fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
        let member = ("(a|b|c|a\\.b|d|é)", value).prop_map(|(name, value)| format!("\"{name}\" :{value}"));
        prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(", ")))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_what_the_parser_reads(line in prop_oneof![members(value()), value()]) {
            let watched = ["a", "a.b", "b.c", "c"].map(str::to_owned);
            let keys = Keys::watched(&watched);
            let mut plain = Cells::new(watched.len());
            if read(&keys, line.as_bytes(), &mut plain.0).is_some() {
                let mut parsed = Cells::new(watched.len());
                prop_assert_eq!(parsed.parse(&keys, line.as_bytes()), Ok(()));
                for (column, name) in watched.iter().enumerate() {
                    prop_assert_eq!(plain.get(column), parsed.get(column), "{} of {}", name, line);
                }
            }
        }

        #[test]
        fn a_number_has_the_notation_of_its_binary_form(number in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,9})?") {
            if let Some(text) = shortest(&number) {
                let value: serde_json::Value = serde_json::from_str(&number).unwrap();
                let wanted = value.as_f64().filter(|_| number.contains('.')).map_or(value.to_string(), |float| {
                    serde_json::Value::from(float).to_string()
                });
                prop_assert_eq!(text, wanted);
            }
        }
    }

    #[test]
    fn the_usual_notation_needs_no_parser() {
        let line = br#"{"a": {"b": 12.500, "x": [1, {"y": null}]}, "c": "OK", "b": {"c": 503}, "d": 0.0}"#;
        let watched = ["a.b", "b.c", "c"].map(str::to_owned);
        let mut cells = Cells::new(watched.len());
        assert_eq!(read(&Keys::watched(&watched), line, &mut cells.0), Some(()));
        assert_eq!([0, 1, 2].map(|column| cells.get(column)), [Some("12.5"), Some("503"), Some("OK")]);
    }
}
