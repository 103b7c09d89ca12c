//! A machine that all processes share.

use kernel::status::Outcome;

use super::*;

/// A machine of `cores` that is never cold, with constant times.
fn machine(cores: usize) -> String {
    format!(
        "[machine]\ncores = {cores}\nslice_us = 1000.0\nfollow_up_us = 0.0\n\
         [machine.coldness]\ncool_down_us = 1e12\nshape = 1.0\nusage_factor = 0.0\nusage_window_us = 1000.0\nwarm_up_us = 0.001\n\
         [machine.timer]\nwarm_us = [[0.0, 30.0]]\ncold_us = [[0.0, 30.0]]\n\
         [[machine.message]]\nbytes = 16\n\
         to_server = {{ warm_us = [[0.0, 300.0]], cold_us = [[0.0, 300.0]] }}\n\
         to_client = {{ warm_us = [[0.0, 500.0]], cold_us = [[0.0, 500.0]] }}\n"
    )
}

/// Plays one server on this machine.
fn records_on_machine(machine: &str, scenario: &str) -> Records {
    let calibration = Calibration::parse("calibration.toml", &format!("{CALIBRATION}\n{machine}")).unwrap();
    records_on(calibration, &format!("duration = '3s'\nservers.replicas = 1\n{scenario}"), "64x64")
}

fn latencies_us(records: &Records) -> Vec<u64> {
    records.requests.iter().map(|row| row.latency_us.unwrap()).collect()
}

#[test]
fn a_call_takes_the_time_of_its_pieces() {
    let records = records_on_machine(&machine(2), "load.rate = 1");
    assert_eq!(latencies_us(&records)[1..], [30 + 300 + 820 + 500; 2]);
    assert_eq!(records.requests[1].sent_us, Some(1_000_030));
}

/// Returns the longest latency of four calls at one instant, in microseconds, on a machine with this number of processors.
fn longest_of_four(cores: usize) -> u64 {
    let load = "servers.workers = 4\nload.rate = 1\nload.users = 4\nload.think_time = '1s'";
    latencies_us(&records_on_machine(&machine(cores), load)).into_iter().max().unwrap()
}

#[test]
fn calls_at_one_instant_share_the_processors() {
    let [one, four] = [1, 4].map(longest_of_four);
    // The connections are opened at the first call of each user. With one processor the last of four calls waits for all the work of the
    // others, with four for nothing but its connection.
    assert!(one > 4 * 1_600 && four < 3_000, "{one} {four}");
}

#[test]
fn a_machine_that_slept_takes_longer() {
    let cold = machine(2).replace("cold_us = [[0.0, 300.0]]", "cold_us = [[0.0, 700.0]]");
    let slow =
        cold.replace("cool_down_us = 1e12", "cool_down_us = 1000.0").replace("warm_up_us = 0.001", "warm_up_us = 1e9");
    assert_eq!(latencies_us(&records_on_machine(&cold, "load.rate = 1"))[1..], [30 + 300 + 820 + 500; 2]);
    assert_eq!(latencies_us(&records_on_machine(&slow, "load.rate = 1"))[1..], [30 + 700 + 820 + 500; 2]);
}

#[test]
fn the_processor_of_a_server_sleeps_while_the_client_works() {
    // Cold at once, and warm again as soon as it works.
    let machine = machine(2).replace("cool_down_us = 1e12", "cool_down_us = 0.001");
    let machine = machine
        .replace("cold_us = [[0.0, 300.0]]", "cold_us = [[0.0, 700.0]]")
        .replace("cold_us = [[0.0, 500.0]]", "cold_us = [[0.0, 900.0]]");
    // The timer has warmed the machine up.
    assert_eq!(latencies_us(&records_on_machine(&machine, "load.rate = 1"))[1..], [30 + 300 + 820 + 500; 2]);
    let sleeping = machine.replace("warm_up_us = 0.001", "warm_up_us = 0.001\nservers_sleep = true");
    assert_eq!(latencies_us(&records_on_machine(&sleeping, "load.rate = 1"))[1..], [30 + 700 + 820 + 500; 2]);
}

/// The table of a constant computing time.
fn service(units: u64, micros: u64) -> String {
    let times = format!("warm_us = [[0.0, {micros}.0]]\ncold_us = [[0.0, {micros}.0]]");
    format!("[[machine.service_time]]\nworkload = 'sobel'\nunits = {units}\n{times}\n")
}

