//! Cases of gRPC A50 and of "Outlier detection" in Envoy's documentation, and of this project.

use proptest::prelude::*;

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

fn ejections(settings: OutlierDetection, servers: usize) -> Ejections {
    Ejections::new(settings, servers, Entropy::new(1))
}

/// Settings that eject by the given statistics alone.
fn by_statistics(success_rate: Option<SuccessRate>, failure_percentage: Option<FailurePercentage>) -> OutlierDetection {
    OutlierDetection { consecutive_errors: 0, success_rate, failure_percentage, ..OutlierDetection::default() }
}

impl Ejections {
    fn observe_all(&mut self, server: usize, successes: usize, failures: usize) {
        (0..successes).for_each(|_| assert_eq!(self.observe(server, AttemptResult::Success, at(0)), None));
        (0..failures).for_each(|_| assert_eq!(self.observe(server, AttemptResult::ServerError, at(0)), None));
    }

    fn ejected_indices(&self) -> Vec<usize> {
        self.ejected.iter().collect()
    }

    /// Fails the first server until it is ejected, and returns the time of the ejection.
    fn fail_until_ejected(&mut self, second: u64) -> Duration {
        let mut changes = (0..5).filter_map(|_| self.observe(0, AttemptResult::ServerError, at(second)));
        changes.next().and_then(|change| change.ejection).unwrap().time
    }
}

#[test]
fn errors_in_a_row_eject_at_once_and_a_success_restarts_the_row() {
    let mut ejections = ejections(OutlierDetection::default(), 3);
    ejections.observe_all(1, 0, 4);
    ejections.observe_all(1, 1, 4);
    let change = ejections.observe(1, AttemptResult::ServerError, at(7)).unwrap();
    let ejection = Ejection { cause: "5 errors in a row".to_owned(), time: Duration::from_secs(30) };
    assert_eq!(change.ejection, Some(ejection));
    assert_eq!(ejections.ejected_indices(), [1]);
}

/// Four servers without a failure and one that fails 100 of 200: mean 0.9, standard deviation 0.2, threshold 0.9 -
/// 1.9 x 0.2 = 0.52, and 0.5 is below it. A second such server lowers the mean and raises the deviation: 0.8 - 1.9 x
/// 0.245 = 0.335, and neither is below it.
#[test]
fn a_success_rate_far_below_the_others_ejects() {
    let settings = by_statistics(Some(SuccessRate::default()), None);
    let mut one = ejections(settings.clone(), 5);
    let mut two = ejections(settings, 5);
    for server in 0..5 {
        one.observe_all(server, if server == 3 { 100 } else { 200 }, if server == 3 { 100 } else { 0 });
        two.observe_all(server, if server >= 3 { 100 } else { 200 }, if server >= 3 { 100 } else { 0 });
    }
    let changes = one.sweep(at(10));
    assert_eq!(changes.len(), 1);
    let ejection = changes[0].ejection.clone().unwrap();
    assert_eq!(ejection.cause, "success rate 50.0 %, under 52.0 %");
    assert_eq!(ejection.time, Duration::from_secs(30));
    assert_eq!(one.ejected_indices(), [3]);
    assert_eq!(two.sweep(at(10)), []);
}

#[test]
fn too_few_servers_or_too_few_requests_eject_no_server() {
    let settings = by_statistics(Some(SuccessRate::default()), Some(FailurePercentage::default()));
    let mut few_servers = ejections(settings.clone(), 4);
    let mut few_requests = ejections(settings.clone(), 5);
    for server in 0..4 {
        few_servers.observe_all(server, 0, 200);
    }
    for server in 0..5 {
        few_requests.observe_all(server, if server == 0 { 0 } else { 49 }, if server == 0 { 49 } else { 0 });
    }
    assert_eq!((few_servers.sweep(at(10)), few_requests.sweep(at(10))), (vec![], vec![]));
    assert_eq!(settings.warnings(4).len(), 2);
    assert_eq!(settings.warnings(5).len(), 0);
}

/// Three servers without a failure and one that fails half: mean 0.875, standard deviation 0.217, threshold 0.658.
#[test]
fn an_outlier_among_too_few_servers_with_enough_requests_is_not_ejected() {
    let found = |minimum_hosts| {
        let settings = SuccessRate { minimum_hosts, stdev_factor: 1_000, ..SuccessRate::default() };
        // The fifth server has no requests.
        let mut ejections = ejections(by_statistics(Some(settings), None), 5);
        (0..3).for_each(|server| ejections.observe_all(server, 200, 0));
        ejections.observe_all(3, 100, 100);
        ejections.sweep(at(10)).len()
    };
    assert_eq!([3, 4, 5].map(found), [1, 1, 0]);
}

