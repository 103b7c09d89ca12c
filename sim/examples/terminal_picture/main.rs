//! Draws the output of a command as a picture of a terminal: text on standard input, SVG on standard output. The argument is
//! the command line that the picture shows. The picture of the README is made by
//!
//! ```console
//! $ sim scenarios/crash_then_freeze.toml --seed 42 \
//!     | cargo run -q -p sim --example terminal_picture -- "sim scenarios/crash_then_freeze.toml --seed 42" \
//!     > sim/pictures/terminal.svg
//! ```

mod picture;

use std::{
    env,
    io::{self, Read, Write},
};

fn main() -> io::Result<()> {
    let command = env::args().nth(1).unwrap_or_else(|| "sim".to_owned());
    let mut output = String::new();
    io::stdin().read_to_string(&mut output)?;
    io::stdout().write_all(picture::svg(&command, &output).as_bytes())
}
