//! `kinds!`: a table whose keys depend on one of them, declared once.

use super::{
    named::Named,
    nearest::backticked,
    problem::{Problem, Problems},
    table::{Kinds, TableReader},
    value::Codec,
};

/// Reads the kind of `table`. `default` is the kind of a table that does not have the key.
pub(crate) fn kind_of<T: Named>(table: &TableReader<'_, '_>, kinds: &Kinds, default: Option<T>) -> Result<T, Problem> {
    match (table.get(kinds.key), default) {
        (Some(item), _) => T::read(item, &()),
        (None, Some(default)) => Ok(default),
        (None, None) => {
            let example = kinds.variants.first().map_or("", |(name, _)| *name);
            Err(table.missing(kinds.key, &format!("\"{example}\"")))
        }
    }
}

/// Returns a problem for each key of `table` that only other kinds than `kind` have; it names those kinds.
pub(crate) fn foreign_keys(table: &TableReader<'_, '_>, kinds: &Kinds, kind: &str) -> Problems {
    let mut problems = Problems::default();
    let mut seen = Vec::new();
    let taken = kinds.keys_of(kind);
    let all = kinds.variants.iter().flat_map(|(name, _)| kinds.keys_of(name));
    for key in all.filter(|key| !taken.contains(key)) {
        let Some(span) = table.span(key) else { continue };
        // Several kinds may have the key.
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let owners = kinds.variants.iter().filter(|(name, _)| kinds.keys_of(name).contains(&key));
        let owners: Vec<_> = owners.map(|(name, _)| format!("\"{name}\"")).collect();
        let message = format!("`{key}` belongs to {} = {}, and this is \"{kind}\"", kinds.key, owners.join(", "));
        problems.push(Problem::at(span, message).help(match &taken[..] {
            [] => format!("remove it; \"{kind}\" has no key of its own"),
            _ => format!("remove it; \"{kind}\" has {}", backticked(&taken)),
        }));
    }
    problems
}

/// Declares an enumeration that is a table of the file: `kind: "what" { … }`, each variant with its name in the file and
/// either a table of its own, `Variant("name", Type)`, or keys as in `table!`, `Variant "name" { … }`. `default` names the
/// kind of a table that does not say.
macro_rules! kinds {
    (
        $(#[doc = $doc:literal])*
        $( #[derive($($derive:ident),*)] )?
        $name:ident, $name_only:ident by $key:literal: $what:literal $(, default $default_kind:ident)? {
            $(
                $(#[doc = $variant_doc:literal])*
                $variant:ident = $variant_name:literal $(: $inner:ty)? $({ $(
                    $(#[doc = $key_doc:literal])*
                    $field:ident: $type:ty $(as $codec:ty)? $([$required:ident])? = $default:expr, $limits:expr, $samples:expr;
                )* })?
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq $($(, $derive)*)?)]
        pub enum $name {
            $( $(#[doc = $variant_doc])* $variant $( ($inner) )? $( { $( $(#[doc = $key_doc])* $field: $type, )* } )?, )*
        }

        #[doc = concat!("The kind of a [`", stringify!($name), "`], without its settings.")]
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::VariantArray, strum::IntoStaticStr,
        )]
        pub enum $name_only {
            $( $(#[doc = $variant_doc])* #[strum(serialize = $variant_name)] $variant, )*
        }

        $crate::settings::named::named!($name_only, $what);

        impl From<&$name> for $name_only {
            fn from(value: &$name) -> Self {
                match value {
                    $( $name::$variant { .. } => Self::$variant, )*
                }
            }
        }

        impl $name {
            /// Returns the name in scenario files.
            pub fn name(&self) -> &'static str {
                $name_only::from(self).name()
            }
        }

        const _: () = {
            #[allow(unused_imports, reason = "a kind has a table of its own, keys, or neither")]
            use $crate::settings::{
                problem::Problems,
                kinds_macro::{base, default_name, field, foreign_keys, kind_of},
                table::{Kinds, Settings, TableInfo, TableReader},
                table_macro::key,
                toml_writer::{TomlWriter, string},
            };

            const KINDS: &Kinds = &Kinds {
                key: $key,
                default: default_name!($name_only $(, $default_kind)?),
                variants: &[$( ($variant_name, &TableInfo {
                    doc: concat!($($variant_doc, "\n",)*),
                    $( keys: &[$( &key!(
                        [$($key_doc)*] $field: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                    ), )*], )?
                    ..base!($($inner)?)
                }), )*],
            };

            impl Settings for $name {
                const TABLE: &'static TableInfo =
                    &TableInfo { doc: concat!($($doc, "\n",)*), kinds: Some(KINDS), ..TableInfo::EMPTY };

                #[allow(unused_labels, reason = "only a kind with keys ends its block early")]
                fn read(reader: &TableReader<'_, '_>) -> Result<Self, Problems> {
                    #[allow(unused_mut, unused_assignments, reason = "only some tables have a default kind")]
                    let mut default = None;
                    $( default = Some($name_only::$default_kind); )?
                    let kind = kind_of::<$name_only>(reader, KINDS, default)?;
                    let mut problems = foreign_keys(reader, KINDS, kind.name());
                    let value = match kind {
                        $( $name_only::$variant => 'kind: {
                            $( let Some(inner) = problems.keep(<$inner as Settings>::read(reader)) else { break 'kind None }; )?
                            $(
                                $( let $field = problems.keep(key!(
                                    [$($key_doc)*] $field: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                                ).read(reader)); )*
                                let ($(Some($field),)*) = ($($field,)*) else { break 'kind None };
                            )?
                            Some(Self::$variant $( (field!(inner, $inner)) )? $( { $( $field, )* } )?)
                        } )*
                    };
                    value.filter(|_| problems.is_empty()).ok_or(problems)
                }

                fn write_keys(&self, toml: &mut TomlWriter, path: &str) {
                    toml.key($key, string(self.name()));
                    self.write_keys_of_kind(toml, path);
                }
            }

            impl $name {
                /// Writes the keys of the kind, without the key that chooses it.
                #[allow(unused_variables, reason = "not every kind has tables in it")]
                pub(crate) fn write_keys_of_kind(&self, toml: &mut TomlWriter, path: &str) {
                    match self {
                        $( Self::$variant $( (field!(inner, $inner)) )? $( { $( $field, )* } )? => {
                            $( <$inner as Settings>::write_keys(field!(inner, $inner), toml, path); )?
                            $( $( key!(
                                [$($key_doc)*] $field: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                            ).write(toml, $field); )* )?
                        } )*
                    }
                }
            }
        };
    };
}

/// Names a variable once for each repetition of `$type`.
macro_rules! field {
    ($name:ident, $type:ty) => {
        $name
    };
}

/// The declaration that a kind starts from: that of its own table, if it has one.
macro_rules! base {
    () => {
        $crate::settings::table::TableInfo::EMPTY
    };
    ($inner:ty) => {
        *<$inner as $crate::settings::table::Settings>::TABLE
    };
}

/// The name of the kind of a table that does not say.
macro_rules! default_name {
    ($names:ident) => {
        None
    };
    ($names:ident, $kind:ident) => {
        Some(|| $names::$kind.name())
    };
}

pub(crate) use {base, default_name, field, kinds};
