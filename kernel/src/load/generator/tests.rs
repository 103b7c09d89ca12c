use std::sync::Mutex;

use super::*;
use crate::{
    client::settings::{Client as Settings, Retry},
    fuzzing::network::{CALLS_BEGIN, Service, answering, hanging, plain},
    load::settings::{Load, Shape, Stage},
    record::Records,
    server::ReplicaSettings,
    status::Code,
    workload::{
        Inputs, Oracle, WorkloadRequests,
        settings::{Backend, Workload},
    },
};

/// Generates load for a second from [`CALLS_BEGIN`] on, cancels it then if asked, and returns the requests and the time of its
/// end in milliseconds.
fn generate(load: Load, replica: ReplicaSettings, cancelled_at: Option<u64>) -> (Service, Vec<RequestRow>, u64) {
    generate_changing(load, replica, cancelled_at, None)
}

/// Does the same, with another load that is sent at a time in milliseconds, if there is one.
fn generate_changing(
    load: Load,
    replica: ReplicaSettings,
    cancelled_at: Option<u64>,
    change: Option<(u64, Load)>,
) -> (Service, Vec<RequestRow>, u64) {
    let service = Service::new(1);
    service.serve(0, replica, Instant::NEVER);
    let settings = Settings { retry: Retry { max_attempts: 1, ..Retry::default() }, ..plain() };
    let client = service.client(settings);
    let inputs = Inputs::for_workload(&Workload::Backend(Backend::default()), Entropy::new(1)).unwrap();
    let generator = LoadGenerator {
        world: service.world.clone(),
        entropy: Entropy::new(1),
        recorder: service.recorder(),
        client: client.clone(),
        requests: Arc::new(WorkloadRequests::new(inputs, Entropy::new(1), Oracle::learning())),
        settings: load.clone(),
        duration: CALLS_BEGIN,
    };
    let world = service.world.clone();
    if let Some(cancelled_at) = cancelled_at {
        let world = world.clone();
        service.world.spawn(Box::pin(async move {
            world.sleep_until(Instant::START + Duration::from_millis(cancelled_at)).await;
            client.cancel();
        }));
    }
    let loads = change.map(|(at, changed)| {
        let (sender, loads) = watch::channel(load);
        let operator = world.clone();
        service.world.spawn(Box::pin(async move {
            operator.sleep_until(Instant::START + Duration::from_millis(at)).await;
            sender.send(changed).unwrap();
            operator.sleep_until(Instant::NEVER).await;
            drop(sender);
        }));
        loads
    });
    let end = service.network.run(async move {
        match loads {
            None => generator.run().await.unwrap(),
            Some(loads) => generator.run_changing(loads).await.unwrap(),
        }
        world.now().as_nanos() / 1_000_000
    });
    let records: &Mutex<Records> = &service.records;
    let mut rows = crate::sync::lock(records).requests.clone();
    rows.sort_by_key(|row| row.id);
    (service, rows, end)
}

#[test]
fn every_intended_request_has_a_row_and_the_end_waits_for_the_last_answer() {
    let (service, rows, end) = generate(Load::at(10.0), answering(20), None);
    assert_eq!(service.events(Event::WrongResult), []);
    // The first one waits for the connection, which takes no time here.
    assert_eq!(rows.len(), 10);
    for (id, row) in (0..).zip(&rows) {
        let intended = id * 100_000;
        let expected = RequestRow {
            id,
            intended_us: intended,
            sent_us: Some(intended),
            done_us: Some(intended + 20_000),
            latency_us: Some(20_000),
            status: Outcome::OK,
            server: Some("server-0".into()),
            attempts: 1,
            failovers: 0,
            size: "data".to_owned(),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
        };
        assert_eq!(*row, expected);
    }
    assert_eq!(end, 920);
}

#[test]
fn an_arrival_beyond_the_most_in_flight_is_dropped_and_has_a_row() {
    let load = Load { max_in_flight: 2, ..Load::at(10.0) };
    let (service, rows, end) = generate(load, answering(250), None);
    let dropped: Vec<_> = rows.iter().filter(|row| row.status == Outcome::Dropped).map(|row| row.id).collect();
    assert_eq!(dropped, [2, 5, 8], "two of three have a place");
    let row = &rows[2];
    assert_eq!((row.intended_us, row.sent_us, row.done_us, row.latency_us), (200_000, None, None, None));
    assert_eq!((row.attempts, row.server.as_ref(), row.size.as_str()), (0, None, "data"));
    assert_eq!((service.attempts().len(), end), (7, 1_150));
}