#[test]
fn failures_over_the_threshold_eject_and_failures_at_the_threshold_do_not() {
    let settings = by_statistics(None, Some(FailurePercentage { threshold: 50.0, ..FailurePercentage::default() }));
    let mut ejections = ejections(settings, 5);
    ejections.observe_all(0, 50, 50);
    ejections.observe_all(1, 49, 51);
    (2..5).for_each(|server| ejections.observe_all(server, 100, 0));
    let changes = ejections.sweep(at(10));
    assert_eq!((changes.len(), changes[0].server), (1, 1));
}

/// A50, "Failure percentage algorithm", step 1: "If the number of addresses with a number of requests that is at least
/// failure_percentage_ejection.request_volume is less than minimum_hosts, stop".
#[test]
fn one_server_of_five_with_enough_requests_is_too_few_for_the_failure_percentage() {
    let found = |minimum_hosts, volumes: [usize; 5]| {
        let settings = FailurePercentage { minimum_hosts, ..FailurePercentage::default() };
        let mut ejections = ejections(by_statistics(None, Some(settings)), 5);
        volumes.iter().enumerate().for_each(|(server, volume)| ejections.observe_all(server, 0, *volume));
        ejections.sweep(at(10)).len()
    };
    assert_eq!(found(5, [50, 0, 0, 0, 0]), 0);
    assert_eq!(found(5, [50, 50, 50, 50, 49]), 0);
    assert_eq!(found(5, [50; 5]), 1, "one of five may be ejected");
    assert_eq!(found(1, [50, 0, 0, 0, 0]), 1);
}

const RESULTS: [AttemptResult; 4] =
    [AttemptResult::Success, AttemptResult::ServerError, AttemptResult::OtherFailure, AttemptResult::Abandoned];

/// Envoy's "Consecutive 5xx" and its `grpcToHttpStatus`: 500, 501, 503 and 504 are the images of these six; the others are
/// 4xx, 499 for CANCELLED.
#[test]
fn errors_in_a_row_are_the_statuses_that_are_5xx_in_http() {
    let counted = Code::names().map(|name| name.parse::<Code>().unwrap()).filter(|code| {
        let mut ejections = ejections(OutlierDetection { consecutive_errors: 2, ..OutlierDetection::default() }, 2);
        let ended = [(); 2].map(|()| ejections.observe(0, (*code).into(), at(1)));
        ended[1].is_some()
    });
    let expected = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
    assert_eq!(counted.map(Code::name).collect::<Vec<_>>(), expected);
}

/// Envoy's "Consecutive 5xx": a server that sheds load answers 429, which is no 5xx and ends the row. For A50's percentage it
/// is a failure: "any status but OK".
#[test]
fn a_server_that_sheds_load_is_ejected_by_percentage_and_not_by_errors_in_a_row() {
    let percentage = FailurePercentage { minimum_hosts: 1, ..FailurePercentage::default() };
    let settings = OutlierDetection { failure_percentage: Some(percentage), ..OutlierDetection::default() };
    let mut ejections = ejections(settings, 5);
    for _ in 0..25 {
        assert_eq!(ejections.observe(0, AttemptResult::OtherFailure, at(1)), None);
        assert_eq!(ejections.observe(0, AttemptResult::ServerError, at(1)), None);
    }
    let changes = ejections.sweep(at(10));
    let causes: Vec<_> = changes.into_iter().filter_map(|change| change.ejection).map(|found| found.cause).collect();
    assert_eq!(causes, ["100.0 % failed"]);
}

/// grpc-java's `OutlierDetectionLoadBalancer` counts the end of every stream, CANCELLED as a failure; Envoy charges nothing
/// for a request that it resets itself.
#[test]
fn an_attempt_that_a_hedge_outran_is_a_failure_for_rates_and_no_part_of_a_row() {
    let percentage = FailurePercentage { minimum_hosts: 1, ..FailurePercentage::default() };
    let settings = OutlierDetection { failure_percentage: Some(percentage), ..OutlierDetection::default() };
    let mut outrun = ejections(settings.clone(), 5);
    (0..50).for_each(|_| assert_eq!(outrun.observe(0, AttemptResult::Abandoned, at(1)), None));
    assert_eq!(outrun.sweep(at(10)).len(), 1);
    let mut row = ejections(settings, 5);
    let errors = (0..5).filter_map(|_| {
        assert_eq!(row.observe(0, AttemptResult::Abandoned, at(1)), None);
        row.observe(0, AttemptResult::ServerError, at(1))
    });
    assert_eq!(errors.count(), 1, "the fifth error, as nothing between them ends the row");
}

