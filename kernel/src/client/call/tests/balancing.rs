//! The servers that attempts go to.

use super::*;
use crate::policy::OutlierDetection;

#[test]
fn an_attempt_goes_to_a_server_that_is_connected_while_there_is_one() {
    let (service, responses) = play_with(plain(), vec![answering(20), answering(20)], &[0, 1, 2, 3], |service, _| {
        let world = service.world.clone();
        let link = service.links[0].clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(at(0) - millis(1)).await;
            // The connection is lost, and the next one does not open yet.
            link.set_shape(crate::link::Shape { cut_to: true, ..Default::default() });
            link.reset();
        }));
    });
    let servers: Vec<_> = service.attempts().into_iter().map(|attempt| attempt.0).collect();
    assert_eq!(servers, ["server-1"; 4]);
    assert!(responses.iter().all(|(_, response)| response.outcome == Outcome::OK));
}

#[test]
fn the_balancer_counts_attempts_until_they_end_or_are_abandoned() {
    let settings = Settings {
        load_balancing: Balancing::LeastRequest { choice_count: 100 },
        attempt_timeout: millis(100),
        // A server without a mark against it.
        ..retrying(&[], 1)
    };
    let (service, _) = play(settings, vec![answering(50), answering(50)], &[0, 1, 2, 3, 200, 201]);
    let mut counts = [0, 0];
    service.attempts().iter().for_each(|attempt| counts[usize::from(attempt.0 == "server-1")] += 1);
    assert_eq!(counts, [3, 3], "a hundred draws always find the server with fewer attempts");
}

#[test]
fn an_attempt_counts_against_its_server_only_while_it_is_under_way() {
    let settings = Settings {
        load_balancing: Balancing::LeastRequest { choice_count: 100 },
        deadline: millis(5_000),
        attempt_timeout: millis(5_000),
        ..retrying(&[], 1)
    };
    // A hundred draws always find the server with fewer attempts. The slow one has the first or the second attempt until the end.
    let (service, _) = play(settings, vec![answering(10), answering(2_000)], &[0, 1, 100, 200, 300, 400, 500, 600]);
    let slow: Vec<_> = service.attempts().into_iter().filter(|attempt| attempt.0 == "server-1").collect();
    assert_eq!(slow.len(), 1, "{slow:?}");
}

#[test]
fn an_attempt_that_has_ended_does_not_drive_the_next_to_another_server() {
    let settings = Settings { load_balancing: Balancing::LeastRequest { choice_count: 2 }, ..plain() };
    let calls: Vec<u64> = (0..20).map(|call| call * 100).collect();
    let (service, _) = play(settings, vec![answering(50), answering(50)], &calls);
    let servers: Vec<_> = service.attempts().into_iter().map(|attempt| attempt.0).collect();
    // The servers are equal at every call, so the draw decides. Otherwise they would take turns.
    assert!(servers.windows(2).any(|pair| pair[0] == pair[1]), "{servers:?}");
}

#[test]
fn servers_that_are_ejected_or_unhealthy_come_last() {
    let outlier_detection = OutlierDetection {
        consecutive_errors: 1,
        interval: millis(100),
        base_ejection_time: millis(300),
        ..OutlierDetection::default()
    };
    let settings = Settings {
        load_balancing: Balancing::PickFirst,
        ..with(Policies { outlier_detection: Some(outlier_detection), ..Policies::default() })
    };
    // UNKNOWN ejects a server and leaves it healthy.
    let (service, responses) = play(settings, vec![failing(Code::Unknown, 10), answering(10)], &[0, 20, 1_000]);
    let servers: Vec<_> = responses.iter().map(|(_, response)| response.server.clone().unwrap()).collect();
    assert_eq!(servers, ["server-0", "server-1", "server-1"]);
    let ejected = &service.events(Event::Ejected)[0];
    assert_eq!((ejected.target.as_deref(), ejected.cause.as_deref()), (Some("server-0"), Some("1 errors in a row")));
    assert_eq!(ejected.duration_us, Some(300_000));
    // Ejected at 10 ms; the sweeps are at whole tenths of a second, and the one at 310 ms does not exist.
    assert_eq!(service.events(Event::Unejected)[0].at_us, at(400).as_micros());
}

/// One of three servers answers after 2 s, the others after 10 ms; hedges go out after 50 ms. An attempt on the slow server is
/// abandoned after 60 ms and measured as that, so that the others are cheaper from then on.
#[test]
fn a_slow_server_that_every_hedge_outruns_gets_few_first_attempts() {
    let hedging = Hedging { max_attempts: 2, hedging_delay: millis(50), ..Hedging::default() };
    let settings = Settings {
        load_balancing: Balancing::PeakEwma { decay: millis(10_000), default_rtt: millis(30) },
        deadline: millis(5_000),
        attempt_timeout: millis(5_000),
        ..with(Policies { hedging: Some(hedging), ..Policies::default() })
    };
    let calls: Vec<u64> = (0..100).map(|call| call * 20).collect();
    let (service, _) = play(settings, vec![answering(2_000), answering(10), answering(10)], &calls);
    let picks = service.events(Event::Pick);
    let first: Vec<_> = picks.iter().filter(|pick| pick.attempt == Some(1)).collect();
    let slow = first.iter().filter(|pick| pick.target.as_deref() == Some("server-0")).count();
    assert_eq!(first.len(), 100);
    assert!((1..=5).contains(&slow), "{slow}");
}
