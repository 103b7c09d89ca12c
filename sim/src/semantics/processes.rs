//! Many processes on one machine: each has a port, tasks, a gate and faults of its own, and connects to any other.

use std::io::ErrorKind;

use futures_util::future::{join, join_all};

use super::*;

/// Software of which `peer` runs on all servers but `server-0`, which runs `first`.
fn first_and_peers(first: Software, peer: Software) -> Software {
    Software::new(move |process| {
        let software = if process.name == "server-0" { &first } else { &peer };
        software.serve(process)
    })
}

/// Software that waits until `time`, connects to `server-0`, sends `line`, and adds what it hears to the log.
fn caller(time: Duration, line: &'static str) -> (Software, SharedLog) {
    let log = SharedLog::default();
    let heard = log.clone();
    let software = software(move |world| {
        let heard = heard.clone();
        async move {
            world.sleep_until(at(time)).await;
            let mut stream = world.connect("server-0").await?;
            stream.write_all(line.as_bytes()).await?;
            loop {
                let seen = see(&mut stream).await;
                let is_last = !matches!(seen, Seen::Bytes(_));
                note(&mut heard.lock().unwrap(), world.now(), seen);
                if is_last {
                    return pending().await;
                }
            }
        }
    });
    (software, log)
}

/// Runs `first` on `server-0` and a caller on `server-1`, and returns what the caller heard until `until`.
fn heard_by_a_peer<F>(
    first: Software,
    line: &'static str,
    until: Duration,
    faults: impl Fn(Arc<Hosts>) -> F + Send + Sync,
) -> Log
where
    F: Future<Output = ()> + Send + 'static,
{
    let (peer, log) = caller(ms(1), line);
    let played = simulate_replicas(2, 1, &first_and_peers(first, peer), |hosts| {
        let hosts = Arc::new(hosts);
        let faults = faults(hosts.clone());
        async move {
            faults.await;
            hosts.sleep(until).await;
        }
    });
    played.unwrap();
    std::mem::take(&mut *log.lock().unwrap())
}

#[test]
fn processes_of_one_machine_talk_with_the_delays_of_the_network() {
    let heard = heard_by_a_peer(echo(), "hello", ms(10), |_| async {});
    // A handshake there and back, then the bytes there and back.
    assert_eq!(heard, [(at(ms(1) + LINK * 4), bytes("hello"))]);
}

#[test]
fn a_process_that_is_killed_ends_its_connections_to_others_of_its_machine() {
    let heard = heard_by_a_peer(speaker([(ms(2), "last words")]), "", ms(10), |hosts| async move {
        hosts.apply(us(2_010), Operation::Crash(0)).await;
    });
    assert_eq!(heard, [(at(ms(2) + LINK), bytes("last words")), (at(us(2_010) + LINK), Seen::End)]);
}

#[test]
fn a_process_that_is_killed_with_unread_bytes_resets_its_connections_to_others_of_its_machine() {
    let heard = heard_by_a_peer(speaker([(ms(2), "last words")]), "unheard", ms(10), |hosts| async move {
        hosts.apply(us(2_010), Operation::Crash(0)).await;
    });
    let reset = Seen::Failure(ErrorKind::ConnectionReset);
    assert_eq!(heard, [(at(ms(2) + LINK), bytes("last words")), (at(us(2_010) + LINK), reset)]);
}

#[test]
fn a_frozen_process_answers_others_of_its_machine_when_it_continues() {
    let heard = heard_by_a_peer(echo(), "hello", ms(100), |hosts| async move {
        hosts.apply(us(500), Operation::Freeze(0)).await;
        hosts.apply(ms(50), Operation::Resume(0)).await;
    });
    assert_eq!(heard, [(at(ms(50) + LINK), bytes("hello"))]);
}

