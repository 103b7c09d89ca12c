//! `[client]`: the settings of a call and of the client's health checks.

use std::time::Duration;

use crate::{
    policy::{self, Policies},
    settings::{
        kinds_macro::kinds,
        limits,
        named::named,
        problem::Problems,
        samples,
        table::{Presence, Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys, table},
        toml_writer::TomlWriter,
    },
    status::Code,
};

/// `[client]`: how a call is made of attempts.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Limit of the whole call, every attempt included.
    pub deadline: Duration,
    /// Limit of one attempt, which never outlives the call's deadline.
    pub attempt_timeout: Duration,
    /// A call waits for a server to be ready instead of failing while none is.
    pub wait_for_ready: bool,
    /// The rule that chooses the server of the next attempt.
    pub load_balancing: Balancing,
    /// The retries after a failed attempt.
    pub retry: Retry,
    /// The checks by which the client watches its servers between calls.
    pub health_check: HealthCheck,
    /// Policies that are off unless their table is in the file.
    pub policies: Policies,
}

keys! {
    /// Limit of the whole call, every attempt included.
    const DEADLINE = deadline: Duration = Duration::from_secs(30), limits::DURATION,
        &["\"1ms\"", "\"50ms\"", "\"500ms\"", "\"2s\"", "\"2s\"", "\"5s\"", "\"30s\""];
    /// Limit of one attempt, which never outlives the call's deadline.
    const ATTEMPT_TIMEOUT = attempt_timeout: Duration = Duration::from_secs(10), limits::DURATION,
        &["\"1ms\"", "\"30ms\"", "\"300ms\"", "\"300ms\"", "\"1s\"", "\"1s\"", "\"10s\""];
    /// A call waits for a server to be ready instead of failing while none is (gRPC).
    const WAIT_FOR_READY = wait_for_ready: bool = false, (), &["true", "false"];
    // The file is read by `scenario`, which knows the folder that it is relative to.
    /// A gRPC service config in JSON, relative to the scenario file, whose settings the client takes over.
    pub(crate) const SERVICE_CONFIG = service_config: Option<String> = None, (), NOT_DRAWN;
    /// The method of the service config that is rehearsed, as `package.Service/Method`.
    pub(crate) const SERVICE_CONFIG_METHOD = service_config_method: Option<String> = None, (), NOT_DRAWN;
}

impl Default for Client {
    /// Returns 30 s for a call, 10 s for an attempt, and the defaults of the other tables.
    fn default() -> Self {
        Self {
            deadline: (DEADLINE.default)(),
            attempt_timeout: (ATTEMPT_TIMEOUT.default)(),
            wait_for_ready: (WAIT_FOR_READY.default)(),
            load_balancing: Balancing::default(),
            retry: Retry::default(),
            health_check: HealthCheck::default(),
            policies: Policies::default(),
        }
    }
}

macro_rules! client_table {
    ($($policy:ident: $table:ident,)*) => {
        const TABLE: &TableInfo = &TableInfo {
            doc: "`[client]`: how a call is made of attempts.",
            keys: &[&DEADLINE, &ATTEMPT_TIMEOUT, &WAIT_FOR_READY, &SERVICE_CONFIG, &SERVICE_CONFIG_METHOD],
            tables: &[
                ("load_balancing", Presence::Always, <Balancing as Settings>::TABLE),
                ("retry", Presence::Always, <Retry as Settings>::TABLE),
                ("health_check", Presence::Always, <HealthCheck as Settings>::TABLE),
                $( (stringify!($policy), Presence::Optional, <policy::$table as Settings>::TABLE), )*
            ],
            ..TableInfo::EMPTY
        };
    };
}

policy::each_policy!(client_table);

impl Settings for Client {
    const TABLE: &'static TableInfo = TABLE;

    fn read(table: &TableReader<'_, '_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let policies = problems.keep(Policies::read(table));
        let load_balancing = problems.keep(Balancing::read(&table.table("load_balancing")));
        let retry = problems.keep(Retry::read(&table.table("retry")));
        let deadline = problems.keep(DEADLINE.read(table));
        let attempt_timeout = problems.keep(ATTEMPT_TIMEOUT.read(table));
        let wait_for_ready = problems.keep(WAIT_FOR_READY.read(table));
        let health_check = problems.keep(HealthCheck::read(&table.table("health_check")));
        match (policies, load_balancing, retry, deadline, attempt_timeout, wait_for_ready, health_check) {
            (
                Some(policies),
                Some(load_balancing),
                Some(retry),
                Some(deadline),
                Some(attempt_timeout),
                Some(wait_for_ready),
                Some(health_check),
            ) => Ok(Self { deadline, attempt_timeout, wait_for_ready, load_balancing, retry, health_check, policies }),
            _ => Err(problems),
        }
    }