/// Returns users who think for 80 ms.
fn users(count: usize) -> Load {
    Load { users: Some(count), think_time: Some(Duration::from_millis(80)), ..Load::at(0.0) }
}

#[test]
fn users_call_think_and_call_again() {
    let (service, rows, end) = generate(users(3), answering(20), None);
    // Little's law: 3 users with a cycle of 20 ms and 80 ms make 30 calls in a second.
    assert_eq!(rows.len(), 30);
    for (id, row) in (0..).zip(&rows) {
        let intended = id / 3 * 100_000;
        assert_eq!((row.id, row.user, row.intended_us), (id, Some((id % 3) as u32), intended));
        assert_eq!((row.sent_us, row.done_us, row.status), (Some(intended), Some(intended + 20_000), Outcome::OK));
    }
    assert_eq!((service.attempts().len(), end), (30, 920));
}

#[test]
fn users_wait_for_a_slow_service_and_an_open_loop_does_not() {
    let (_, rows, _) = generate(Load { rate: 10.0, ..users(2) }, answering(120), None);
    let of_users = rows.iter().filter(|row| row.user.is_some()).count();
    assert_eq!((of_users, rows.len()), (2 * 5, 10 + 2 * 5), "a cycle of 200 ms begins five times in a second");
    assert!(rows.iter().enumerate().all(|(place, row)| row.id == place as u64));
    assert!(rows.iter().all(|row| row.status == Outcome::OK), "four workers are enough");
}

#[test]
fn users_do_not_count_as_calls_in_flight_and_are_never_dropped() {
    let (_, rows, _) = generate(Load { max_in_flight: 1, ..users(3) }, answering(20), None);
    assert_eq!(rows.iter().filter(|row| row.status == Outcome::OK).count(), 30);
}

#[test]
fn a_cancelled_client_ends_users_at_once() {
    let (_, rows, end) = generate(users(2), hanging(), Some(250));
    assert!(rows.iter().all(|row| row.status == Outcome::Status(Code::Cancelled) && row.done_us == Some(250_000)));
    assert_eq!((rows.len(), end), (2, 250));
    let (_, rows, end) = generate(users(2), answering(20), Some(250));
    assert_eq!((rows.len(), end), (6, 250), "they were thinking");
}

#[test]
fn a_cancelled_client_ends_the_schedule_and_the_calls_in_flight() {
    let (_, rows, end) = generate(Load::at(10.0), hanging(), Some(250));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.status == Outcome::Status(Code::Cancelled) && row.done_us == Some(250_000)));
    assert_eq!(end, 250);
}

/// Returns the load with another one from 450 ms on, when nothing is due.
fn from_450(load: &Load, then: &Load) -> Load {
    let stage = |load: &Load| Stage {
        duration: Duration::from_millis(450),
        rate: Some(load.rate),
        users: load.users,
        shape: Shape::Step,
    };
    Load { stage: vec![stage(load), stage(then)], ..load.clone() }
}

#[test]
fn a_load_that_changes_while_it_is_offered_is_that_which_changes_by_a_stage() {
    let rates = [(10.0, 40.0), (10.0, 0.0), (0.0, 10.0)].map(|(from, to)| (Load::at(from), Load::at(to)));
    let of_users = [(2, 5), (5, 2), (0, 3), (3, 0)].map(|(from, to)| (users(from), users(to)));
    for (load, then) in rates.into_iter().chain(of_users) {
        let changed = from_450(&load, &then);
        let (_, expected, _) = generate(changed.clone(), answering(20), None);
        let (_, rows, end) = generate_changing(load.clone(), answering(20), None, Some((450, changed)));
        assert_eq!(rows, expected, "{load:?} to {then:?}");
        assert!(end >= 1_000, "a change may come until the end");
    }
}

#[test]
fn a_load_that_may_change_is_the_same_if_it_does_not() {
    for load in [Load::at(10.0), users(3)] {
        let (_, expected, _) = generate(load.clone(), answering(20), None);
        let (_, rows, _) = generate_changing(load.clone(), answering(20), None, Some((5_000, load)));
        assert_eq!(rows, expected);
    }
    let (_, rows, end) = generate_changing(Load::at(10.0), hanging(), Some(250), Some((5_000, Load::at(10.0))));
    assert_eq!((rows.len(), end), (3, 250), "a cancelled client ends it");
}
