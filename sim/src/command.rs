//! The command line of `sim`: its options and its subcommands.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use kernel::cli::RunArgs;

use crate::{
    hunt::HuntArgs,
    keys::KeysArgs,
    many::ManyArgs,
    shrink::ShrinkArgs,
    tip::TipArgs,
    verify::{VerifyArgs, side::SideArgs},
};

/// Plays a scenario in a deterministic simulation: same file, same seed, same bytes.
#[derive(Debug, Parser)]
#[command(name = "sim", version, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) run: Option<RunArgs>,

    #[command(flatten)]
    pub(crate) many: ManyArgs,

    /// The host's times; the built-in ones unless given
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,

    /// Plants a bug, which is to be found
    #[cfg(feature = "canaries")]
    #[arg(long, global = true)]
    pub(crate) bug: Option<kernel::bug::Bug>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays every run twice, in processes as different as can be arranged, and compares all that happens
    Verify(VerifyArgs),

    /// Takes away from a scenario that fails what is not needed for it to fail
    Shrink(ShrinkArgs),

    /// Draws faults until a run fails
    Hunt(HuntArgs),

    /// Finds where runs tip: from holding what is expected to failing it, or from recovery to none
    Tip(TipArgs),

    /// Prints the keys of scenario files: defaults, types, bounds and meaning
    Keys(KeysArgs),

    /// One of those processes
    #[command(hide = true)]
    Side(SideArgs),
}
