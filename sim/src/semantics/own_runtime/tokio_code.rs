//! Code of a user that uses tokio's clock, tasks and randomness.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what code of a user may do is what is tested"
)]

use std::{collections::hash_map::RandomState, hash::BuildHasher};

use futures_util::future::join;
use kernel::{
    nemesis::Operation::{Crash, Freeze, Resume, Start},
    world::BoxFuture,
};
use rand::RngExt;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::*;

/// The values that code has noted, with their times.
type Notes<T> = Arc<Mutex<Vec<(Instant, T)>>>;

/// Runs `code` in a process, for as long as `faults` take, and returns what it has noted.
fn noted<T, C, F>(
    code: impl Fn(SharedWorld, Notes<T>) -> C + Send + Sync + 'static,
    faults: impl FnOnce(Hosts) -> F + Send,
) -> Vec<(Instant, T)>
where
    T: Send + 'static,
    C: Future<Output = ()> + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let notes: Notes<T> = Arc::default();
    let noting = notes.clone();
    let process = software(move |world| {
        let code = code(world.clone(), noting.clone());
        async move {
            let _listener = world.listen().await?;
            code.await;
            pending().await
        }
    });
    simulate(&process, faults);
    std::mem::take(&mut *notes.lock().unwrap())
}

/// Spawns a task that notes each tick of 10 ms.
async fn ticks(world: SharedWorld, notes: Notes<u32>) {
    tokio::spawn(async move {
        let mut interval = interval(ms(10));
        for tick in 0.. {
            interval.tick().await;
            notes.lock().unwrap().push((world.now(), tick));
        }
    });
}

#[test]
fn a_ticker_of_tokio_ticks_on_the_virtual_clock() {
    let ticked = noted(ticks, |hosts| async move { hosts.sleep(ms(35)).await });
    assert_eq!(ticked, [(at(ms(0)), 0), (at(ms(10)), 1), (at(ms(20)), 2), (at(ms(30)), 3)]);
}

#[test]
fn a_ticker_of_a_frozen_process_stands_still() {
    let ticked = noted(ticks, |hosts| async move {
        hosts.apply(ms(15), Freeze(0)).await;
        hosts.apply(ms(42), Resume(0)).await;
        hosts.sleep(ms(55)).await;
    });
    // tokio makes up for the ticks that were missed, at once.
    let times = [0, 10, 42, 42, 42, 50].map(|time| at(ms(time)));
    assert_eq!(ticked, times.into_iter().zip(0..).collect::<Vec<_>>());
}

#[test]
fn a_ticker_of_a_killed_process_is_gone() {
    let ticked = noted(ticks, |hosts| async move {
        hosts.apply(ms(15), Crash(0)).await;
        hosts.apply(ms(100), Start(0)).await;
        hosts.sleep(ms(125)).await;
    });
    // That of the next process begins when it runs.
    assert_eq!(ticked, [0, 10, 110, 120].map(|time| at(ms(time))).into_iter().zip([0, 1, 0, 1]).collect::<Vec<_>>());
}

#[test]
fn timers_are_as_exact_as_those_of_tokio() {
    let waits = [us(1), us(999), ms(1), us(1_001), us(2_500), ms(70), secs(5)];
    let ended = noted(
        move |world, notes| async move {
            for wait in waits {
                let begun = (world.now(), std::time::Instant::now());
                sleep(wait).await;
                assert_eq!(begun.1.elapsed(), world.now().since(begun.0), "the clocks are the same");
                notes.lock().unwrap().push((world.now(), wait));
            }
        },
        |hosts| async move { hosts.sleep(secs(6)).await },
    );
    let mut time = Duration::ZERO;
    for (ends, wait) in ended {
        time += Duration::from_millis(wait.as_micros().div_ceil(1_000) as u64);
        assert_eq!((ends, wait), (at(time), wait));
    }
    assert_eq!(time, ms(1 + 1 + 1 + 2 + 3 + 70 + 5_000));
}

#[test]
fn a_turn_between_rounds_a_deadline_as_in_the_real_world() {
    let ended = noted(
        |world, notes| async move {
            let between = async { world.sleep_until(at(us(2_700))).await };
            join(sleep(ms(5)), between).await;
            notes.lock().unwrap().push((world.now(), ()));
        },
        |hosts| async move { hosts.sleep(ms(10)).await },
    );
    // At 2.7 ms the runtime counts 2 ms, and so waits for 3 ms more.
    assert_eq!(ended, [(at(us(5_700)), ())]);
}