/// Envoy's `uneject`: "reset the consecutive failure counters to avoid re-ejection on very few new errors".
#[test]
fn errors_that_were_under_way_at_the_ejection_do_not_count_when_the_server_is_back() {
    let mut ejections = ejections(OutlierDetection::default(), 2);
    ejections.fail_until_ejected(0);
    (0..4).for_each(|_| assert_eq!(ejections.observe(0, AttemptResult::ServerError, at(1)), None));
    assert_eq!(ejections.sweep(at(31)), [EjectionChange { server: 0, ejection: None }]);
    (0..4).for_each(|_| assert_eq!(ejections.observe(0, AttemptResult::ServerError, at(32)), None));
    assert!(ejections.observe(0, AttemptResult::ServerError, at(32)).is_some(), "five of its new time");
}

/// Envoy's `onConsecutiveErrorWorker` resets the counter although the host stays for `max_ejection_percent`.
#[test]
fn a_row_that_may_not_eject_starts_again() {
    let mut ejections = ejections(OutlierDetection::default(), 2);
    ejections.fail_until_ejected(0);
    (0..5).for_each(|_| assert_eq!(ejections.observe(1, AttemptResult::ServerError, at(30)), None));
    assert_eq!(ejections.sweep(at(31)).len(), 1, "the other one is back");
    (0..4).for_each(|_| assert_eq!(ejections.observe(1, AttemptResult::ServerError, at(32)), None));
    assert!(ejections.observe(1, AttemptResult::ServerError, at(32)).is_some());
}

#[test]
fn a_sweep_at_the_end_of_an_ejection_does_not_end_it_and_the_next_one_does() {
    let mut ejections = ejections(OutlierDetection::default(), 2);
    ejections.fail_until_ejected(0);
    assert_eq!(ejections.sweep(at(30)), []);
    assert_eq!(ejections.sweep(at(31)), [EjectionChange { server: 0, ejection: None }]);
}

#[test]
fn servers_that_all_do_the_same_are_no_outliers_and_none_measured_is_no_mean() {
    let settings = SuccessRate { minimum_hosts: 0, stdev_factor: 0, ..SuccessRate::default() };
    let mut ejections = ejections(by_statistics(Some(settings), None), 2);
    assert_eq!(ejections.sweep(at(10)), []);
    (0..2).for_each(|server| ejections.observe_all(server, 50, 50));
    assert_eq!(ejections.sweep(at(20)), [], "each is at the threshold, and none below it");
}

#[test]
fn an_outlier_is_ejected_once_and_only_while_there_is_room() {
    let percentage = FailurePercentage { threshold: 50.0, minimum_hosts: 1, ..FailurePercentage::default() };
    let settings = by_statistics(None, Some(percentage));
    let mut ejections = ejections(settings, 5);
    (0..5).for_each(|server| ejections.observe_all(server, 0, 50));
    assert_eq!(ejections.sweep(at(10)).len(), 1, "ten percent of five are none, and one always may");
    ejections.observe_all(0, 0, 50);
    assert_eq!(ejections.sweep(at(20)), [], "it is ejected already");
}

#[test]
fn the_counts_restart_with_every_interval() {
    let settings = FailurePercentage { minimum_hosts: 1, ..FailurePercentage::default() };
    let mut ejections = ejections(by_statistics(None, Some(settings)), 5);
    ejections.observe_all(0, 0, 49);
    assert_eq!(ejections.sweep(at(10)), []);
    ejections.observe_all(0, 0, 1);
    assert_eq!(ejections.sweep(at(20)), []);
}

/// Returns how many of five servers that all fail are ejected.
fn ejected_of_five(max_ejection_percent: f64) -> usize {
    let mut ejections = ejections(OutlierDetection { max_ejection_percent, ..OutlierDetection::default() }, 5);
    for server in 0..5 {
        for _ in 0..5 {
            ejections.observe(server, AttemptResult::ServerError, at(0));
        }
    }
    ejections.ejected_indices().len()
}

