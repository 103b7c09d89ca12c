//! A table of the format declared once, as a list of keys: its type, the serde struct it is read from, its defaults, its
//! bounds, how it is resolved and how it is written all come from `table!`'s one declaration.

use std::{ops::RangeInclusive, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::{
    duration,
    resolve::codes,
    setting::{FromToml, Shown},
    source::Span,
    write::{list, number, text},
};
pub(crate) use super::{
    error::Problem,
    names::Named,
    resolve::limits,
    setting::{Choice, Setting},
    table::Table,
    write::Page,
};
use crate::status::Code;

/// A table that `table!` has declared.
pub(crate) trait KeyTable: Sized {
    /// As serde reads it: every key a [`Setting`], none of them required.
    type Raw: for<'de> Deserialize<'de>;

    /// Types, bounds, defaults, and the rules between the keys.
    fn resolve(raw: &Self::Raw) -> Result<Self, Problem>;

    /// Every key, then the tables in it. Reading that gives an equal table.
    fn write(&self, page: &mut Page, path: &str);

    /// The keys by the path of their table, this one being at `path`: where a key would be known.
    fn homes(path: &str) -> Vec<(String, &'static [&'static str])>;
}

/// What a key can have as a value.
pub(crate) trait Value: Sized {
    /// What the file's value is read as.
    type Read;
    /// What it has to be within.
    type Limits;

    fn resolve(setting: &Setting<Self::Read>, limits: &Self::Limits) -> Result<Self, Problem>;

    /// As the file writes it; `None` if the key is left out.
    fn written(&self) -> Option<String>;
}

/// The key's value, or its default.
pub(crate) fn value_or<T: Value>(
    setting: Option<&Setting<T::Read>>,
    limits: &T::Limits,
    default: T,
) -> Result<T, Problem> {
    setting.map_or(Ok(default), |setting| T::resolve(setting, limits))
}

macro_rules! bounded {
    ($($type:ty: $write:expr),+) => {$(
        impl Value for $type {
            type Read = Self;
            type Limits = RangeInclusive<Self>;

            fn resolve(setting: &Setting<Self>, limits: &Self::Limits) -> Result<Self, Problem> {
                setting.within(limits)
            }

            fn written(&self) -> Option<String> {
                Some($write(*self))
            }
        }
    )+};
}

bounded! {
    usize: |count: Self| count.to_string(),
    f64: number,
    Duration: |time| text(&duration::text(time))
}

impl Value for bool {
    type Read = Self;
    type Limits = ();

