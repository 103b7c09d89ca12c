//! The values of keys: how each type is read from TOML, checked against its limits, written back and described.

mod bit_rate;
mod code;

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};
use toml::{Spanned, de::DeValue};

use super::{
    duration, limits,
    named::{Named, listed, synonym},
    nearest::{backticked, nearest},
    problem::Problem,
    source::Span,
    toml_writer::{list, number, string},
};
pub(crate) use bit_rate::{BitRate, BitRateOrUnlimited};
pub(crate) use code::CodesOrNone;

/// A value where it was written.
pub(crate) type Item<'t> = Spanned<DeValue<'t>>;

/// The codec that reads and writes a key's value. Most types are their own codec; a codec of another type gives a plain type a
/// meaning, such as [`BitRate`] to a `u64`.
pub(crate) trait Codec {
    /// The type of the value in the settings.
    type Target;
    /// The bounds of the value; `()` if every value of the type is allowed.
    type Limits: 'static;

    /// Returns the name of the type in the reference.
    fn type_name() -> String;

    /// Reads the value and checks its limits.
    fn read(item: &Item<'_>, limits: &Self::Limits) -> Result<Self::Target, Problem>;

    /// Writes the value as the file has it; `None` if the key is left out.
    fn written(value: &Self::Target) -> Option<String>;

    /// Returns the JSON Schema of the value within the limits. What a schema cannot say is left to reading.
    fn schema(limits: &Self::Limits) -> Value;

    /// Describes the limits for the reference.
    fn limits_text(_limits: &Self::Limits) -> Option<String> {
        None
    }
}

/// A TOML value without its place.
enum View<'v, 't> {
    Text(&'v str),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    List(&'v [Item<'t>]),
    /// A table or a date; neither is a value of any key.
    Other,
}

impl<'v, 't> View<'v, 't> {
    fn new(item: &'v Item<'t>) -> Self {
        match item.get_ref() {
            DeValue::String(text) => Self::Text(text),
            // The parser has checked the digits; what is beyond 128 bits is beyond every limit, too.
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                let least_or_most = if digits.starts_with('-') { i128::MIN } else { i128::MAX };
                Self::Integer(i128::from_str_radix(&digits, number.radix()).unwrap_or(least_or_most))
            }
            DeValue::Float(number) => Self::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Array(items) => Self::List(items),
            DeValue::Datetime(_) | DeValue::Table(_) => Self::Other,
        }
    }
}

impl fmt::Display for View<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "the string {text:?}"),
            Self::Integer(number) => write!(f, "the integer {number}"),
            Self::Float(number) => write!(f, "the number {number:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::List(_) => f.write_str("a list"),
            Self::Other => f.write_str("a table or a date"),
        }
    }
}

/// Returns the error for a value of another type than the expected one.
pub(crate) fn wrong_type<T>(item: &Item<'_>, expected: &str) -> Result<T, Problem> {
    Err(Problem::at(item.span(), format!("expected {expected}, not {}", View::new(item))))
}

/// Returns whether the item is the string `text`.
pub(crate) fn is_string(item: &Item<'_>, text: &str) -> bool {
    item.get_ref().as_str() == Some(text)
}

/// Returns the items of a list.
pub(crate) fn items<'v, 't>(item: &'v Item<'t>) -> Result<&'v [Item<'t>], Problem> {
    match View::new(item) {
        View::List(items) => Ok(items),
        _ => wrong_type(item, "a list in square brackets"),
    }
}

/// Returns the strings of a list, or the one string that the item is.
pub(crate) fn one_or_more(item: &Item<'_>) -> Result<Vec<Spanned<String>>, Problem> {
    match View::new(item) {
        View::Text(text) => Ok(vec![Spanned::new(item.span(), text.to_owned())]),
        View::List(items) => items.iter().map(|item| Ok(Spanned::new(item.span(), String::read(item, &())?))).collect(),
        _ => wrong_type(item, "a string in quotes, or a list of them"),
    }
}

/// Checks that `value` is within `limits`; NaN is not.
fn within<T: PartialOrd + Shown>(span: Span, value: T, limits: &RangeInclusive<T>) -> Result<T, Problem> {
    if limits.contains(&value) {
        return Ok(value);
    }
    let message = format!("{} is out of range; allowed is {}", value.shown(), T::shown_limits(limits));
    Err(Problem::at(span, message))
}

/// Returns the error for a `text` that is none of `names`.
pub(crate) fn no_such_name(span: Span, text: &str, what: &str, names: &[&str]) -> Problem {
    let guess = nearest(text, names.iter().copied()).map(|name| format!("; did you mean `{name}`?"));
    Problem::at(span, format!("`{text}` is not {what}{}", guess.unwrap_or_default()))
        .help(format!("allowed: {}", backticked(names)))
}

