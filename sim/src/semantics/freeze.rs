//! SIGSTOP and SIGCONT: the process stops, the operating system does not.

use super::*;

#[test]
fn connecting_to_a_frozen_server_takes_a_round_trip() {
    let opened = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        hosts.sleep(ms(2)).await;
        let _stream = hosts.links[0].connect().await.unwrap();
        hosts.world.now()
    });
    assert_eq!(opened, at(ms(2) + LINK * 2));
}

#[test]
fn a_frozen_server_answers_when_it_is_resumed() {
    let (before, new) = simulate(&echo(), |hosts| async move {
        let mut before = Conversation::open(&hosts).await;
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        let mut new = Conversation::open(&hosts).await;
        before.say(ms(2), b"one ").await;
        new.say(ms(2), b"three").await;
        before.say(ms(3), b"two").await;
        before.listen(ms(10)).await;
        hosts.apply(ms(10), Operation::Resume(0)).await;
        before.listen(ms(11)).await;
        (before.heard, new.until(ms(12)).await)
    });
    assert_eq!(before, [(at(ms(10) + LINK), bytes("one two"))]);
    assert_eq!(received(&new), b"three");
}

/// The link moves bytes to the server while it is polled, so the test polls a connection that receives nothing.
#[test]
fn a_frozen_servers_operating_system_accepts_megabytes() {
    const BYTES: usize = 3 * 1024 * 1024;
    let (sink, log) = sink();
    let written = simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        conversation.say(ms(1), &vec![7; BYTES]).await;
        let written = hosts.world.now();
        conversation.listen(ms(10)).await;
        hosts.apply(ms(10), Operation::Resume(0)).await;
        conversation.listen(ms(11)).await;
        written
    });
    let log = log.lock().unwrap();
    assert_eq!(written, at(ms(1)));
    assert_eq!(received(&log).len(), BYTES);
    assert!(log.iter().filter(|(_, seen)| *seen != Seen::End).all(|(time, _)| *time == at(ms(10))));
}

#[test]
fn timers_that_expire_during_a_freeze_fire_at_the_resume() {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let ticking = software(move |world| {
        let noted = noted.clone();
        async move {
            for tick in [1, 2, 3, 20] {
                world.sleep_until(at(ms(tick))).await;
                noted.lock().unwrap().push(world.now());
            }
            pending().await
        }
    });
    simulate(&ticking, |hosts| async move {
        hosts.apply(us(1_500), Operation::Freeze(0)).await;
        hosts.apply(ms(10), Operation::Resume(0)).await;
        hosts.sleep(ms(30)).await;
    });
    assert_eq!(*times.lock().unwrap(), [1, 10, 10, 20].map(|millis| at(ms(millis))));
}

/// The first request opens the connection; the second is 300 µs old when its server freezes for 10 ms.
#[test]
fn computing_continues_where_it_was_stopped() {
    let records = records_of(
        "duration = '2s'\nload.rate = 1\nservers.replicas = 1\n\
         [[fault]]\nat = '1.0003s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '10ms'",
    );
    assert_eq!(records.requests[1].latency_us, Some(10_000 + 920));
}

#[test]
fn computing_interrupted_twice_takes_its_own_time_in_all() {
    let records = records_of(
        "duration = '2s'\nload.rate = 1\nservers.replicas = 1\n\
         [[fault]]\nat = '1.0003s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '10ms'\n\
         [[fault]]\nat = '1.0105s'\nkind = 'freeze'\ntarget = 'server-0'\nduration = '5ms'",
    );
    assert_eq!(records.requests[1].latency_us, Some(15_000 + 920));
}

#[test]
fn a_frozen_server_can_be_killed_and_the_next_process_is_not_frozen() {
    let (killed, heard) = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        let killed = hosts.apply(ms(2), Operation::Crash(0)).await;
        hosts.apply(ms(3), Operation::Start(0)).await;
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(20), b"alive").await;
        (killed, conversation.until(ms(30)).await)
    });
    assert_eq!(killed, Effect::Applied);
    assert_eq!(heard, [(at(ms(20) + LINK * 2), bytes("alive"))]);
}

#[test]
fn a_connection_that_a_frozen_server_never_accepted_ends_when_it_is_killed() {
    let heard = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(2), b"unheard").await;
        conversation.listen(ms(3)).await;
        hosts.apply(ms(3), Operation::Crash(0)).await;
        conversation.until(ms(10)).await
    });
    assert_eq!(heard, [(at(ms(3) + LINK), Seen::Failure(io::ErrorKind::ConnectionReset))]);
}

#[test]
fn a_server_that_is_down_can_be_neither_frozen_nor_resumed() {
    let effects = simulate(&echo(), |hosts| async move {
        let mut effects = vec![hosts.apply(ms(1), Operation::Crash(0)).await];
        for operation in [Operation::Freeze(0), Operation::Resume(0), Operation::Crash(0)] {
            effects.push(hosts.apply(ms(2), operation).await);
        }
        effects
    });
    assert_eq!(effects, [Effect::Applied, Effect::ServerIsDown, Effect::ServerIsDown, Effect::ServerIsDown]);
}