#[test]
fn what_follows_a_call_takes_time_by_the_size_of_the_call() {
    // With one processor the worker's reply waits for what follows. An image of 64x64 is half-way between the two sizes.
    let [small, large] = [service(2_048, 820), service(6_144, 820)];
    let machine = format!("{}{small}follow_up_us = 100\n{large}follow_up_us = 300\n", machine(1));
    assert_eq!(latencies_us(&records_on_machine(&machine, "load.rate = 1"))[1..], [30 + 300 + 820 + 200 + 500; 2]);
    assert!(
        refused(&machine.replace("follow_up_us = 300", "follow_up_us = -1"))
            .contains("`follow_up_us` of a machine is from 0")
    );
}

#[test]
fn a_computation_that_grows_faster_than_its_size_is_a_power_of_it() {
    // An image of 64x64 is twice the smaller size and half of the larger one, and takes four times as long and a quarter.
    let lines = format!("{}{}{}", machine(1), service(2_048, 100), service(8_192, 1_600));
    let powers = lines.replace("follow_up_us = 0.0", "follow_up_us = 0.0\nbetween_sizes = 'power'");
    assert_eq!(latencies_us(&records_on_machine(&lines, "load.rate = 1"))[1..], [30 + 300 + 600 + 500; 2]);
    assert_eq!(latencies_us(&records_on_machine(&powers, "load.rate = 1"))[1..], [30 + 300 + 400 + 500; 2]);
    assert!(refused(&powers.replace("'power'", "'curve'")).contains("expected `line` or `power`"));
}

/// A machine with two processors, on which computations that run at the same time slow each other.
fn contended(contention: f64) -> String {
    format!("{}{}contention = {contention:?}\n", machine(2), service(4_096, 820))
}

#[test]
fn computations_that_run_at_the_same_time_slow_each_other() {
    let alone = 30 + 300 + 820 + 500;
    let machine = contended(1.0);
    assert_eq!(latencies_us(&records_on_machine(&machine, "load.rate = 1"))[1..], [alone; 2]);
    // The second calls of both users, when all connections are open, are less than a computation apart.
    let users = "servers.workers = 4\nload.rate = 1\nload.users = 2\nload.think_time = '1s'";
    let records = records_on_machine(&machine, users);
    let [one, other] = &records.requests[4..6] else { panic!("{records:?}") };
    let apart = other.intended_us - one.intended_us;
    assert!((1..820).contains(&apart), "{apart}");
    // What the two compute at the same time takes twice as long.
    assert_eq!([one.latency_us, other.latency_us], [Some(alone + 820 - apart); 2]);
    let records = records_on_machine(&contended(0.0), users);
    assert_eq!([4, 5].map(|id| records.requests[id].latency_us), [Some(alone); 2]);
    assert!(refused(&contended(10.5)).contains("`contention` of a service time is from 0 to 10, and here 10.5"));
}

#[test]
fn times_vary_together_by_the_share_that_they_have_in_common() {
    let constant = "warm_us = [[0.0, 300.0]], cold_us = [[0.0, 300.0]]";
    let varied = "warm_us = [[0.0, 300.0], [1.0, 900.0]], cold_us = [[0.0, 300.0], [1.0, 900.0]]";
    let alone = machine(2).replace(constant, varied);
    let together = format!("{alone}[[machine.variation]]\nshare = 1.0\ntime_us = 1e12\n");
    let ranges = [&alone, &together].map(|machine| {
        let latencies = &latencies_us(&records_on_machine(machine, "load.rate = 20"))[1..];
        latencies.iter().max().unwrap() - latencies.iter().min().unwrap()
    });
    // In three seconds nothing changes that changes within eleven days.
    assert!(ranges[0] > 300 && ranges[1] <= 1, "{ranges:?}");
    let more = together.replace("share = 1.0", "share = 1.1");
    assert!(refused(&more).contains("`machine.variation` is no model: every `share` is from 0 to 1"));
}

#[test]
fn a_frozen_server_does_not_work() {
    // The freeze begins in the service.
    let freeze = "load.rate = 1\nclient.attempt_timeout = '2s'\n[[fault]]\nat = '1.0005s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '100ms'";
    let latencies = latencies_us(&records_on_machine(&machine(2), freeze));
    // The timer that ends the freeze is late by 30 us.
    assert_eq!(latencies[1], 30 + 300 + 820 + 500 + 100_030);
}

#[test]
fn a_server_that_was_killed_is_replaced() {
    let crash =
        "load.rate = 100\n[[fault]]\nat = '1.0005s'\nkind = 'crash'\ntarget = 'server-0'\nrestart_after = '100ms'";
    let records = records_on_machine(&machine(2), crash);
    let after = records.requests.iter().filter(|row| row.intended_us > 2_000_000);
    assert!(after.clone().count() > 90 && after.clone().all(|row| row.status == Outcome::OK));
    let lost = records.requests.iter().filter(|row| row.status != Outcome::OK).count();
    assert!((1..100).contains(&lost), "{lost}");
}

