//! Circuit breakers around calls and attempts.

use super::*;
use crate::policy::Scope;

/// Has the first server fail every call until 5 ms.
fn failing_at_first(service: &Service, _: &crate::client::Client) {
    let world = service.world.clone();
    let injector = service.injectors[0].clone();
    injector.set(failing_all(Code::Unavailable));
    service.world.spawn(Box::pin(async move {
        world.sleep_until(at(5)).await;
        injector.set(Injection::default());
    }));
}

#[test]
fn an_open_breaker_rejects_calls_of_the_service_or_leaves_a_server_out() {
    let [of_service, of_server] = [Scope::Service, Scope::Server].map(|scope| {
        let breaker = CircuitBreaker { scope, consecutive_failures: Some(1), ..CircuitBreaker::default() };
        let policies = Policies { circuit_breaker: Some(breaker), ..Policies::default() };
        Settings { load_balancing: Balancing::PickFirst, ..with(policies) }
    });
    let replicas = vec![failing(Code::Internal, 10); 2];
    let (service, responses) = play(of_service, replicas.clone(), &[0, 20]);
    assert_eq!(responses[1], (20, Response { rejected: true, ..ended(Code::Unavailable, 0) }));
    assert_eq!(service.events(Event::BreakerOpened)[0].target, None);
    let (service, responses) = play(of_server, replicas, &[0, 20, 40]);
    assert_eq!((responses[1].1.attempts, responses[1].1.server.as_deref()), (1, Some("server-1")));
    assert_eq!(responses[2], (40, Response { rejected: true, ..ended(Code::Unavailable, 0) }));
    let opened: Vec<_> = service.events(Event::BreakerOpened).into_iter().map(|row| row.target.unwrap()).collect();
    assert_eq!(opened, ["server-0", "server-1"]);
}

#[test]
fn a_half_open_breaker_closes_after_its_calls_and_each_change_is_recorded() {
    let breaker = CircuitBreaker {
        consecutive_failures: Some(1),
        reset_timeout: millis(100),
        permitted_calls_in_half_open: 2,
        ..CircuitBreaker::default()
    };
    let settings = with(Policies { circuit_breaker: Some(breaker), ..Policies::default() });
    let (service, responses) = play_with(settings, vec![answering(10)], &[0, 50, 110, 111, 112, 150], failing_at_first);
    let rejected: Vec<_> = responses.iter().map(|(_, response)| response.rejected).collect();
    assert_eq!(rejected, [false, true, false, false, true, false]);
    let opened = &service.events(Event::BreakerOpened)[0];
    assert_eq!((opened.cause.as_deref(), opened.duration_us), (Some("1 failures in a row"), Some(100_000)));
    assert_eq!(service.events(Event::BreakerHalfOpened)[0].at_us, at(110).as_micros());
    assert_eq!(service.events(Event::BreakerClosed)[0].at_us, at(121).as_micros());
}

#[test]
fn a_breaker_of_a_server_closes_after_the_attempts_that_it_permitted() {
    let breaker = CircuitBreaker {
        scope: Scope::Server,
        consecutive_failures: Some(1),
        reset_timeout: millis(100),
        permitted_calls_in_half_open: 1,
        ..CircuitBreaker::default()
    };
    let settings = with(Policies { circuit_breaker: Some(breaker), ..Policies::default() });
    let (service, responses) = play_with(settings, vec![answering(10)], &[0, 110, 125], failing_at_first);
    assert!(responses[1..].iter().all(|(_, response)| response.outcome == Outcome::OK));
    assert_eq!(service.events(Event::BreakerClosed)[0].at_us, at(120).as_micros());
}

/// Resilience4j's `maxWaitDurationInHalfOpenState`: the call that half-opened the breaker at 110 ms is not answered.
#[test]
fn a_breaker_whose_half_open_call_hangs_opens_again_in_time() {
    let breaker = CircuitBreaker {
        consecutive_failures: Some(1),
        reset_timeout: millis(100),
        permitted_calls_in_half_open: 1,
        max_wait_duration_in_half_open: Some(millis(50)),
        ..CircuitBreaker::default()
    };
    let settings = with(Policies { circuit_breaker: Some(breaker), ..Policies::default() });
    let (service, responses) = play_with(settings, vec![hanging()], &[0, 110, 170, 259, 260], failing_at_first);
    let rejected: Vec<_> = responses.iter().map(|(_, response)| response.rejected).collect();
    assert_eq!(rejected, [false, false, true, true, false]);
    let opened = service.events(Event::BreakerOpened);
    let causes: Vec<_> = opened.iter().take(2).filter_map(|event| event.cause.as_deref()).collect();
    assert_eq!(causes, ["1 failures in a row", "half open for 50ms"]);
    assert_eq!(opened[1].at_us, at(160).as_micros());
}