#[test]
fn connecting_to_a_killed_process_of_the_same_machine_is_refused_after_a_round_trip() {
    let refused = Arc::new(Mutex::new(None));
    let noted = refused.clone();
    let peer = software(move |world| {
        let noted = noted.clone();
        async move {
            world.sleep_until(at(ms(2))).await;
            let refused = world.connect("server-0").await.map(drop).map_err(|error| error.kind());
            *noted.lock().unwrap() = Some((refused, world.now()));
            pending().await
        }
    });
    simulate_replicas(2, 1, &first_and_peers(echo(), peer), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        hosts.sleep(ms(10)).await;
    })
    .unwrap();
    assert_eq!(*refused.lock().unwrap(), Some((Err(ErrorKind::ConnectionRefused), at(ms(2) + LINK * 2))));
}

#[test]
fn a_process_without_that_name_is_not_found() {
    let found = simulate(&echo(), |hosts| async move {
        hosts.world.connect("server-1").await.map(drop).map_err(|error| error.to_string())
    });
    assert_eq!(found, Err("there is no host `server-1`".to_owned()));
}

/// Returns the log of a conversation whose four answers arrive at these times.
fn whole(times: [Duration; 4]) -> Log {
    times.into_iter().enumerate().map(|(number, time)| (at(time), bytes(&format!("{}", number + 1)))).collect()
}

/// Each is asked on a connection of its own, while the others are killed, frozen and started again.
#[test]
fn a_fault_of_one_process_does_not_touch_the_others_of_its_machine() {
    let (heard, _) = simulate_replicas(4, 1, &echo(), |hosts| async move {
        let conversations = join_all(hosts.links.iter().map(|link| Conversation::over(&hosts.world, link))).await;
        let talks = join_all(conversations.into_iter().map(|mut conversation| async move {
            for number in 1..5 {
                let line = format!("{number}");
                let _ = conversation.stream.write_all(line.as_bytes()).await;
                conversation.listen(ms(10 * number)).await;
            }
            conversation.heard
        }));
        let faults = async {
            hosts.apply(ms(15), Operation::Crash(0)).await;
            hosts.apply(ms(15), Operation::Freeze(1)).await;
            hosts.apply(ms(25), Operation::Resume(1)).await;
            hosts.apply(ms(25), Operation::Start(0)).await;
        };
        join(talks, faults).await.0
    })
    .unwrap();
    let in_time = [LINK * 4, ms(10) + LINK * 2, ms(20) + LINK * 2, ms(30) + LINK * 2];
    assert_eq!(heard[2], whole(in_time));
    assert_eq!(heard[3], whole(in_time));
    // What was sent to the frozen one at 20 ms was answered when it continued.
    assert_eq!(heard[1], whole([LINK * 4, ms(10) + LINK * 2, ms(25) + LINK, ms(30) + LINK * 2]));
    assert_eq!(heard[0], [&whole(in_time)[..2], &[(at(ms(15) + LINK), Seen::End)]].concat());
}

#[test]
fn a_thousand_processes_on_a_machine_are_killed_and_started_at_one_instant() {
    const COUNT: usize = 1_000;
    let (answers, _) = simulate_replicas(COUNT, 1, &echo(), |hosts| async move {
        let ask_all = async || {
            let asked = hosts.links.iter().map(|link| async {
                let mut stream = link.connect().await.map_err(|error| error.kind())?;
                stream.write_all(b"?").await.unwrap();
                Ok((see(&mut stream).await, hosts.world.now()))
            });
            join_all(asked).await
        };
        let before = ask_all().await;
        hosts.sleep(ms(1)).await;
        join_all((0..COUNT).map(|server| hosts.operations.apply(Operation::Crash(server)))).await;
        let between = ask_all().await;
        hosts.sleep(ms(2)).await;
        join_all((0..COUNT).map(|server| hosts.operations.apply(Operation::Start(server)))).await;
        let started = hosts.world.now();
        (before, between, started, ask_all().await)
    })
    .unwrap();
    let (before, between, started, after) = answers;
    let all = |time: Duration| vec![Ok((bytes("?"), at(time))); COUNT];
    assert_eq!(before, all(LINK * 4));
    assert_eq!(between, vec![Err(ErrorKind::ConnectionRefused); COUNT]);
    assert_eq!(started, at(ms(2) + EXEC_TO_LISTEN));
    assert_eq!(after, all(ms(2) + EXEC_TO_LISTEN + LINK * 4));
}

