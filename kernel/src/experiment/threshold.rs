//! Threshold searches: neighbouring values of a setting of which one lets runs pass and the other does not.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `setting_range` | [`SettingRange`], a setting and the range of values in which to search |
//! | `value_grid` | [`ValueGrid`], the values of a range that may be tested |
//! | [`sequential_test`] | [`SequentialTest`] of one value, its [`TestOutcome`] and the [`StoppingRule`] |
//! | `search` | [`search`], which decides which values are tested |
//! | `identity` | [`ThresholdIdentity`], which search it is, and its [`Criterion`] |
//! | `boundary` | [`Point`] and [`Boundary`], the results |
//! | [`folder`] | [`ThresholdRecord`], the content of a search's folder, which can be read and written |
//! | `report` | what a search prints when it ends |

mod boundary;
pub mod folder;
mod identity;
mod report;
#[cfg(test)]
mod sample;
mod search;
pub mod sequential_test;
mod setting_range;
mod value_grid;

pub use boundary::{Boundary, Point};
pub use folder::ThresholdRecord;
pub use identity::{Criterion, ThresholdIdentity};
pub use search::{Outcomes, decisions_max, search};
pub use sequential_test::{SequentialTest, StoppingRule, TestOutcome, wilson_interval};
pub use setting_range::{RangeError, SettingRange, Spacing, ValueKind};
pub use value_grid::ValueGrid;