#[test]
fn a_pause_of_the_machine_delays_all_that_happens_in_it() {
    let pauses = format!("{}[machine.pauses]\nper_second = 2.0\nus = [[0.0, 30000.0]]\n", machine(2));
    let records = records_on_machine(&pauses, "load.rate = 300");
    let slow: Vec<_> = records.requests.iter().filter(|row| row.latency_us > Some(5_000)).map(|row| row.id).collect();
    let in_a_row = slow.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
    assert!(slow.len() > 10 && in_a_row > slow.len() / 2, "{slow:?}");
}

#[test]
fn a_run_on_a_shared_machine_repeats() {
    let machine = format!("{}[machine.pauses]\nper_second = 5.0\nus = [[0.0, 700.0]]\n", machine(2));
    let load = "load.rate = 400\n[[fault]]\nat = '1s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '200ms'";
    assert_eq!(records_on_machine(&machine, load), records_on_machine(&machine, load));
}

/// Returns the error of a calibration with a wrong machine.
fn refused(machine: &str) -> String {
    Calibration::parse("calibration.toml", &format!("{CALIBRATION}\n{machine}")).unwrap_err().to_string()
}

#[test]
fn a_wrong_machine_is_an_error_with_its_remedy() {
    let machine = machine(2);
    assert!(refused(&machine.replace("cores = 2", "cores = 0")).contains("cores"));
    assert!(refused(&machine.replace("cores = 2", "cores = 4000")).contains("`machine.cores` is up to 1024"));
    assert!(refused(&machine.replace("slice_us = 1000.0", "slice_us = 0.0")).contains("`machine.slice_us` is from 1"));
    assert!(refused(&machine.replace("shape = 1.0", "shape = nan")).contains("`shape` is from 0.1 to 10"));
    assert!(refused(&machine.replace("bytes = 16", "bytes = 16\nworkload = 'dfs'")).contains("without a workload"));
    assert!(refused(&format!("{machine}[machine.pauses]\nper_second = 1e9\nus = [[0.0, 1.0]]")).contains("per_second"));
    assert!(refused(&machine.replace("[machine.timer]", "[machine.clock]")).contains("clock"));
}

#[test]
fn a_sleep_can_be_polled_after_its_end() {
    let woken = run_on_machine(&machine(1), |hosts| async move {
        let mut sleep = hosts.world.sleep_until(at(ms(1)));
        sleep.as_mut().await;
        sleep.await;
        hosts.world.now()
    });
    assert_eq!(woken, (at(us(1_030)), 0));
}

/// Messages on their way, and work that is not complete, own the clock that owns their timers.
#[test]
fn nothing_of_a_simulation_stays() {
    for machine in [String::new(), machine(2)] {
        let (written, clocks) = run_on_machine(&machine, |hosts| async move {
            let mut stream = hosts.world.connect("server-0").await.unwrap();
            stream.write_all(&[7; 100]).await.is_ok()
        });
        assert_eq!((written, clocks), (true, 0), "{machine}");
    }
}

/// Runs `client` against a server that accepts connections. Returns its result, and the number of clocks that are left of the simulation.
fn run_on_machine<T, F>(machine: &str, client: impl FnOnce(Hosts) -> F + Send) -> (T, usize)
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calibration = Calibration::parse("calibration.toml", &format!("{CALIBRATION}\n{machine}")).unwrap();
    let software = software(|world| async move {
        let mut connections = Vec::new();
        let mut listener = world.listen().await?;
        loop {
            connections.push(listener.accept().await?);
        }
    });
    let bounds = Bounds::default();
    let outcome = Arc::new(Mutex::new(None));
    let result = outcome.clone();
    let clock = on_own_thread((1, &[]), (bounds.limits.real_time, &bounds.watch), || {
        let simulation =
            Simulation::new(&ServerNames::of_group(1), 1, &calibration, &software, bounds.clone(), |hosts| {
                let client = client(hosts);
                async move {
                    *result.lock().unwrap() = Some(client.await);
                    Ok(())
                }
            });
        let clock = simulation.clock();
        simulation.run(&Default::default())?;
        Ok::<_, SimulationError>(clock)
    });
    let result = outcome.lock().unwrap().take().unwrap();
    (result, clock.unwrap().strong_count())
}
