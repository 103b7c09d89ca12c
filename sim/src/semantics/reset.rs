//! Resets: every open connection breaks, once.

use std::io::ErrorKind;

use super::*;

#[test]
fn both_ends_of_a_reset_connection_notice() {
    let (sink, log) = sink();
    let (heard, written) = simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(1), b"heard").await;
        conversation.listen(ms(2)).await;
        let listen = conversation.listen(ms(3));
        futures_util::future::join(listen, hosts.apply(ms(2), Operation::Reset(0))).await;
        let written = conversation.stream.write_all(b"unheard").await.map_err(|error| error.kind());
        (conversation.heard, written)
    });
    assert_eq!(heard, [(at(ms(2)), Seen::Failure(ErrorKind::ConnectionReset))]);
    assert_eq!(written, Err(ErrorKind::ConnectionReset));
    assert_eq!(*log.lock().unwrap(), [(at(ms(1) + LINK), bytes("heard")), (at(ms(2) + LINK), Seen::End)]);
}

#[test]
fn a_reset_destroys_bytes_that_are_under_way() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { latency: ms(1), ..Shape::default() }).await;
        conversation.say(us(1_960), b"lost").await;
        hosts.apply(ms(2), Operation::Reset(0)).await;
        conversation.listen(ms(3)).await;
    });
    assert_eq!(*log.lock().unwrap(), [(at(ms(2) + LINK), Seen::End)]);
}

#[test]
fn a_reset_reaches_a_connection_that_was_dropped_but_is_still_being_drained() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { latency: ms(1), ..Shape::default() }).await;
        conversation.say(us(1_960), b"lost").await;
        drop(conversation);
        hosts.apply(ms(2), Operation::Reset(0)).await;
        hosts.sleep(ms(3)).await;
    });
    assert_eq!(*log.lock().unwrap(), [(at(ms(2) + LINK), Seen::End)]);
}

#[test]
fn a_reset_leaves_new_connections_alone() {
    let heard = simulate(&echo(), |hosts| async move {
        let old = Conversation::open(&hosts).await;
        hosts.apply(ms(2), Operation::Reset(0)).await;
        let mut new = Conversation::open(&hosts).await;
        new.say(ms(3), b"works").await;
        futures_util::future::join(old.until(ms(4)), new.until(ms(4))).await.1
    });
    assert_eq!(heard, [(at(ms(3) + LINK * 2), bytes("works"))]);
}
