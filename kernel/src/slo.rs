//! Service-level objectives, their alert rules, and when these would have fired in a run.
//!
//! | module | contents |
//! | --- | --- |
//! | [`settings`] | `[[slo]]`: objectives of availability and latency |
//! | `burn` | the burn rates and windows of the rules |
//! | [`prometheus`] | the rules as a file for Prometheus, and tests of it for `promtool` |
//! | `scraped` | what Prometheus has of a run: counters as they are scraped, and their rates |
//! | `firing` | the state of an alert over the evaluations of its rule |
//! | `history` | the burn rates of a rule over a run |
//! | [`report`] | the alerts of a run: when they fired, after which fault, how late, and which were false |
//! | [`tally`] | the same over many runs |
//!
//! The rules are those of the [SRE workbook](https://sre.google/workbook/alerting-on-slos/), chapter 5: several burn rates, each
//! over a long and a short window. They are evaluated as Prometheus 2 does it.

mod burn;
mod firing;
mod history;
pub mod prometheus;
pub mod report;
mod scraped;
pub mod settings;
pub mod tally;

pub use burn::{AlertRule, Severity};
pub use history::BurnRates;
pub use report::AlertReport;
pub use settings::{Slo, SloKind};
pub use tally::AlertTally;
