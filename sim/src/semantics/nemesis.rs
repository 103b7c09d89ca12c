//! Faults that overlap: they add up, and each is lifted by itself.

use kernel::{nemesis::Nemesis, scenario::Fault, status::Code};

use super::*;

fn faults(text: &str) -> Scenario {
    let text = format!("name = 'overlap'\nduration = '60s'\nload.rate = 1\nservers.replicas = 1\n{text}");
    Scenario::parse("overlap.toml", &text, &[]).unwrap()
}

fn fault(at: &str, rest: &str) -> String {
    format!("[[fault]]\nat = '{at}'\ntarget = 'server-0'\n{rest}\n")
}

/// Applies the faults of `scenario`, and returns how long an echo takes at each of `times`, and the records.
fn echo_times<const TIMES: usize>(scenario: &Scenario, times: [Duration; TIMES]) -> ([Duration; TIMES], Records) {
    let nemesis_plan = scenario.clone();
    let faults: Vec<Fault> = scenario.faults.clone();
    simulate_seeded(1, &echo(), |hosts| async move {
        let nemesis = Nemesis::new(hosts.world.clone(), &hosts.recorder, hosts.operations.clone(), &nemesis_plan);
        let ask = async {
            let mut taken = [Duration::ZERO; TIMES];
            for (taken, time) in taken.iter_mut().zip(times) {
                hosts.sleep(time).await;
                let mut conversation = Conversation::open(&hosts).await;
                let asked = hosts.world.now();
                conversation.stream.write_all(b"?").await.unwrap();
                assert_eq!(see(&mut conversation.stream).await, bytes("?"));
                *taken = hosts.world.now().since(asked);
            }
            taken
        };
        let (taken, applied) = futures_util::future::join(ask, nemesis.play(&faults)).await;
        applied.unwrap();
        taken
    })
}

fn when(records: &Records, event: Event) -> Vec<(usize, u64)> {
    events(records, event).map(|row| (row.fault.unwrap(), row.at_us)).collect()
}

#[test]
fn two_delays_add_up_and_lift_separately() {
    let scenario = faults(
        &(fault("1s", "kind = 'delay'\nlatency = '10ms'\nduration = '2s'")
            + &fault("2s", "kind = 'delay'\nlatency = '5ms'\nduration = '2s'")),
    );
    let (taken, records) = echo_times(&scenario, [500, 1_500, 2_500, 3_500, 4_500].map(ms));
    assert_eq!(taken, [0, 10, 15, 5, 0].map(|latency| (LINK + ms(latency)) * 2));
    assert_eq!(when(&records, Event::FaultStart), [(0, 1_000_000), (1, 2_000_000)]);
    assert_eq!(when(&records, Event::FaultEnd), [(0, 3_000_000), (1, 4_000_000)]);
}

#[test]
fn the_scenarios_network_stays_when_a_delay_is_lifted() {
    let scenario = faults(
        &("network.latency = '2ms'\n".to_owned() + &fault("1s", "kind = 'delay'\nlatency = '10ms'\nduration = '2s'")),
    );
    let (taken, _) = echo_times(&scenario, [500, 1_500, 3_500].map(ms));
    assert_eq!(taken, [2, 12, 2].map(|latency| (LINK + ms(latency)) * 2));
}

#[test]
fn a_freeze_inside_a_freeze_ends_with_the_outer() {
    let scenario =
        faults(&(fault("1s", "kind = 'freeze'\nduration = '4s'") + &fault("2s", "kind = 'freeze'\nduration = '1s'")));
    let (taken, records) = echo_times(&scenario, [ms(2_500)]);
    assert_eq!(taken, [secs(5) + LINK - ms(2_500) - LINK * 2]);
    assert_eq!(when(&records, Event::FaultEnd), [(1, 3_000_000), (0, 5_000_000)]);
    assert_eq!(events(&records, Event::NoEffect).count(), 0);
}

#[test]
fn freezes_that_overlap_last_until_both_are_over() {
    let scenario =
        faults(&(fault("1s", "kind = 'freeze'\nduration = '2s'") + &fault("2s", "kind = 'freeze'\nduration = '2s'")));
    let (taken, _) = echo_times(&scenario, [ms(2_500)]);
    assert_eq!(taken, [secs(4) + LINK - ms(2_500) - LINK * 2]);
}

#[test]
fn a_crash_ends_a_freeze() {
    let scenario = faults(
        &(fault("1s", "kind = 'freeze'\nduration = '10s'") + &fault("2s", "kind = 'crash'\nrestart_after = '1s'")),
    );
    let (taken, records) = echo_times(&scenario, [ms(3_500)]);
    assert_eq!(taken, [LINK * 2]);
    // The crash ends once the new process listens.
    assert_eq!(when(&records, Event::FaultEnd), [(1, 3_010_000), (0, 11_000_000)]);
}

#[test]
fn a_freeze_of_a_new_process_outlasts_the_freeze_of_the_one_before() {
    let scenario = faults(
        &(fault("1s", "kind = 'freeze'\nduration = '5s'")
            + &fault("2s", "kind = 'crash'\nrestart_after = '1s'")
            + &fault("4s", "kind = 'freeze'\nduration = '5s'")),
    );
    let (taken, _) = echo_times(&scenario, [secs(5)]);
    assert_eq!(taken, [secs(9) + LINK - secs(5) - LINK * 2]);
}

