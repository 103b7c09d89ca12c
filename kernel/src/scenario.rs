//! Scenario files: read, checked, resolved, and written back.
//!
//! [`Scenario::load`] reads a TOML file, applies the command line's `--set key=value` and returns the validated
//! [`Scenario`] with every default filled in, or a [`ScenarioError`] that shows the line (or the `--set`) at fault, the
//! key's path and what would be right. [`Scenario::to_toml`] writes it back, defaults included; reading that gives an
//! equal scenario.
//!
//! The way of a file, each step a module:
//!
//! 1. `source` and `overrides`: text to a TOML tree in which every value knows where it was written.
//! 2. `raw`: serde's structs, the schema. `schema` puts serde's complaints in this module's words.
//! 3. `resolve`: types, bounds, defaults and rules between keys, to the types in `model`.
//!
//! Nothing outside this module sees a raw struct, a span or a TOML value. This module opens the scenario file, and
//! the service config that it names, and nothing else: a workload's `images` are looked for by whoever runs it.

pub mod bandwidth;
mod defaults;
pub mod duration;
mod error;
pub(crate) mod keys;
mod loose;
mod metric;
mod model;
mod names;
mod nearest;
mod overrides;
mod quantity;
mod raw;
mod read;
mod resolve;
mod schema;
mod service_config;
mod setting;
mod shorthand;
mod size;
mod source;
pub mod swarm;
mod table;
mod write;

pub use self::{
    error::{Mistake, Place, ScenarioError},
    metric::Unit,
    model::*,
    names::{FaultName, UnknownName},
    resolve::limits,
    size::SizeError,
};
