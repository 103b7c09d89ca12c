//! Tests of what is assumed of tokio and mio, and of the view that code of a user has in a process of its own.
//!
//! If one of the first tests fails behind an update of tokio or mio, the runtime waits in another way than [`turn`](super::turn) knows. Look at
//! `Driver::park_internal` in tokio's `runtime/time/mod.rs`, at `Context::park` in its `runtime/scheduler/current_thread/mod.rs` and at
//! `Selector::select` in mio's `sys/unix/selector/epoll.rs`: what they call in place of `epoll_wait` is what has to be replaced in
//! `interpose/epoll.rs`, and what they pass there is what `turn::parks` has to understand. Until then the former version can be kept by
//! `tokio = "=1.54"` in the manifest of the workspace.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what code of a user may do is what is tested"
)]

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
    task::yield_now,
    time::sleep,
};

use super::turn::{Rest, turn};
use crate::{interpose::Interposed, virtual_time};

const KEY: super::Key = (1, 0);

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn us(count: u64) -> Duration {
    Duration::from_micros(count)
}

/// Runs `test` on a simulation's thread, with a runtime.
fn on_simulation_thread<T: Send>(test: impl FnOnce(&Runtime) -> T + Send) -> T {
    thread::scope(|scope| {
        let simulation = scope.spawn(|| {
            let _interposed = Interposed::enter(1, &[]);
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            test(&runtime)
        });
        simulation.join().unwrap()
    })
}

/// Moves the virtual time of this thread.
fn go_to(time: Duration) {
    virtual_time::set(kernel::time::Instant::START + time);
}

fn spawn<F: Future<Output: Send> + Send + 'static>(task: F) {
    drop(tokio::spawn(task));
}

#[test]
fn a_turn_ends_with_the_time_until_the_next_deadline() {
    on_simulation_thread(|runtime| {
        let begin = || {
            spawn(sleep(ms(30)));
            spawn(sleep(us(2_500)));
        };
        assert_eq!(turn(KEY, runtime, begin), Rest::For(ms(3)), "a deadline is rounded up to milliseconds");
        go_to(us(3_400));
        assert_eq!(turn(KEY, runtime, || ()), Rest::For(ms(27)), "and the present time is rounded down");
        go_to(us(30_400));
        assert_eq!(turn(KEY, runtime, || ()), Rest::UntilWoken);
    });
}

#[test]
fn a_runtime_that_has_nothing_to_do_waits_until_it_is_woken() {
    on_simulation_thread(|runtime| {
        assert_eq!(turn(KEY, runtime, || ()), Rest::UntilWoken);
        let woken = Arc::new(Notify::new());
        let done = Arc::new(Mutex::new(0));
        let waits = woken.clone();
        let counts = done.clone();
        let begin = || {
            spawn(async move {
                loop {
                    waits.notified().await;
                    *counts.lock().unwrap() += 1;
                }
            });
        };
        assert_eq!(turn(KEY, runtime, begin), Rest::UntilWoken);
        assert_eq!((turn(KEY, runtime, || woken.notify_one()), *done.lock().unwrap()), (Rest::UntilWoken, 1));
    });
}

#[test]
fn a_turn_does_all_that_is_ready_before_it_ends() {
    on_simulation_thread(|runtime| {
        let done = Arc::new(Mutex::new(0));
        let counts = done.clone();
        let begin = || {
            for _ in 0..1_000 {
                let counts = counts.clone();
                spawn(async move {
                    yield_now().await;
                    tokio::spawn(yield_now()).await.unwrap();
                    *counts.lock().unwrap() += 1;
                });
            }
        };
        assert_eq!((turn(KEY, runtime, begin), *done.lock().unwrap()), (Rest::UntilWoken, 1_000));
    });
}

#[test]
fn tasks_that_run_over_and_over_end_the_turn() {
    let rest = on_simulation_thread(|runtime| {
        turn(KEY, runtime, || {
            spawn(async {
                loop {
                    yield_now().await;
                }
            });
        })
    });
    assert_eq!(rest, Rest::Never);
}

#[test]
fn outside_of_a_turn_the_wait_is_that_of_the_operating_system() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let waited = runtime.block_on(async {
        let begun = std::time::Instant::now();
        sleep(ms(2)).await;
        begun.elapsed()
    });
    assert!(waited >= ms(2));
    let stream = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, accepted) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        (opened.is_ok(), accepted.is_ok())
    });
    assert_eq!(stream, (true, true));
}
