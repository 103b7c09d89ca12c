//! `sim schema`: the JSON Schema of scenario files.

use kernel::{
    cli::{Exit, print},
    scenario::schema,
};

/// Prints the schema.
pub(crate) fn run() -> Exit {
    print(&format!("{:#}\n", schema()));
    Exit::Passed
}