#[test]
fn a_process_may_be_started_killed_and_started_at_one_instant() {
    let (effects, listening, heard) = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        hosts.sleep(ms(5)).await;
        let operations = [Operation::Start(0), Operation::Crash(0), Operation::Start(0)];
        let effects = join_all(operations.map(|operation| hosts.operations.apply(operation))).await;
        let listening = hosts.world.now();
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(50), b"third").await;
        (effects.into_iter().map(Result::unwrap).collect::<Vec<_>>(), listening, conversation.until(ms(60)).await)
    });
    assert_eq!(effects, [Effect::ServerIsDown, Effect::Applied, Effect::Applied]);
    assert_eq!(listening, at(ms(5) + EXEC_TO_LISTEN));
    assert_eq!(heard, [(at(ms(50) + LINK * 2), bytes("third"))]);
}

/// turmoil would keep a port of the client for each of them, and has 65,535 at most.
#[test]
fn seventy_thousand_refused_connections_use_nothing_up() {
    let heard = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        for _ in 0..70 {
            let refused = join_all((0..1_000).map(|_| hosts.links[0].connect())).await;
            let all = refused
                .iter()
                .all(|refused| refused.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
            assert!(all);
        }
        hosts.operations.apply(Operation::Start(0)).await.unwrap();
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(50), b"again").await;
        conversation.until(ms(60)).await
    });
    assert_eq!(heard, [(at(ms(50) + LINK * 2), bytes("again"))]);
}

/// Connections that are given up while they are being opened do not confuse those that are opened after them.
#[test]
fn connections_that_are_given_up_leave_the_others_alone() {
    let opened = simulate(&echo(), |hosts| async move {
        hosts.sleep(ms(1)).await;
        let opened = join_all((0..100_u32).map(|number| {
            let hosts = &hosts;
            async move {
                // Half of them give up at the instant at which they arrive.
                let patience = if number % 2 == 0 { LINK } else { secs(1) };
                let opening = timeout_at(&*hosts.world, at(ms(1) + patience), hosts.links[0].connect());
                let Ok(Ok(mut stream)) = opening.await else { return None };
                stream.write_all(&number.to_be_bytes()).await.unwrap();
                Some(see(&mut stream).await)
            }
        }));
        opened.await
    });
    let expected = (0..100_u32).map(|number| (number % 2 == 1).then(|| Seen::Bytes(number.to_be_bytes().into())));
    assert_eq!(opened, expected.collect::<Vec<_>>());
}

#[test]
fn an_error_of_one_process_fails_the_run() {
    let fails = software(|world| async move {
        world.sleep_until(at(ms(5))).await;
        Err(io::Error::other("out of luck"))
    });
    let failed = simulate_replicas(3, 1, &first_and_peers(fails, echo()), |hosts| async move {
        hosts.sleep(secs(1)).await;
    });
    assert_eq!(failed.unwrap_err().to_string(), "the simulation failed: out of luck");
}

#[test]
fn a_panic_of_one_process_ends_the_simulation() {
    let panics = software(|world| async move {
        world.sleep_until(at(ms(5))).await;
        panic!("planted")
    });
    let failed = simulate_replicas(3, 1, &first_and_peers(panics, echo()), |hosts| async move {
        hosts.sleep(secs(1)).await;
    });
    assert_eq!(failed.unwrap_err().to_string(), "the simulation failed: it panicked, which is a bug of this program");
}
