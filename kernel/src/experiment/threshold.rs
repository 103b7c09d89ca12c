//! Where runs tip: neighbouring values of a setting with which they go one way and the other.
//!
//! | module | holds |
//! | --- | --- |
//! | `range` | [`Range`], a setting and the values among which to look, and its [`Ladder`] |
//! | [`ballot`] | on which [`Side`] a value is, as its runs have it, and by which [`Rule`] |
//! | `search` | which values to ask: [`search`] |
//! | [`folder`] | [`Tip`], what a search leaves on disk |
//! | `text` | what is said of it |

pub mod ballot;
pub mod folder;
mod range;
mod search;
mod text;

pub use ballot::{Ballot, Rule, Side};
pub use folder::{Crossing, Identity, Judged, Point, Tip, TipError};
pub use range::{Ladder, Range, RangeError, Scale, Spacing};
pub use search::{Sides, decisions, search};