    fn resolve(setting: &Setting<Self>, (): &()) -> Result<Self, Problem> {
        setting.read()
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl<T: Named> Value for T {
    type Read = Choice<Self>;
    type Limits = ();

    fn resolve(setting: &Setting<Choice<Self>>, (): &()) -> Result<Self, Problem> {
        Ok(setting.read()?.0)
    }

    fn written(&self) -> Option<String> {
        Some(text(self.to_name()))
    }
}

impl Value for Vec<Code> {
    type Read = Vec<Spanned<Code>>;
    /// What to write instead of an empty list.
    type Limits = &'static str;

    fn resolve(setting: &Setting<Self::Read>, instead: &&'static str) -> Result<Self, Problem> {
        codes(setting, instead)
    }

    fn written(&self) -> Option<String> {
        Some(list(self))
    }
}

impl<T: Named> Value for Vec<T> {
    type Read = Vec<Spanned<Choice<T>>>;
    /// What to write instead of an empty list.
    type Limits = &'static str;

    fn resolve(setting: &Setting<Self::Read>, instead: &&'static str) -> Result<Self, Problem> {
        let mut values = Vec::new();
        for choice in setting.read()? {
            let (span, Choice(value)) = (choice.span(), choice.into_inner());
            if values.contains(&value) {
                let twice = format!("`{}` is in the list already; leave one out", value.to_name());
                return Err(Problem::at(span, twice));
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(Problem::at(setting.span(), format!("the list is empty; {instead}")));
        }
        Ok(values)
    }

    fn written(&self) -> Option<String> {
        let names: Vec<_> = self.iter().map(|value| value.to_name()).collect();
        Some(list(&names))
    }
}

impl<T: Value> Value for Option<T> {
    type Read = T::Read;
    type Limits = T::Limits;

    fn resolve(setting: &Setting<Self::Read>, limits: &Self::Limits) -> Result<Self, Problem> {
        T::resolve(setting, limits).map(Some)
    }

    fn written(&self) -> Option<String> {
        self.as_ref().and_then(T::written)
    }
}

/// The first of two settings that exclude each other, marked, with the remedy.
pub(crate) fn excluded<T, U>(
    (a, first): (&str, Option<&Setting<T>>),
    (b, second): (&str, Option<&Setting<U>>),
    help: &str,
) -> Result<(), Problem> {
    match (first, second) {
        (Some(first), Some(_)) => {
            Err(Problem::at(first.span(), format!("`{a}` and `{b}` exclude each other")).help(help))
        }
        _ => Ok(()),
    }
}

/// Whether `low` is over `high`: a problem at whichever of the two was written.
pub(crate) fn ordered<T: FromToml + PartialOrd + Shown>(
    (a, low, low_at): (&str, T, Option<&Setting<T>>),
    (b, high, high_at): (&str, T, Option<&Setting<T>>),
) -> Result<(), Problem> {
    if low <= high {
        return Ok(());
    }
    let span: Option<Span> = low_at.or(high_at).map(Setting::span);
    let message = format!("`{a}` of {} is over `{b}` of {}", low.shown(), high.shown());
    Err(Problem::new(span, message).help(format!("lower `{a}`, or raise `{b}`")))
}

/// Declares a table: a struct of keys, each `name: type = default, limits;`, and below `+ tables` the optional tables
/// in it. A function given as `settle` sees the resolved table and the raw one, and settles what is between the keys.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident {
            $( $(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr, $limits:expr; )*
            $( + tables { $( $(#[$table_doc:meta])* $table:ident: $table_type:ident; )* } )?
        }
        $( settle = $settle:path; )?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[$key_doc])* pub $key: $type, )*
            $($( $(#[$table_doc])* pub $table: Option<$table_type>, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* $($( $table: None, )*)? }
            }
        }

        const _: () = {
            use $crate::scenario::keys::{KeyTable, Page, Problem, Setting, Value, value_or};

            #[derive(serde::Deserialize, Default)]
            #[serde(deny_unknown_fields, default)]
            #[allow(unreachable_pub, reason = "it is named by its trait only")]
            pub struct Raw {
                $( pub(crate) $key: Option<Setting<<$type as Value>::Read>>, )*
                $($( pub(crate) $table: Option<$crate::scenario::keys::Table<<$table_type as KeyTable>::Raw>>, )*)?
            }

            impl KeyTable for $name {
                type Raw = Raw;

                fn resolve(raw: &Raw) -> Result<Self, Problem> {
                    let table = Self {
                        $( $key: value_or(raw.$key.as_ref(), &$limits, $default)?, )*
                        $($( $table: raw.$table.as_ref().map(|raw| <$table_type>::resolve(raw)).transpose()?, )*)?
                    };
                    $( let table = $settle(table, raw)?; )?
                    Ok(table)
                }

                fn write(&self, page: &mut Page, path: &str) {
                    page.header(&format!("[{path}]"));
                    $( if let Some(value) = self.$key.written() { page.key(stringify!($key), value); } )*
                    $($( if let Some(table) = &self.$table {
                        table.write(page, &format!("{path}.{}", stringify!($table)));
                    } )*)?
                }

                fn homes(path: &str) -> Vec<(String, &'static [&'static str])> {
                    let own: &[&str] = &[$( stringify!($key), )* $($( stringify!($table), )*)?];
                    #[allow(unused_mut, reason = "most have no table in them")]
                    let mut homes = vec![(path.to_owned(), own)];
                    $($( homes.extend(<$table_type>::homes(&format!("{path}.{}", stringify!($table)))); )*)?
                    homes
                }
            }
        };
    };
}

pub(crate) use table;
