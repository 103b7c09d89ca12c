//! Options for the behavior of a server with the workload `backend`.

use std::time::Duration;

use clap::Args;
use kernel::{
    scenario::{Backend, duration},
    status::Code,
};

use super::{share, wait};

/// The options. The defaults are those of `[workload]` in scenarios.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "As a backend")]
pub(crate) struct BackendArgs {
    /// The share of calls that fail, from 0 to 1.
    #[arg(long, default_value_t = Backend::default().failure_rate, value_parser = share)]
    failure_rate: f64,

    /// The status of the calls that fail.
    #[arg(long, default_value_t = Backend::default().failure_status, value_parser = failure_status, value_name = "STATUS")]
    failure_status: Code,

    /// The share of calls that are never answered, from 0 to 1.
    #[arg(long, default_value_t = Backend::default().hang_rate, value_parser = share)]
    hang_rate: f64,

    /// The least time that a call takes [default: 20ms].
    #[arg(long, value_parser = wait, value_name = "TIME")]
    backend_delay: Option<Duration>,
}

impl BackendArgs {
    /// The options for a backend of a scenario.
    pub(crate) fn from_settings(backend: &Backend) -> Self {
        let Backend { failure_rate, failure_status, hang_rate, delay } = *backend;
        Self { failure_rate, failure_status, hang_rate, backend_delay: Some(delay) }
    }

    /// The words of a command line with these options.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let options = [
            ("--failure-rate", Some(self.failure_rate.to_string())),
            ("--failure-status", Some(self.failure_status.to_string())),
            ("--hang-rate", Some(self.hang_rate.to_string())),
            ("--backend-delay", self.backend_delay.map(duration::text)),
        ];
        let given = options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?]));
        given.flatten().collect()
    }

    /// The settings of a server with these options. Fails if the rates are over 1 together.
    pub(crate) fn settings(&self) -> Result<Backend, String> {
        let Self { failure_rate, failure_status, hang_rate, backend_delay } = *self;
        if failure_rate + hang_rate > 1.0 {
            return Err(format!(
                "--failure-rate {failure_rate} and --hang-rate {hang_rate} are over 1 together; a call fails or hangs, not both"
            ));
        }
        let delay = backend_delay.unwrap_or(Backend::default().delay);
        Ok(Backend { failure_rate, failure_status, hang_rate, delay })
    }
}

/// Parses a status other than OK.
pub(crate) fn failure_status(text: &str) -> Result<Code, String> {
    match text.parse() {
        Ok(Code::Ok) => Err("OK is no failure".to_owned()),
        Ok(code) => Ok(code),
        Err(_) => Err(format!("it is one of {}", Code::names().skip(1).collect::<Vec<_>>().join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        backend: BackendArgs,
    }

    #[test]
    fn a_backend_survives_a_command_line() {
        let backend = Backend {
            failure_rate: 0.1,
            failure_status: Code::Internal,
            hang_rate: 0.25,
            delay: Duration::from_micros(1_500),
        };
        let words = ["x".to_owned()].into_iter().chain(BackendArgs::from_settings(&backend).to_words());
        assert_eq!(Line::parse_from(words).backend.settings(), Ok(backend));
        assert_eq!(Line::parse_from(["x"]).backend.settings(), Ok(Backend::default()));
    }

    #[test]
    fn impossible_options_are_rejected() {
        let together = Line::parse_from(["x", "--hang-rate", "0.5"]).backend.settings().unwrap_err();
        assert!(together.starts_with("--failure-rate 0.6 and --hang-rate 0.5 are over 1 together"), "{together}");
        for words in [["--failure-rate", "60"], ["--failure-status", "OK"], ["--failure-status", "503"]] {
            assert!(Line::try_parse_from(["x"].into_iter().chain(words)).is_err(), "{words:?}");
        }
    }
}