#[test]
fn one_server_may_always_be_ejected_and_a_second_only_within_the_percentage() {
    assert_eq!([0.0, 10.0, 20.0, 40.0, 41.0].map(ejected_of_five), [1, 1, 1, 2, 3]);
}

#[test]
fn each_ejection_lasts_longer_and_each_sweep_without_one_shortens_the_next() {
    let mut ejections = ejections(OutlierDetection::default(), 2);
    assert_eq!(ejections.fail_until_ejected(5), Duration::from_secs(30));
    let back: Vec<_> = (1..=5).filter(|sweep| !ejections.sweep(at(sweep * 10)).is_empty()).collect();
    assert_eq!(back, [4], "the ejection ends at 35 s, so the sweep at 40 s ends it");
    assert_eq!(ejections.fail_until_ejected(51), Duration::from_secs(30), "the sweep at 50 s lowered the multiplier");
    for sweep in 6..=9 {
        ejections.sweep(at(sweep * 10));
    }
    assert!(ejections.ejected_indices().is_empty());
    assert_eq!(ejections.fail_until_ejected(91), Duration::from_secs(60));
}

#[test]
fn no_ejection_is_longer_than_the_maximum() {
    let settings = OutlierDetection { max_ejection_time: Duration::from_secs(70), ..OutlierDetection::default() };
    let times: Vec<_> = (1..=4).map(|multiplier| settings.ejection_time(multiplier).as_secs()).collect();
    assert_eq!(times, [30, 60, 70, 70]);
}

#[test]
fn the_enforcement_percentage_is_the_share_of_outliers_that_are_ejected() {
    let settings = FailurePercentage { enforcement_percentage: 30.0, minimum_hosts: 1, ..FailurePercentage::default() };
    let mut ejections = ejections(by_statistics(None, Some(settings)), 5);
    let mut count = 0;
    let mut unenforced = Vec::new();
    for sweep in 1..=1_000 {
        ejections.observe_all(2, 0, 50);
        count += ejections.sweep(at(sweep)).iter().filter(|change| change.ejection.is_some()).count();
        unenforced.extend(ejections.take_unenforced());
        // The next sweep finds the server serving.
        ejections.stats[2] = ServerStats::default();
        ejections.ejected = Servers::NONE;
    }
    // Binomial: 300, with a tolerance of five times sqrt(1000 x 0.3 x 0.7) = 14.5.
    assert!((228..=372).contains(&count), "{count}");
    let expected = Unenforced { server: 2, method: "failure_percentage", reason: "enforcement_percentage" };
    assert!(unenforced.iter().all(|found| *found == expected), "{:?}", unenforced[0]);
    assert_eq!(unenforced.len(), 1_000 - count, "the others are counted");
}

#[test]
fn a_server_that_may_not_be_ejected_as_too_many_are_is_counted() {
    let mut ejections = ejections(OutlierDetection::default(), 5);
    let errors = OutlierDetection::default().consecutive_errors;
    (0..errors).for_each(|_| drop(ejections.observe(0, AttemptResult::ServerError, at(1))));
    assert_eq!((ejections.ejected_indices(), ejections.take_unenforced()), (vec![0], Vec::new()));
    (0..2 * errors).for_each(|_| drop(ejections.observe(1, AttemptResult::ServerError, at(1))));
    let expected = Unenforced { server: 1, method: "consecutive_errors", reason: "max_ejection_overflow" };
    assert_eq!((ejections.ejected_indices(), ejections.take_unenforced()), (vec![0], vec![expected; 2]));
    // One that is ejected is not found again.
    (0..errors).for_each(|_| drop(ejections.observe(0, AttemptResult::ServerError, at(1))));
    assert_eq!(ejections.take_unenforced(), []);
}

proptest! {
    #[test]
    fn no_more_servers_are_ejected_than_allowed(
        steps in proptest::collection::vec((0..6_usize, 0..4_usize), 1..400), percent in 0.0..100.0,
    ) {
        let mut ejections = ejections(OutlierDetection { max_ejection_percent: percent, ..OutlierDetection::default() }, 6);
        for (step, (server, which)) in (0..).zip(steps) {
            let result = RESULTS[which];
            ejections.observe(server, result, at(step));
            if step % 10 == 0 {
                ejections.sweep(at(step));
            }
            // The last ejection may have exceeded the limit, but it began below it.
            let ejected = ejections.ejected_indices().len() as f64;
            prop_assert!(ejected <= 1.0 || (ejected - 1.0) * 100.0 < percent * 6.0);
        }
    }
}
