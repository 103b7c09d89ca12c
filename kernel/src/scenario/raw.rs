//! The schema: a scenario file as serde reads it. Unknown keys stop here; types, bounds and defaults are the business
//! of `resolve`. Every key is optional here, so that a missing one is reported like any other mistake.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{
    error::Problem,
    keys::KeyTable,
    model::{Arrivals, Direction, Jitter, Metric, Size},
    names::{BalancingName, FaultName, WorkloadName},
    setting::{BitRate, Choice, OneOrMore, Setting, Untyped},
    source::Span,
    table::Table,
};
use crate::{nemesis::Menu, policy, policy::each_policy, server::Admission, status::Code};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Scenario {
    pub(super) name: Option<Setting<String>>,
    pub(super) question: Option<Setting<String>>,
    pub(super) duration: Option<Setting<Duration>>,
    pub(super) servers: Table<Servers>,
    pub(super) workload: Table<Workload>,
    pub(super) load: Option<Spanned<Table<Load>>>,
    pub(super) network: Table<Network>,
    pub(super) client: Table<Client>,
    pub(super) nemesis: Option<Table<<Menu as KeyTable>::Raw>>,
    pub(super) fault: Vec<Spanned<Table<Fault>>>,
    pub(super) expect: Vec<Spanned<Table<Expect>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Servers {
    pub(super) replicas: Option<Setting<usize>>,
    pub(super) workers: Option<Setting<usize>>,
    pub(super) queue: Option<Setting<usize>>,
    pub(super) restart_after: Option<Setting<Duration>>,
    pub(super) service_time_min: Option<Setting<Duration>>,
    pub(super) admission: Option<Spanned<Table<<Admission as KeyTable>::Raw>>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workload {
    pub(super) kind: Option<Setting<Choice<WorkloadName>>>,
    pub(super) sizes: Option<Setting<Vec<Spanned<Size>>>>,
    pub(super) images: Option<Setting<String>>,
    /// Of `dfs`, as is the next one.
    pub(super) nodes: Option<Setting<usize>>,
    pub(super) edges: Option<Setting<usize>>,
    /// Of `backend`, as are the next ones.
    pub(super) failure_rate: Option<Setting<f64>>,
    pub(super) failure_status: Option<Setting<Code>>,
    pub(super) hang_rate: Option<Setting<f64>>,
    pub(super) delay: Option<Setting<Duration>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Load {
    pub(super) rate: Option<Setting<f64>>,
    pub(super) arrivals: Option<Setting<Choice<Arrivals>>>,
    pub(super) max_in_flight: Option<Setting<usize>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Network {
    pub(super) latency: Option<Setting<Duration>>,
    pub(super) jitter: Option<Setting<Duration>>,
    pub(super) bandwidth: Option<Setting<BitRate>>,
}

macro_rules! client {
    ($($policy:ident: $table:ident,)*) => {
        #[derive(Deserialize, Default)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Client {
            pub(super) deadline: Option<Setting<Duration>>,
            pub(super) attempt_timeout: Option<Setting<Duration>>,
            pub(super) wait_for_ready: Option<Setting<bool>>,
            pub(super) service_config: Option<Setting<String>>,
            pub(super) service_config_method: Option<Setting<String>>,
            pub(super) load_balancing: Table<LoadBalancing>,
            pub(super) retry: Table<Retry>,
            pub(super) health_check: Table<HealthCheck>,
            $( pub(super) $policy: Option<Spanned<Table<<policy::$table as KeyTable>::Raw>>>, )*
        }

        impl Client {
            /// Those whose tables are there.
            pub(super) fn policies(&self) -> Result<policy::Policies, Problem> {
                Ok(policy::Policies {
                    $( $policy: match &self.$policy {
                        Some(raw) => Some(policy::$table::resolve(raw.get_ref())?),
                        None => None,
                    }, )*
                })
            }
        }

        /// The keys of the tables that are declared, by the tables' paths.
        pub(super) fn declared_homes() -> Vec<(String, &'static [&'static str])> {
            let (servers, nemesis) = (Admission::homes("servers.admission"), Menu::homes("nemesis"));
            [$( policy::$table::homes(concat!("client.", stringify!($policy))), )* servers, nemesis].concat()
        }
    };
}

each_policy!(client);

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoadBalancing {
    pub(super) policy: Option<Setting<Choice<BalancingName>>>,
    /// Of `least_request`.
    pub(super) choice_count: Option<Setting<usize>>,
    /// Of `peak_ewma`, as is the next one.
    pub(super) decay: Option<Setting<Duration>>,
    pub(super) default_rtt: Option<Setting<Duration>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Retry {
    pub(super) max_attempts: Option<Setting<usize>>,
    pub(super) initial_backoff: Option<Setting<Duration>>,
    pub(super) max_backoff: Option<Setting<Duration>>,
    pub(super) backoff_multiplier: Option<Setting<f64>>,
    pub(super) jitter: Option<Setting<Choice<Jitter>>>,
    pub(super) retryable_status_codes: Option<Setting<Vec<Spanned<Code>>>>,
    pub(super) prefer_other_server: Option<Setting<bool>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HealthCheck {
    pub(super) interval: Option<Setting<Duration>>,
    pub(super) timeout: Option<Setting<Duration>>,
}

impl Retry {
    /// Where its first key is, if it has one.
    pub(super) fn first_given(&self) -> Option<Span> {
        let spans = [
            self.max_attempts.as_ref().map(Setting::span),
            self.initial_backoff.as_ref().map(Setting::span),
            self.max_backoff.as_ref().map(Setting::span),
            self.backoff_multiplier.as_ref().map(Setting::span),
            self.jitter.as_ref().map(Setting::span),
            self.retryable_status_codes.as_ref().map(Setting::span),
            self.prefer_other_server.as_ref().map(Setting::span),
        ];
        spans.into_iter().flatten().next()
    }

    pub(super) fn is_given(&self) -> bool {
        self.first_given().is_some()
    }
}

/// The parameters of every kind; `resolve` turns down those that the kind does not take.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fault {
    pub(super) at: Option<Setting<Duration>>,
    pub(super) kind: Option<Setting<Choice<FaultName>>>,
    pub(super) target: Option<Setting<OneOrMore>>,
    pub(super) duration: Option<Setting<Duration>>,
    pub(super) restart_after: Option<Setting<Duration>>,
    pub(super) latency: Option<Setting<Duration>>,
    pub(super) jitter: Option<Setting<Duration>>,
    pub(super) direction: Option<Setting<Choice<Direction>>>,
    /// A share for `loss` and `errors`, a bandwidth for `bandwidth`.
    pub(super) rate: Option<Setting<Untyped>>,
    pub(super) status: Option<Setting<Code>>,
    pub(super) factor: Option<Setting<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    pub(super) metric: Option<Setting<Choice<Metric>>>,
    pub(super) during: Option<Setting<String>>,
    /// Both are durations or numbers, as the metric has it.
    pub(super) min: Option<Setting<Untyped>>,
    pub(super) max: Option<Setting<Untyped>>,
}
