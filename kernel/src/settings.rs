//! The language of scenario files: how a table declares its keys, and how files are read, checked and written by these
//! declarations. It knows no table: each part of the kernel declares the one that configures it, and
//! [`scenario`](crate::scenario) puts them together.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`table`] | what a table and a key are: [`TableInfo`] and [`KeyInfo`], reading, writing |
//! | `table_macro`, `kinds_macro` | `table!` declares a table, `kinds!` one whose keys depend on its kind |
//! | `value` | the types of values: from TOML, within limits, to TOML |
//! | `samples` | values that several keys are tried with |
//! | `name` | the rule for names that become a folder or a column |
//! | `named` | enumerations by their names |
//! | [`limits`] | the bounds of values |
//! | [`duration`], [`bandwidth`], `quantity` | numbers with units |
//! | `shape` | unknown keys and values in place of tables, for a whole file |
//! | `source`, `overrides` | where values were written, and `--set` |
//! | `problem`, `error` | what is wrong, while a file is read, and as a message that shows the place |
//! | `nearest` | the name that a misspelt one was probably meant to be |
//! | `toml_writer` | scenario files as text |

pub mod bandwidth;
pub mod duration;
pub(crate) mod error;
pub(crate) mod kinds_macro;
pub mod limits;
pub(crate) mod name;
pub(crate) mod named;
pub mod nearest;
pub(crate) mod overrides;
pub(crate) mod problem;
mod quantity;
pub(crate) mod samples;
pub(crate) mod shape;
pub(crate) mod source;
pub mod table;
pub(crate) mod table_macro;
pub(crate) mod toml_writer;
pub(crate) mod value;

pub use self::{
    error::{Mistake, ScenarioError},
    named::UnknownName,
    source::Place,
    table::{KeyInfo, Kinds, Presence, TableInfo},
};