impl Codec for String {
    type Target = Self;
    type Limits = ();

    fn type_name() -> String {
        "string".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Self, Problem> {
        match View::new(item) {
            View::Text(text) if text.len() > limits::TEXT_BYTES_MAX => {
                let message =
                    format!("the text has {} bytes; allowed are up to {}", text.len(), limits::TEXT_BYTES_MAX);
                Err(Problem::at(item.span(), message))
            }
            View::Text(text) => Ok(text.to_owned()),
            _ => wrong_type(item, "a string in quotes"),
        }
    }

    fn written(value: &Self) -> Option<String> {
        Some(string(value))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "maxLength": limits::TEXT_BYTES_MAX })
    }

    fn limits_text((): &()) -> Option<String> {
        Some(format!("up to {} bytes", limits::TEXT_BYTES_MAX))
    }
}

impl Codec for bool {
    type Target = Self;
    type Limits = ();

    fn type_name() -> String {
        "boolean".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Self, Problem> {
        match View::new(item) {
            View::Boolean(value) => Ok(value),
            _ => wrong_type(item, "true or false, without quotes"),
        }
    }

    fn written(value: &Self) -> Option<String> {
        Some(value.to_string())
    }

    fn schema((): &()) -> Value {
        json!({ "type": "boolean" })
    }
}

/// Returns the whole number of the item; what is beyond 64 bits is as good as the largest, as it is beyond every limit.
fn whole_number(item: &Item<'_>) -> Result<u64, Problem> {
    match View::new(item) {
        View::Integer(number) if number < 0 => wrong_type(item, "a whole number of 0 or more"),
        View::Integer(number) => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
        _ => wrong_type(item, "a whole number, without quotes"),
    }
}

macro_rules! bounded {
    ($($type:ty, $name:literal: $read:expr, $write:expr, $schema:expr;)+) => {$(
        impl Codec for $type {
            type Target = Self;
            type Limits = RangeInclusive<Self>;

            fn type_name() -> String {
                $name.into()
            }

            fn read(item: &Item<'_>, limits: &Self::Limits) -> Result<Self, Problem> {
                within(item.span(), $read(item)?, limits)
            }

            fn written(value: &Self) -> Option<String> {
                Some($write(*value))
            }

            fn schema(limits: &Self::Limits) -> Value {
                $schema(limits)
            }

            fn limits_text(limits: &Self::Limits) -> Option<String> {
                Some(Self::shown_limits(limits))
            }
        }
    )+};
}

bounded! {
    usize, "integer": |item| whole_number(item).map(|count| Self::try_from(count).unwrap_or(Self::MAX)), |count: Self| count.to_string(), whole_number_schema;
    u32, "integer": |item| whole_number(item).map(|count| Self::try_from(count).unwrap_or(Self::MAX)), |count: Self| count.to_string(), whole_number_schema;
    f64, "number": any_number, number, number_schema;
    Duration, "duration": any_duration, |time| string(&duration::text(time)), duration_schema;
}

fn whole_number_schema<T: serde::Serialize>(limits: &RangeInclusive<T>) -> Value {
    json!({ "type": "integer", "minimum": limits.start(), "maximum": limits.end() })
}

fn number_schema(limits: &RangeInclusive<f64>) -> Value {
    json!({ "type": "number", "minimum": limits.start(), "maximum": limits.end() })
}

fn duration_schema(_: &RangeInclusive<Duration>) -> Value {
    json!({ "type": "string", "pattern": duration::PATTERN })
}

fn any_number(item: &Item<'_>) -> Result<f64, Problem> {
    match View::new(item) {
        View::Float(number) => Ok(number),
        #[expect(clippy::cast_precision_loss, reason = "every limit is far below 2^53")]
        View::Integer(number) => Ok(number as f64),
        _ => wrong_type(item, "a number, without quotes"),
    }
}

fn any_duration(item: &Item<'_>) -> Result<Duration, Problem> {
    match View::new(item) {
        View::Text(text) => duration::parse(text).map_err(|error| Problem::at(item.span(), error.to_string())),
        View::Integer(number @ 0..) => Err(Problem::at(
            item.span(),
            format!("the duration {number} has no unit; write \"{number}s\" or \"{number}ms\""),
        )),
        _ => wrong_type(item, "a duration with a unit, such as \"250ms\""),
    }
}

/// A share of a whole, from 0 to 1. The limits are the remedy that a wrong value gets.
pub(crate) struct Share;

impl Codec for Share {
    type Target = f64;
    type Limits = &'static str;