#[test]
fn tokios_timeouts_channels_and_branches_are_right() {
    let noted = noted(
        |world, notes| async move {
            let (send, mut receive) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                for number in 0..3 {
                    sleep(ms(4)).await;
                    send.send(number).await.unwrap();
                }
            });
            let mut answers = Vec::new();
            loop {
                let answer = tokio::select! {
                    number = receive.recv() => number.map_or("end", |_| "number"),
                    _ = timeout(ms(3), pending::<()>()) => "timeout",
                };
                answers.push(answer);
                notes.lock().unwrap().push((world.now(), answer));
                if answer == "end" {
                    return;
                }
            }
        },
        |hosts| async move { hosts.sleep(ms(20)).await },
    );
    let expected =
        [(3, "timeout"), (4, "number"), (7, "timeout"), (8, "number"), (11, "timeout"), (12, "number"), (12, "end")];
    assert_eq!(noted, expected.map(|(time, what)| (at(ms(time)), what)));
}

/// A number from rand, a hash with the key of hash maps, and the branches of `select!`.
type Drawn = (u64, u64, Vec<bool>);

/// Notes what rand, the keys of hash maps and the branches of `select!` depend on.
async fn draws(world: SharedWorld, notes: Notes<Drawn>) {
    let mut branches = JoinSet::new();
    for _ in 0..16 {
        branches.spawn(async {
            tokio::select! {
                () = std::future::ready(()) => true,
                () = std::future::ready(()) => false,
            }
        });
    }
    let random = rand::rng().random();
    let drawn = (random, RandomState::new().hash_one("key"), branches.join_all().await);
    notes.lock().unwrap().push((world.now(), drawn));
}

/// Returns the random numbers that code draws in a run of this seed, with the time.
fn drawn(seed: u64) -> Vec<(Instant, Drawn)> {
    let notes = Notes::default();
    let noting = Arc::clone(&notes);
    let process = software(move |world| {
        let drawing = draws(world, Arc::clone(&noting));
        async move {
            drawing.await;
            pending().await
        }
    });
    simulate_seeded(seed, &process, |hosts| async move { hosts.sleep(ms(1)).await });
    std::mem::take(&mut *notes.lock().unwrap())
}

#[test]
fn randomness_is_that_of_the_seed() {
    let [one, two] = [1, 2].map(drawn);
    assert_eq!((one.len(), &one), (1, &drawn(1)));
    let one = &one[0].1;
    let two = &two[0].1;
    assert!(one.0 != two.0 && one.1 != two.1 && one.2 != two.2, "{one:?} {two:?}");
}

#[test]
fn a_process_that_waits_for_nothing_does_not_keep_the_run() {
    let noted: Vec<(Instant, ())> = noted(|_, _| pending(), |hosts| async move { hosts.sleep(secs(1_000)).await });
    assert_eq!(noted, []);
}

#[test]
fn tasks_that_run_over_and_over_end_the_run() {
    let spins = software(|world| async move {
        world.sleep_until(at(ms(1))).await;
        loop {
            tokio::task::yield_now().await;
        }
    });
    let ended = simulate_replicas(1, 1, &spins, |hosts| async move { hosts.sleep(ms(5)).await });
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("a loop without an end needs a `host.sleep`"), "{error}");
}

/// Runs code that the simulation refuses, and returns the error of the run.
fn refused(code: fn() -> BoxFuture<'static, ()>) -> String {
    let process = software(move |_| async move {
        code().await;
        pending().await
    });
    simulate_replicas(1, 1, &process, |hosts| async move { hosts.sleep(ms(5)).await }).unwrap_err().to_string()
}

#[test]
fn threads_and_sockets_end_the_run_with_the_remedy() {
    let codes: [fn() -> BoxFuture<'static, ()>; 3] = [
        || Box::pin(async { drop(tokio::task::spawn_blocking(|| ()).await) }),
        || Box::pin(async { drop(tokio::fs::metadata("/").await) }),
        || Box::pin(async { drop(tokio::net::lookup_host("localhost:80").await.map(|_| ())) }),
    ];
    for code in codes {
        let error = refused(code);
        assert!(error.contains("the code starts a thread") && error.contains("use `host.compute`"), "{error}");
    }
    let error = refused(|| Box::pin(async { drop(tokio::net::TcpListener::bind("127.0.0.1:0").await) }));
    assert!(error.contains("a socket of the operating system") && error.contains("`host.compute`"), "{error}");
}

#[test]
fn a_wake_by_another_process_is_a_mistake_that_is_named() {
    let shared = Arc::new(tokio::sync::Notify::new());
    let process = software(move |world| {
        let shared = shared.clone();
        async move {
            let _listener = world.listen().await?;
            sleep(ms(1)).await;
            shared.notify_waiters();
            tokio::select! {
                () = shared.notified() => {}
                () = sleep(ms(10)) => {}
            }
            pending().await
        }
    });
    let ended = simulate_replicas(2, 1, &process, |hosts| async move { hosts.sleep(ms(20)).await });
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("a task of server-0 was woken past the World"), "{error}");
}