#[test]
fn faults_on_a_server_that_is_down_have_no_effect_and_say_so() {
    let scenario = faults(
        &(fault("1s", "kind = 'crash'")
            + &fault("2s", "kind = 'freeze'\nduration = '1s'")
            + &fault("3s", "kind = 'crash'\nrestart_after = '1s'")),
    );
    let (_, records) = echo_times(&scenario, []);
    assert_eq!(when(&records, Event::NoEffect), [(1, 2_000_000), (2, 3_000_000)]);
    assert!(events(&records, Event::NoEffect).all(|row| row.cause.as_deref() == Some("the server is down")));
    assert_eq!(when(&records, Event::FaultStart).len(), 3);
    assert_eq!(when(&records, Event::FaultEnd).len(), 3);
    assert_eq!(events(&records, Event::Restart).count(), 0);
}

#[test]
fn a_crash_of_a_starting_server_restarts_it_again() {
    let scenario = faults(
        &(fault("1s", "kind = 'crash'\nrestart_after = '1s'")
            + &fault("2.005s", "kind = 'crash'\nrestart_after = '1s'")),
    );
    let (taken, records) = echo_times(&scenario, [ms(3_100)]);
    assert_eq!(taken, [LINK * 2]);
    assert_eq!(when(&records, Event::Restart), [(0, 2_000_000), (1, 3_005_000)]);
    assert_eq!(when(&records, Event::FaultEnd), [(0, 2_005_000), (1, 3_015_000)]);
}

/// Plays one replica that is called ten times a second for six seconds, one attempt a call.
fn calls(faults: &str) -> Records {
    records_of(&format!(
        "duration = '6s'\nload.rate = 10\nservers.replicas = 1\nservers.service_time_min = '1ms'\n\
         client.retry.max_attempts = 1\n{faults}"
    ))
}

/// Returns the status of the calls from `from` to just before `to`, in milliseconds, and the time that they took at the
/// server. The first call of all is not exact, as it opens the connection.
fn outcomes(records: &Records, from: u64, to: u64) -> Vec<(Code, u64)> {
    let sent = records.attempts.iter().filter(|row| (from * 1_000..to * 1_000).contains(&row.start_us));
    let mut outcomes: Vec<_> = sent.map(|row| (row.status, row.end_us - row.start_us - 100)).collect();
    outcomes.dedup();
    outcomes
}

#[test]
fn slow_faults_multiply_and_lift_separately() {
    let records = calls(
        &(fault("1.05s", "kind = 'slow'\nfactor = 2\nduration = '2s'")
            + &fault("2.05s", "kind = 'slow'\nfactor = 3.5\nduration = '2s'")),
    );
    let took = [(50, 1_050), (1_050, 2_050), (2_050, 3_050), (3_050, 4_050), (4_050, 6_000)];
    let took = took.map(|(from, to)| outcomes(&records, from, to));
    assert_eq!(took, [1_000, 2_000, 7_000, 3_500, 1_000].map(|us| vec![(Code::Ok, us)]));
}

#[test]
fn errors_are_answered_on_arrival_and_lift_separately() {
    let records = calls(
        &(fault("1.05s", "kind = 'errors'\nrate = 1.0\nstatus = 'INTERNAL'\nduration = '2s'")
            + &fault("2.05s", "kind = 'errors'\nrate = 1.0\nstatus = 'ABORTED'\nduration = '2s'")),
    );
    let spans = [(50, 1_050), (1_050, 3_050), (3_050, 4_050), (4_050, 6_000)];
    let found = spans.map(|(from, to)| outcomes(&records, from, to));
    let wanted = [(Code::Ok, 1_000), (Code::Internal, 0), (Code::Aborted, 0), (Code::Ok, 1_000)];
    assert_eq!(found, wanted.map(|outcome| vec![outcome]));
    assert_eq!(events(&records, Event::Aborted).count(), 30);
    assert_eq!(when(&records, Event::FaultEnd), [(0, 3_050_000), (1, 4_050_000)]);
}

#[test]
fn an_injection_ends_with_the_process() {
    let records = calls(
        &(fault("1.05s", "kind = 'errors'\nrate = 1.0")
            + &fault("1.05s", "kind = 'slow'\nfactor = 9")
            + &fault("2.05s", "kind = 'crash'\nrestart_after = '400ms'")
            + &fault("2.25s", "kind = 'errors'\nrate = 1.0\nduration = '1s'")),
    );
    assert_eq!(outcomes(&records, 1_050, 2_050), [(Code::Unavailable, 0)]);
    assert_eq!(outcomes(&records, 4_000, 6_000), [(Code::Ok, 1_000)]);
    assert_eq!(when(&records, Event::NoEffect), [(3, 2_250_000)]);
}

#[test]
fn a_frozen_server_injects_once_it_is_resumed() {
    let records = calls(
        &(fault("1.05s", "kind = 'freeze'\nduration = '500ms'")
            + &fault("1.25s", "kind = 'errors'\nrate = 1.0\nduration = '1s'")),
    );
    assert!(outcomes(&records, 1_050, 2_250).iter().all(|(code, _)| *code == Code::Unavailable));
    assert_eq!(outcomes(&records, 2_250, 6_000), [(Code::Ok, 1_000)]);
}

#[test]
fn a_repeated_fault_is_as_many_faults_as_it_has_occurrences() {
    let rest = "kind = 'delay'\nlatency = '10ms'\ndirection = 'to'\nduration = '1s'\nevery = '2s'\ncount = 3";
    let scenario = faults(&fault("1s", rest));
    let (taken, records) = echo_times(&scenario, [500, 1_500, 2_500, 3_500, 4_500, 5_500, 7_500].map(ms));
    assert_eq!(taken, [0, 10, 0, 10, 0, 10, 0].map(|latency| LINK * 2 + ms(latency)));
    assert_eq!(when(&records, Event::FaultStart), [(0, 1_000_000), (1, 3_000_000), (2, 5_000_000)]);
    assert_eq!(when(&records, Event::FaultEnd), [(0, 2_000_000), (1, 4_000_000), (2, 6_000_000)]);
}
