//! One value of a scenario file: kept as it was written until it is resolved, so that a wrong type, a bad unit and a
//! number out of bounds are all reported in the same words and with their place.

use std::{marker::PhantomData, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{
    bandwidth, duration,
    error::Problem,
    loose::Loose,
    model::Size,
    names::{Named, listed},
    nearest::{backticked, nearest},
    source::Span,
};
use crate::status::Code;

/// A value that will be read as a `T`.
pub(crate) struct Setting<T> {
    value: Spanned<Loose>,
    read_as: PhantomData<fn() -> T>,
}

impl<T: FromToml> Setting<T> {
    pub(super) fn read(&self) -> Result<T, Problem> {
        T::from_toml(&self.value)
    }

    /// Like [`Setting::read`]; what is not within `limits`, NaN included, is a problem.
    pub(super) fn within(&self, limits: &RangeInclusive<T>) -> Result<T, Problem>
    where
        T: PartialOrd + Shown,
    {
        let value = self.read()?;
        if limits.contains(&value) {
            return Ok(value);
        }
        let message = format!("{} is out of range; allowed is {}", value.shown(), T::shown_limits(limits));
        Err(Problem::at(self.span(), message))
    }
}

impl<T> Setting<T> {
    pub(crate) fn span(&self) -> Span {
        self.value.span()
    }

    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(self.value.get_ref(), Loose::Text(own) if own == text)
    }
}

impl Setting<Untyped> {
    /// The same value to be read as `U`, once it is known what it has to be.
    pub(super) fn retyped<U>(&self) -> Setting<U> {
        Setting { value: self.value.clone(), read_as: PhantomData }
    }
}

impl<'de, T> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { value: Spanned::deserialize(deserializer)?, read_as: PhantomData })
    }
}

/// The type of a [`Setting`] whose type depends on another setting.
pub(super) enum Untyped {}

pub(super) fn read_or<T: FromToml>(setting: Option<&Setting<T>>, default: T) -> Result<T, Problem> {
    setting.map_or(Ok(default), Setting::read)
}

pub(super) fn within_or<T: FromToml + PartialOrd + Shown>(
    setting: Option<&Setting<T>>,
    limits: &RangeInclusive<T>,
    default: T,
) -> Result<T, Problem> {
    setting.map_or(Ok(default), |setting| setting.within(limits))
}

/// A type that a [`Setting`] can have.
pub(crate) trait FromToml: Sized {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem>;
}

fn wrong_type<T>(value: &Spanned<Loose>, expected: &str) -> Result<T, Problem> {
    Err(Problem::at(value.span(), format!("expected {expected}, not {}", value.get_ref())))
}

impl FromToml for String {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Text(text) => Ok(text.clone()),
            _ => wrong_type(value, "a string in quotes"),
        }
    }
}

impl FromToml for bool {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Boolean(value) => Ok(*value),
            _ => wrong_type(value, "true or false, without quotes"),
        }
    }
}

impl FromToml for usize {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Integer(number) if *number < 0 => wrong_type(value, "a whole number of 0 or more"),
            Loose::Integer(number) => Ok(Self::try_from(*number).unwrap_or(Self::MAX)),
            _ => wrong_type(value, "a whole number, without quotes"),
        }
    }
}

impl FromToml for f64 {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Float(number) => Ok(*number),
            #[expect(clippy::cast_precision_loss, reason = "every limit is far below 2^53")]
            Loose::Integer(number) => Ok(*number as Self),
            _ => wrong_type(value, "a number, without quotes"),
        }
    }
}

impl FromToml for Duration {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Text(text) => duration::parse(text).map_err(|error| Problem::at(value.span(), error.to_string())),
            Loose::Integer(number @ 0..) => Err(Problem::at(
                value.span(),
                format!("the duration {number} has no unit; write \"{number}s\" or \"{number}ms\""),
            )),
            _ => wrong_type(value, "a duration with a unit, such as \"250ms\""),
        }
    }
}

/// Bits per second; 0 may stand for unlimited.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct BitRate(pub(super) u64);

impl FromToml for BitRate {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Text(text) => {
                bandwidth::parse(text).map(Self).map_err(|error| Problem::at(value.span(), error.to_string()))
            }
            // Without quotes too, since `--set network.bandwidth=0` arrives as a number.
            Loose::Integer(0) => Ok(Self(0)),
            _ => wrong_type(value, "a bandwidth with a unit, such as \"100mbit\""),
        }
    }
}

impl FromToml for Size {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Text(text) => text.parse().map_err(|error| Problem::at(value.span(), format!("{error}"))),
            _ => wrong_type(value, "a picture size, such as \"256x256\""),
        }
    }
}

impl FromToml for Code {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        let Loose::Text(text) = value.get_ref() else {
            return wrong_type(value, "the name of a gRPC status code, such as \"UNAVAILABLE\"");
        };
        // OK is one, and a mistake wherever a file can name a code.
        let names: Vec<_> = Self::names().filter(|name| *name != Self::Ok.name()).collect();
        text.parse().map_err(|_| no_such_name(value.span(), text, "a gRPC status code", &names))
    }
}

/// A value by its name.
#[derive(Clone, Copy)]
pub(crate) struct Choice<T>(pub(crate) T);

impl<T: Named> FromToml for Choice<T> {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        let Loose::Text(text) = value.get_ref() else {
            return wrong_type(value, &format!("{}, one of {}", T::WHAT, listed::<T>()));
        };
        let names: Vec<_> = T::NAMES.iter().map(|(_, name)| *name).collect();
        T::from_name(text).map(Self).ok_or_else(|| no_such_name(value.span(), text, T::WHAT, &names))
    }
}

fn no_such_name(span: Span, text: &str, what: &str, names: &[&str]) -> Problem {
    let guess = nearest(text, names.iter().copied()).map(|name| format!("; did you mean `{name}`?"));
    Problem::at(span, format!("`{text}` is not {what}{}", guess.unwrap_or_default()))
        .help(format!("allowed: {}", backticked(names)))
}

impl<T: FromToml> FromToml for Vec<Spanned<T>> {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::List(items) => items.iter().map(|item| Ok(Spanned::new(item.span(), T::from_toml(item)?))).collect(),
            _ => wrong_type(value, "a list in square brackets"),
        }
    }
}

/// A string, or a list of strings.
pub(super) struct OneOrMore(pub(super) Vec<Spanned<String>>);

impl FromToml for OneOrMore {
    fn from_toml(value: &Spanned<Loose>) -> Result<Self, Problem> {
        match value.get_ref() {
            Loose::Text(text) => Ok(Self(vec![Spanned::new(value.span(), text.clone())])),
            Loose::List(_) => Vec::from_toml(value).map(Self),
            _ => wrong_type(value, "a string in quotes, or a list of them"),
        }
    }
}

/// How a value and its limits are written in a message.
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
        // Nobody means a nanosecond: a limit of one says that zero is not allowed.
        if limits.start().as_nanos() == 1 {
            return format!("more than 0s, up to {max}");
        }
        format!("{} to {max}", limits.start().shown())
    }
}

impl Shown for BitRate {
    fn shown(&self) -> String {
        bandwidth::text(self.0)
    }
}
