//! `table!`: a table of the format declared once, as a list of keys.

/// Samples of a key that random settings never draw.
pub(crate) const NOT_DRAWN: &[&str] = &[];

/// Declares a table: a struct of keys, each `name: type = default, limits, samples;`.
///
/// * `type as codec` reads and writes the value by that codec instead of the type's own.
/// * `[required]` behind the type: a file must have the key, and the default is the example in the message.
/// * The samples are what random settings draw from, or [`NOT_DRAWN`]: a new key has to say.
/// * Below `+ tables` come the optional tables in it, each `name: type, samples;`.
/// * `draw = [...]` lists the sets of keys that may be drawn together.
/// * `settle = function` names a function of the read table and its [`TableReader`] that checks and completes what is
///   between the keys.
///
/// [`TableReader`]: super::table::TableReader
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $( #[derive($($derive:ident),*)] )?
        $name:ident {
            $(
                $(#[doc = $key_doc:literal])*
                $key:ident: $type:ty $(as $codec:ty)? $([$required:ident])? = $default:expr, $limits:expr, $samples:expr;
            )*
            $( + tables { $(
                $(#[doc = $table_doc:literal])*
                $table:ident: $table_type:ident, $table_samples:expr;
            )* } )?
        }
        $( draw = $draw:expr; )?
        $( settle = $settle:path; )?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq $($(, $derive)*)?)]
        pub struct $name {
            $( $(#[doc = $key_doc])* pub $key: $type, )*
            $($( $(#[doc = $table_doc])* pub $table: Option<$table_type>, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* $($( $table: None, )*)? }
            }
        }

        const _: () = {
            #[allow(unused_imports, reason = "most tables have no table in them")]
            use $crate::settings::{
                error::Problem,
                table::{Presence, Settings, TableInfo, TableReader},
                table_macro::key,
                toml_writer::TomlWriter,
            };

            impl Settings for $name {
                const TABLE: &'static TableInfo = &TableInfo {
                    doc: concat!($($doc, "\n",)*),
                    keys: &[$( &key!(
                        [$($key_doc)*] $key: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                    ), )*],
                    tables: &[$($( (
                        stringify!($table), Presence::Optional, &TableInfo {
                            samples: $table_samples, ..*<$table_type as Settings>::TABLE
                        },
                    ), )*)?],
                    $( draw: $draw, )?
                    ..TableInfo::EMPTY
                };

                fn read(reader: &TableReader<'_, '_>) -> Result<Self, Problem> {
                    let table = Self {
                        $( $key: key!(
                            [$($key_doc)*] $key: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                        ).read(reader)?, )*
                        $($( $table: match reader.table_if_any(stringify!($table)) {
                            Some(inner) => Some(<$table_type>::read(&inner)?),
                            None => None,
                        }, )*)?
                    };
                    $( let table = $settle(table, reader)?; )?
                    Ok(table)
                }

                #[allow(unused_variables, reason = "most tables have no table in them")]
                fn write_keys(&self, toml: &mut TomlWriter, path: &str) {
                    $( key!(
                        [$($key_doc)*] $key: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                    ).write(toml, &self.$key); )*
                    $($( if let Some(table) = &self.$table {
                        table.write(toml, &format!("{path}.{}", stringify!($table)));
                    } )*)?
                }
            }
        };
    };
}

/// The [`Key`](super::table::Key) of one line of a declaration.
macro_rules! key {
    ([$($doc:literal)*] $key:ident: $type:ty as $codec:ty $([$required:ident])? = $default:expr, $limits:expr, $samples:expr) => {
        $crate::settings::table::Key::<$codec> {
            name: stringify!($key),
            doc: concat!($($doc, "\n",)*),
            is_required: $crate::settings::table_macro::is_required!($($required)?),
            default: || $default,
            limits: $limits,
            samples: $samples,
        }
    };
    ([$($doc:literal)*] $key:ident: $type:ty $([$required:ident])? = $default:expr, $limits:expr, $samples:expr) => {
        $crate::settings::table_macro::key!([$($doc)*] $key: $type as $type $([$required])? = $default, $limits, $samples)
    };
}

macro_rules! is_required {
    () => {
        false
    };
    (required) => {
        true
    };
}

pub(crate) use {is_required, key, table};
