//! SIGKILL: bytes that were sent still arrive, and then the server is down until the restart.

use std::io::ErrorKind;

use futures_util::future::join;

use super::*;

#[test]
fn what_a_killed_server_sent_still_arrives_and_then_the_end() {
    let heard = simulate(&speaker([(ms(1), "last words")]), |hosts| async move {
        let conversation = Conversation::open(&hosts).await;
        join(conversation.until(ms(10)), hosts.apply(us(1_010), Operation::Crash(0))).await.0
    });
    assert_eq!(heard, [(at(ms(1) + LINK), bytes("last words")), (at(us(1_010) + LINK), Seen::End)]);
}

#[test]
fn a_killed_server_that_left_bytes_unread_resets_the_connection() {
    let heard = simulate(&speaker([(ms(1), "last words")]), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(us(500), b"unheard").await;
        join(conversation.until(ms(10)), hosts.apply(us(1_010), Operation::Crash(0))).await.0
    });
    let reset = Seen::Failure(ErrorKind::ConnectionReset);
    assert_eq!(heard, [(at(ms(1) + LINK), bytes("last words")), (at(us(1_010) + LINK), reset)]);
}

/// The client's bytes reach a closed socket before the server's last bytes have come through the link.
#[test]
fn writing_to_a_killed_server_does_not_take_back_what_it_sent() {
    let heard = simulate(&speaker([(ms(1), "last words")]), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        let talk = async {
            conversation.say(us(970), b"to the running process").await;
            conversation.say(us(990), b"to the killed process").await;
            conversation.until(ms(10)).await
        };
        join(talk, hosts.apply(us(1_030), Operation::Crash(0))).await.0
    });
    let reset = Seen::Failure(ErrorKind::ConnectionReset);
    assert_eq!(heard, [(at(ms(1) + LINK), bytes("last words")), (at(us(1_030) + LINK), reset)]);
}

#[test]
fn the_first_write_after_the_end_is_lost_and_the_next_one_fails() {
    let (heard, written) = simulate(&speaker([]), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.apply(ms(1), Operation::Crash(0)).await;
        conversation.say(ms(2), b"anybody?").await;
        conversation.listen(ms(3)).await;
        (conversation.heard, conversation.stream.write_all(b"no one").await.map_err(|error| error.kind()))
    });
    assert_eq!(heard, [(at(ms(1) + LINK), Seen::End)]);
    assert_eq!(written, Err(ErrorKind::BrokenPipe));
}

#[test]
fn connecting_to_a_killed_server_is_refused_after_a_round_trip() {
    let (refused, time) = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        hosts.sleep(ms(2)).await;
        let refused = hosts.links[0].connect().await.map(drop).map_err(|error| error.kind());
        (refused, hosts.world.now())
    });
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    assert_eq!(time, at(ms(2) + LINK * 2));
}

#[test]
fn a_connection_that_is_being_opened_when_the_server_is_killed_is_refused() {
    let (refused, time) = simulate(&echo(), |hosts| async move {
        hosts.sleep(ms(1)).await;
        let opening = async {
            let refused = hosts.links[0].connect().await.map(drop).map_err(|error| error.kind());
            (refused, hosts.world.now())
        };
        join(opening, hosts.apply(us(1_040), Operation::Crash(0))).await.0
    });
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
    assert_eq!(time, at(ms(1) + LINK * 2));
}

#[test]
fn a_killed_server_that_is_started_listens_once_its_process_does() {
    let (early, listening, heard) = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        let connect_while_it_starts = async {
            hosts.sleep(ms(5) + EXEC_TO_LISTEN - LINK * 2).await;
            hosts.links[0].connect().await.map(drop).map_err(|error| error.kind())
        };
        let start = async {
            assert_eq!(hosts.apply(ms(5), Operation::Start(0)).await, Effect::Applied);
            hosts.world.now()
        };
        let (early, listening) = join(connect_while_it_starts, start).await;
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(20), b"again").await;
        (early, listening, conversation.until(ms(30)).await)
    });
    assert_eq!(early, Err(ErrorKind::ConnectionRefused));
    assert_eq!(listening, at(ms(5) + EXEC_TO_LISTEN));
    assert_eq!(heard, [(at(ms(20) + LINK * 2), bytes("again"))]);
}

#[test]
fn a_server_may_be_started_at_the_instant_it_is_killed() {
    let (heard, listening) = simulate(&echo(), |hosts| async move {
        let conversation = Conversation::open(&hosts).await;
        hosts.apply(ms(1), Operation::Crash(0)).await;
        hosts.apply(ms(1), Operation::Start(0)).await;
        let listening = hosts.world.now();
        (conversation.until(ms(20)).await, listening)
    });
    // The log has one late entry: nothing polled the conversation before.
    assert_eq!(heard.len(), 1);
    assert_eq!(listening, at(ms(1) + EXEC_TO_LISTEN));
}

#[test]
fn a_server_killed_while_it_starts_stays_down() {
    let (start, second_crash, refused) = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Crash(0)).await;
        let start = hosts.apply(ms(2), Operation::Start(0));
        let (start, crash) = join(start, hosts.apply(ms(5), Operation::Crash(0))).await;
        hosts.sleep(ms(50)).await;
        (start, crash, hosts.links[0].connect().await.map(drop).map_err(|error| error.kind()))
    });
    assert_eq!((start, second_crash), (Effect::ServerIsDown, Effect::Applied));
    assert_eq!(refused, Err(ErrorKind::ConnectionRefused));
}
