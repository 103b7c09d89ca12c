//! `table!` declares a table of the format once, as a list of keys; `keys!` declares single keys.

/// Samples of a key that random settings never draw.
pub(crate) const NOT_DRAWN: &[&str] = &[];

/// Declares a table: a struct of keys, each `name: type = default, limits, samples;`.
///
/// * `type as codec` reads and writes the value by that codec instead of the type's own.
/// * `[required]` behind the type: a file must have the key, and the default is the example in the message.
/// * The samples are what random settings draw from, or [`NOT_DRAWN`]: a new key has to say.
/// * Below `+ tables` come the optional tables in it, each `name: type, samples;`.
/// * Below `+ lists` come the lists of tables in it, each `name: type, most;`, of which a file may have `most` items.
/// * `draw = [...]` lists the sets of keys that may be drawn together.
/// * `settle = function` names a function of the read table and its [`TableReader`] that checks and completes what is
///   between the keys. It is not called for a table with a wrong value.
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
            $( + lists { $(
                $(#[doc = $list_doc:literal])*
                $list:ident: $list_type:ident, $list_most:expr;
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
            $($( $(#[doc = $list_doc])* pub $list: Vec<$list_type>, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* $($( $table: None, )*)? $($( $list: Vec::new(), )*)? }
            }
        }

        const _: () = {
            #[allow(unused_imports, reason = "most tables have no table in them")]
            use $crate::settings::{
                problem::Problems,
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
                    ), )*)? $($( (stringify!($list), Presence::List, <$list_type as Settings>::TABLE), )*)?],
                    $( draw: $draw, )?
                    ..TableInfo::EMPTY
                };

                fn read(reader: &TableReader<'_, '_>) -> Result<Self, Problems> {
                    let mut problems = Problems::default();
                    $( let $key = problems.keep(key!(
                        [$($key_doc)*] $key: $type $(as $codec)? $([$required])? = $default, $limits, $samples
                    ).read(reader)); )*
                    $($( let $table = problems.keep(reader.optional::<$table_type>(stringify!($table))); )*)?
                    $($( let $list = problems.keep(reader.list_of::<$list_type>(stringify!($list), $list_most)); )*)?
                    let ($(Some($key),)* $($(Some($table),)*)? $($(Some($list),)*)?) =
                        ($($key,)* $($($table,)*)? $($($list,)*)?)
                    else {
                        return Err(problems);
                    };
                    let table = Self { $($key,)* $($($table,)*)? $($($list,)*)? };
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
                    $($( for item in &self.$list {
                        let path = format!("{path}.{}", stringify!($list));
                        toml.list_item(&path);
                        item.write_keys(toml, &path);
                    } )*)?
                }
            }
        };
    };
}

/// Declares keys of a table that is read by hand: constants, each `const NAME = key: type = default, limits, samples;` as in
/// [`table!`].
macro_rules! keys {
    ($(
        $(#[doc = $doc:literal])*
        $visibility:vis const $constant:ident = $key:ident: $codec:ty $([$required:ident])? = $default:expr, $limits:expr, $samples:expr;
    )*) => { $(
        $(#[doc = $doc])*
        $visibility const $constant: $crate::settings::table::Key<$codec> = $crate::settings::table_macro::key!(
            [$($doc)*] $key: $codec as $codec $([$required])? = $default, $limits, $samples
        );
    )* };
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

pub(crate) use {is_required, key, keys, table};
