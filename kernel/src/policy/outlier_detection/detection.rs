//! How outlier detection has found a server, as the cause of its ejection and in the words of gRPC A91.

use std::fmt;

const SUCCESS_RATE: &str = "success_rate";
const FAILURE_PERCENTAGE: &str = "failure_percentage";
const CONSECUTIVE_ERRORS: &str = "consecutive_errors";

const SUCCESS_RATE_BEGINS: &str = "success rate ";
const FAILURE_PERCENTAGE_ENDS: &str = " % failed";

/// How a server was found. It is written as the cause of an ejection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Detection {
    /// Its success rate, from 0 to 1, is under a threshold that the other servers set.
    SuccessRate {
        /// The success rate.
        rate: f64,
        /// The threshold, from 0 to 1.
        threshold: f64,
    },
    /// So many percent of its attempts have failed.
    FailurePercentage(f64),
    /// So many of its attempts have failed in a row.
    ConsecutiveErrors(usize),
}

impl Detection {
    /// Returns the name of the method in A91.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::SuccessRate { .. } => SUCCESS_RATE,
            Self::FailurePercentage(_) => FAILURE_PERCENTAGE,
            Self::ConsecutiveErrors(_) => CONSECUTIVE_ERRORS,
        }
    }

    /// Returns the name of the method in A91 by which a server was found that was ejected because of `cause`.
    pub(crate) fn method_of(cause: &str) -> &'static str {
        if cause.starts_with(SUCCESS_RATE_BEGINS) {
            SUCCESS_RATE
        } else if cause.ends_with(FAILURE_PERCENTAGE_ENDS) {
            FAILURE_PERCENTAGE
        } else {
            CONSECUTIVE_ERRORS
        }
    }
}

impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SuccessRate { rate, threshold } => {
                write!(f, "{SUCCESS_RATE_BEGINS}{:.1} %, under {:.1} %", rate * 100.0, threshold * 100.0)
            }
            Self::FailurePercentage(percent) => write!(f, "{percent:.1}{FAILURE_PERCENTAGE_ENDS}"),
            Self::ConsecutiveErrors(in_a_row) => write!(f, "{in_a_row} errors in a row"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_says_by_which_method_a_server_was_found() {
        for (detection, cause, method) in [
            (
                Detection::SuccessRate { rate: 0.5, threshold: 0.72 },
                "success rate 50.0 %, under 72.0 %",
                "success_rate",
            ),
            (Detection::FailurePercentage(87.5), "87.5 % failed", "failure_percentage"),
            (Detection::ConsecutiveErrors(5), "5 errors in a row", "consecutive_errors"),
        ] {
            assert_eq!((detection.to_string().as_str(), detection.method()), (cause, method));
            assert_eq!(Detection::method_of(cause), method);
        }
    }
}
