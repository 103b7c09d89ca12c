//! The cases after those of gRPC, Envoy, Resilience4j, Finagle and tower, counted.
//!
//! They are tests of the machines and of the client on a virtual clock. Inputs and outcomes are derived from what the head of
//! each file names. This prints how many there are where:
//!
//! ```text
//! cargo test -p kernel --test it peer_cases -- --nocapture
//! ```

use std::{fs, path::Path};

/// A file with such cases.
struct Cases {
    file: &'static str,
    /// The specifications and peers that its head names.
    after: &'static [&'static str],
    /// The number of its tests that are cases after them.
    count: usize,
    /// Its other tests.
    others: &'static [&'static str],
}

const CASES: &[Cases] = &[
    Cases { file: "client/grpc_tests.rs", after: &["A6", "A50", "A61"], count: 25, others: &[] },
    Cases {
        file: "client/health_check/watch/tests.rs",
        after: &["A17"],
        count: 9,
        others: &["a_server_that_an_attempt_has_made_unhealthy_is_asked_again_after_the_interval"],
    },
    Cases {
        file: "client/retry.rs",
        after: &["A6"],
        count: 3,
        others: &["each_jitter_stays_within_its_bounds_and_uses_them"],
    },
    Cases { file: "policy/hedging.rs", after: &["A6"], count: 6, others: &[] },
    Cases { file: "policy/pushback.rs", after: &["A6"], count: 1, others: &[] },
    Cases { file: "policy/retry_throttling.rs", after: &["A6"], count: 3, others: &[] },
    Cases {
        file: "policy/outlier_detection/ejections/tests.rs",
        after: &["A50", "Envoy"],
        count: 19,
        others: &[
            "a_server_that_may_not_be_ejected_as_too_many_are_is_counted",
            "no_more_servers_are_ejected_than_allowed",
        ],
    },
    Cases {
        file: "policy/circuit_breaker/breaker.rs",
        after: &["Resilience4j"],
        count: 13,
        others: &["a_call_that_read_the_clock_before_the_breaker_half_opened_counts", "it_follows_the_diagram"],
    },
    Cases {
        file: "policy/circuit_breaker/breaker/window.rs",
        after: &["Resilience4j"],
        count: 2,
        others: &[
            "a_window_of_less_than_a_second_has_ten_parts",
            "a_call_with_an_older_clock_counts_in_the_newest_part",
        ],
    },
    Cases {
        file: "policy/retry_budget.rs",
        after: &["Envoy", "Finagle", "tower"],
        count: 5,
        others: &[
            "the_keys_select_the_kind_of_budget_and_the_others_of_its_kind_have_defaults",
            "with_deposits_by_success_calls_and_failures_earn_nothing",
            "retries_within_any_ttl_never_exceed_their_share_and_the_reserve",
        ],
    },
    Cases {
        file: "policy/slow_start.rs",
        after: &["Envoy"],
        count: 4,
        others: &["a_pick_is_accepted_after_five_hundred_that_were_not", "no_weight_is_below_the_minimum"],
    },
    Cases { file: "client/balancer/peak_ewma.rs", after: &["Finagle", "tower"], count: 7, others: &[] },
    Cases { file: "client/balancer/least_request.rs", after: &["A48", "Envoy"], count: 4, others: &[] },
];

/// The least number of cases.
const COUNT_MIN: usize = 60;

/// Returns the names of the tests in the text of a file, in order.
fn tests(text: &str) -> Vec<&str> {
    let mut lines = text.lines().map(str::trim);
    let mut tests = Vec::new();
    while lines.any(|line| line == "#[test]") {
        let function = lines.find_map(|line| line.strip_prefix("fn "));
        tests.extend(function.and_then(|rest| rest.split_once('(')).map(|(name, _)| name));
    }
    tests
}

#[test]
fn there_are_enough_cases_after_those_of_peers_and_each_file_names_them() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut total = 0;
    for Cases { file, after, count, others } in CASES {
        let text = fs::read_to_string(sources.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let missing: Vec<_> = after.iter().filter(|name| !head.contains(**name)).collect();
        assert!(missing.is_empty(), "the head of {file} does not name {missing:?}");
        let tests = tests(&text);
        for other in *others {
            assert!(tests.contains(other), "{file} has no test {other}");
        }
        assert_eq!(tests.len() - others.len(), *count, "the cases of {file}: {tests:#?}");
        println!("{count:3}  kernel/src/{file}  {}", after.join(", "));
        total += count;
    }
    println!("{total:3}  in all");
    assert!(total >= COUNT_MIN, "{total} cases");
}