    fn type_name() -> String {
        "share".into()
    }

    fn read(item: &Item<'_>, help: &&'static str) -> Result<f64, Problem> {
        f64::read(item, &limits::SHARE).map_err(|problem| problem.help(*help))
    }

    fn written(value: &f64) -> Option<String> {
        Some(number(*value))
    }

    fn schema(_: &&'static str) -> Value {
        f64::schema(&limits::SHARE)
    }

    fn limits_text(_: &&'static str) -> Option<String> {
        f64::limits_text(&limits::SHARE)
    }
}

/// Reads a list of values without repeats, at least one. The limits say what to write instead of an empty list.
fn distinct<T: PartialEq>(
    item: &Item<'_>,
    instead: &str,
    read: impl Fn(&Item<'_>) -> Result<T, Problem>,
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<T>, Problem> {
    let mut values = Vec::new();
    for item in items(item)? {
        let value = read(item)?;
        if values.contains(&value) {
            let message = format!("`{}` is in the list already; leave one out", name(&value));
            return Err(Problem::at(item.span(), message));
        }
        values.push(value);
    }
    if values.is_empty() {
        return Err(Problem::at(item.span(), format!("the list is empty; {instead}")));
    }
    Ok(values)
}

/// The schema of such a list of values.
fn list_schema(value: Value) -> Value {
    json!({ "type": "array", "items": value, "minItems": 1, "uniqueItems": true })
}

impl<T: Named> Codec for T {
    type Target = Self;
    type Limits = ();

    fn type_name() -> String {
        listed::<T>()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Self, Problem> {
        let View::Text(text) = View::new(item) else {
            return wrong_type(item, &format!("{}, one of {}", T::WHAT, listed::<T>()));
        };
        T::from_name(text).ok_or_else(|| match synonym::<T>(text) {
            Some(name) => Problem::at(item.span(), format!("`{text}` is not {}; write `{name}` here", T::WHAT))
                .help(format!("allowed: {}", listed::<T>())),
            None => no_such_name(item.span(), text, T::WHAT, &T::names()),
        })
    }

    fn written(value: &Self) -> Option<String> {
        Some(string(value.to_name()))
    }

    fn schema((): &()) -> Value {
        json!({ "enum": T::names() })
    }
}

impl<T: Named> Codec for Vec<T> {
    type Target = Self;
    type Limits = &'static str;

    fn type_name() -> String {
        format!("list of {}", listed::<T>())
    }

    fn read(item: &Item<'_>, instead: &&'static str) -> Result<Self, Problem> {
        distinct(item, instead, |item| T::read(item, &()), |value| value.to_name())
    }

    fn written(value: &Self) -> Option<String> {
        let names: Vec<_> = value.iter().map(|value| value.to_name()).collect();
        Some(list(&names))
    }

    fn schema(_: &&'static str) -> Value {
        list_schema(T::schema(&()))
    }
}

/// A key that is left out if it has no value.
impl<T: Codec> Codec for Option<T> {
    type Target = Option<T::Target>;
    type Limits = T::Limits;

    fn type_name() -> String {
        T::type_name()
    }

    fn read(item: &Item<'_>, limits: &T::Limits) -> Result<Self::Target, Problem> {
        T::read(item, limits).map(Some)
    }

    fn written(value: &Self::Target) -> Option<String> {
        value.as_ref().and_then(T::written)
    }

    fn schema(limits: &T::Limits) -> Value {
        T::schema(limits)
    }

    fn limits_text(limits: &T::Limits) -> Option<String> {
        T::limits_text(limits)
    }
}

/// The form in which a message shows a value and its limits.
pub(crate) trait Shown {
    fn shown(&self) -> String;

    fn shown_limits(limits: &RangeInclusive<Self>) -> String
    where
        Self: Sized,
    {
        format!("{} to {}", limits.start().shown(), limits.end().shown())
    }
}

impl Shown for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for f64 {
    fn shown(&self) -> String {
        // Written out, 1e300 is a line of zeros.
        let readable = *self == 0.0 || (1e-9..1e15).contains(&self.abs());
        if readable { self.to_string() } else { format!("{self:e}") }
    }
}

impl Shown for Duration {
    fn shown(&self) -> String {
        duration::text(*self)
    }

    fn shown_limits(limits: &RangeInclusive<Self>) -> String {
        let max = limits.end().shown();
        // A limit of one nanosecond says that zero is not allowed; the nanosecond itself has no meaning to a reader.
        if limits.start().as_nanos() == 1 {
            return format!("more than 0s, up to {max}");
        }
        format!("{} to {max}", limits.start().shown())
    }
}
