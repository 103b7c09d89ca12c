//! Enumerations whose values have one name each in scenario files and on command lines.

use std::fmt;

use super::nearest::backticked;
use crate::visible::Visible;

/// A type whose every value has one name. The names come from `strum`'s derives, the order of the variants is the order
/// in which they are listed to the user.
pub(crate) trait Named: Copy + PartialEq + strum::VariantArray + Into<&'static str> + 'static {
    /// Completes "is not …" in messages, such as "a direction".
    const WHAT: &'static str;
    /// Words of other tools, each with the name that means the same here.
    const SYNONYMS: &'static [(&'static str, &'static str)] = &[];

    /// Returns the value's name.
    fn to_name(self) -> &'static str {
        self.into()
    }

    /// Returns the value with this name.
    fn from_name(text: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|value| value.to_name() == text)
    }

    /// Returns every name, in order.
    fn names() -> Vec<&'static str> {
        Self::VARIANTS.iter().map(|value| value.to_name()).collect()
    }
}

/// The error for a text that names no value of the wanted type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}; it is one of {allowed}", text = .text.visible())]
pub struct UnknownName {
    text: String,
    what: &'static str,
    allowed: String,
}

impl UnknownName {
    pub(crate) fn new(text: &str, what: &'static str, allowed: impl fmt::Display) -> Self {
        Self { text: text.to_owned(), what, allowed: allowed.to_string() }
    }

    /// Returns the error for a `text` that is no name of a `T`.
    pub(crate) fn among<T: Named>(text: &str) -> Self {
        Self::new(text, T::WHAT, listed::<T>())
    }
}

/// Returns every name of `T` in backticks, for a message.
pub(crate) fn listed<T: Named>() -> String {
    backticked(&T::names())
}

/// Returns the name of a `T` that `text`, a word of another tool, means.
pub(crate) fn synonym<T: Named>(text: &str) -> Option<&'static str> {
    T::SYNONYMS.iter().find(|(word, _)| *word == text).map(|(_, name)| *name)
}

/// Implements [`Named`], `name`, `Display` and `FromStr` for an enumeration that derives strum's `VariantArray` and
/// `IntoStaticStr`. A list of words of other tools may follow, with the names that mean the same.
macro_rules! named {
    ($type:ty, $what:literal $(, [$($word:literal => $name:literal),*])?) => {
        impl $crate::settings::named::Named for $type {
            const WHAT: &'static str = $what;
            $( const SYNONYMS: &'static [(&'static str, &'static str)] = &[$(($word, $name)),*]; )?
        }

        impl $type {
            /// Returns the name in scenario files.
            pub fn name(self) -> &'static str {
                $crate::settings::named::Named::to_name(self)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::settings::named::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::settings::named::Named::from_name(text)
                    .ok_or_else(|| $crate::settings::named::UnknownName::among::<Self>(text))
            }
        }
    };
}

pub(crate) use named;