    fn write_keys(&self, toml: &mut TomlWriter, path: &str) {
        DEADLINE.write(toml, &self.deadline);
        ATTEMPT_TIMEOUT.write(toml, &self.attempt_timeout);
        // Left out while it is off, as the policies' tables are.
        if self.wait_for_ready {
            WAIT_FOR_READY.write(toml, &self.wait_for_ready);
        }
        self.load_balancing.write(toml, &format!("{path}.load_balancing"));
        self.retry.write(toml, &format!("{path}.retry"));
        self.health_check.write(toml, &format!("{path}.health_check"));
        self.policies.write(toml, path);
    }
}

kinds! {
    /// `[client.load_balancing]`: how the server of an attempt is chosen.
    #[derive(Copy, Eq)]
    Balancing, BalancingName by "policy": "a load balancing policy", default RoundRobin {
        /// The first healthy server, for as long as it is healthy.
        PickFirst = "pick_first"
        /// Every healthy server in turn.
        RoundRobin = "round_robin"
        /// A healthy server drawn at random, each as likely as the others.
        Random = "random"
        /// The one with the fewest attempts under way among a few servers drawn at random (gRPC A48, Envoy).
        LeastRequest = "least_request" {
            /// Number of servers that are drawn; gRPC A48's and Envoy's default.
            choice_count: usize = 2, limits::CHOICE_COUNT, &["2", "5", "100"];
        }
        /// The one of two drawn servers with the lower product of latency and load, the latency being a moving average that
        /// jumps to peaks (Finagle, Linkerd, tower).
        PeakEwma = "peak_ewma" {
            /// Time over which the average forgets; Linkerd's default.
            decay: Duration = Duration::from_secs(10), limits::DURATION, samples::TIMES;
            /// Latency of a server without a measurement; Linkerd's default.
            default_rtt: Duration = Duration::from_millis(30), limits::DURATION, samples::TIMES;
        }
    }
}

#[expect(clippy::derivable_impls, reason = "`kinds!` declares the enumeration")]
impl Default for Balancing {
    fn default() -> Self {
        Self::RoundRobin
    }
}

table! {
    /// `[client.retry]`: gRPC A6's retry policy, with jitter of one's choice.
    Retry {
        /// Attempts of a call, the first one included; 1 means no retry. gRPC A6 caps it at 5.
        max_attempts: u32 = 3, limits::MAX_ATTEMPTS, NOT_DRAWN;
        /// Backoff before the second attempt; unlike in A6 it may be zero.
        initial_backoff: Duration = Duration::from_millis(100), limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"100ms\"", "\"1s\""];
        /// The longest backoff, before jitter.
        max_backoff: Duration = Duration::from_secs(5), limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"500ms\"", "\"1h\""];
        /// Ratio of each backoff to the one before it.
        backoff_multiplier: f64 = 2.0, limits::BACKOFF_MULTIPLIER, &["1.0", "1.6", "1000.0"];
        /// How backoffs are spread.
        jitter: Jitter = Jitter::None, (), &["\"none\"", "\"proportional\"", "\"full\"", "\"equal\""];
        /// Statuses after which an attempt is retried.
        retryable_status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "to retry nothing, write max_attempts = 1 instead", samples::CODES;
        /// A retry goes to a server that this call has not failed on, while there is one.
        prefer_other_server: bool = true, (), samples::FLAGS;
    }
}

/// The distribution that a computed backoff `x` is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Jitter {
    /// `x`
    None,
    /// `x · U(0.8, 1.2)`, gRPC A6
    Proportional,
    /// `U(0, x)`
    Full,
    /// `x/2 + U(0, x/2)`
    Equal,
}

named!(Jitter, "a kind of jitter");

table! {
    /// `[client.health_check]`: active checks by `grpc.health.v1`.
    #[derive(Copy, Eq)]
    HealthCheck {
        /// Time between two checks of one server, and how long a result is valid.
        interval: Duration = Duration::from_secs(5), limits::INTERVAL, &["\"50ms\"", "\"500ms\"", "\"5s\"", "\"1h\""];
        /// Time after which a check without an answer has failed.
        timeout: Duration = Duration::from_secs(1), limits::DURATION, &["\"1ms\"", "\"100ms\"", "\"1s\""];
    }
}
