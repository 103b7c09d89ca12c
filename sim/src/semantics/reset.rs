//! Resets: every open connection breaks, once or for as long as the fault lasts.

use std::io::ErrorKind;

use kernel::link::Selection;

use super::*;

#[test]
fn both_ends_of_a_reset_connection_notice() {
    let (sink, log) = sink();
    let (heard, written) = simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(1), b"heard").await;
        conversation.listen(ms(2)).await;
        let listen = conversation.listen(ms(3));
        futures_util::future::join(
            listen,
            hosts.apply(ms(2), Operation::Reset(0, Caller::Load, 0, Selection::default())),
        )
        .await;
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
        hosts.apply(ms(2), Operation::Reset(0, Caller::Load, 0, Selection::default())).await;
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
        hosts.apply(ms(2), Operation::Reset(0, Caller::Load, 0, Selection::default())).await;
        hosts.sleep(ms(3)).await;
    });
    assert_eq!(*log.lock().unwrap(), [(at(ms(2) + LINK), Seen::End)]);
}

#[test]
fn a_reset_leaves_new_connections_alone() {
    let heard = simulate(&echo(), |hosts| async move {
        let old = Conversation::open(&hosts).await;
        hosts.apply(ms(2), Operation::Reset(0, Caller::Load, 0, Selection::default())).await;
        let mut new = Conversation::open(&hosts).await;
        new.say(ms(3), b"works").await;
        futures_util::future::join(old.until(ms(4)), new.until(ms(4))).await.1
    });
    assert_eq!(heard, [(at(ms(3) + LINK * 2), bytes("works"))]);
}

#[test]
fn a_reset_that_lasts_breaks_new_connections_once_they_are_open() {
    let (sink, log) = sink();
    let heard = simulate(&sink, |hosts| async move {
        let old = Conversation::open(&hosts).await;
        hosts.shape(ms(2), Shape { resets: true, ..Shape::default() }).await;
        let early = Conversation::open(&hosts).await;
        hosts.sleep(ms(5)).await;
        let late = Conversation::open(&hosts).await;
        hosts.shape(ms(8), Shape::default()).await;
        let mut after = Conversation::open(&hosts).await;
        after.say(ms(9), b"works").await;
        let before = futures_util::future::join3(old.until(ms(10)), early.until(ms(10)), late.until(ms(10))).await;
        (before, after.until(ms(10)).await)
    });
    let ((old, early, late), after) = heard;
    for heard in [old, early, late] {
        let [(_, Seen::Failure(ErrorKind::ConnectionReset))] = heard[..] else { panic!("{heard:?}") };
    }
    assert_eq!(after, []);
    let log = log.lock().unwrap();
    let ends = log.iter().filter(|(_, seen)| *seen == Seen::End).count();
    assert!(log.iter().any(|(when, seen)| (*when, seen) == (at(ms(9) + LINK), &bytes("works"))), "{log:?}");
    assert!(ends >= 3, "the server notices each: {log:?}");
}
