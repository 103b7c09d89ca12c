//! The metrics of a run for other systems: Prometheus, OpenMetrics, dashboards and alerts.
//!
//! | module | contents |
//! | --- | --- |
//! | [`family`] | the list of all metrics: names, types, units, labels, descriptions |
//! | `observer`, `calls` | the values at any time, from rows as they are recorded |
//! | `measured` | what a server measures of its calls, for a process that exports the metrics of several |
//! | `series`, `histogram` | the values by labels; distributions with classic and native buckets |
//! | `text`, `protobuf`, `otlp` | the formats in which Prometheus reads them, and collectors of OpenTelemetry |
//! | `timeline` | the values over the time of a finished run, as OpenMetrics with timestamps |
//! | [`dashboard`] | the dashboard for Grafana |
//!
//! Metrics have the names of gRPC's proposals where one has them (A66, A78, A91, A96), as Prometheus writes these, and begin with
//! `rehearsal_` otherwise. The state knows neither HTTP nor processes nor a clock: `real` feeds it while a run goes on, `sim` after it.

mod calls;
pub mod dashboard;
pub mod family;
mod histogram;
mod measured;
mod observer;
#[cfg(feature = "service")]
mod otlp;
#[cfg(feature = "service")]
mod protobuf;
mod series;
mod text;
mod timeline;

pub use family::Family;
pub use histogram::Distribution;
pub use measured::{Measured, Measuring};
pub use observer::Observer;
#[cfg(feature = "service")]
pub use otlp::{OTLP, OtlpTimes, encode_otlp};
#[cfg(feature = "service")]
pub use protobuf::{PROTOBUF, encode_protobuf};
pub use series::{Series, Value};
pub use text::TextFormat;
pub(crate) use text::bound_text;
pub use timeline::{EPOCH_S, Timeline};
