//! Half-open connections: what is sent over connections that were open when the fault began is late, new connections work, and TCP gives up
//! in the end.

use std::io::ErrorKind;

use kernel::link::{LinkEffect, LinkShape, Selection};

use super::*;

/// The shape of a link while the fault of this number lasts.
fn half_open(fault: u64) -> LinkShape {
    let mut shape = LinkShape::default();
    let connections = Selection { open_at_start: true, ..Selection::default() };
    let cut = Shape { cut_to: true, cut_from: true, ..Shape::default() };
    shape.add(fault, LinkEffect { connections, ..cut.into() });
    shape
}

impl Hosts {
    /// Gives the only link this shape, at `time`.
    async fn reshape(&self, time: Duration, shape: LinkShape) {
        self.apply(time, Operation::Shape(0, Caller::Load, shape)).await;
    }
}

#[test]
fn old_connections_are_silent_until_the_fault_is_over_and_new_ones_work() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut old = Conversation::open(&hosts).await;
        hosts.reshape(ms(500), half_open(1)).await;
        let mut new = Conversation::open(&hosts).await;
        futures_util::future::join(old.say(secs(1), b"old"), new.say(secs(1), b"new")).await;
        let healed = hosts.reshape(ms(1_500), LinkShape::default());
        futures_util::future::join3(old.until(secs(2)), new.until(secs(2)), healed).await
    });
    let (old, new, ()) = heard;
    assert_eq!(new, [(at(secs(1) + LINK * 2), bytes("new"))]);
    // The third try is at 1.4 s after the first, which is the first one behind the fault.
    assert_eq!(old, [(at(ms(1_600) + LINK * 2), bytes("old"))]);
}

#[test]
fn of_two_faults_each_has_the_connections_that_were_open_at_its_own_start() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut first = Conversation::open(&hosts).await;
        hosts.reshape(ms(100), half_open(1)).await;
        let mut second = Conversation::open(&hosts).await;
        let mut both = half_open(1);
        both.partial.extend(half_open(2).partial);
        hosts.reshape(ms(200), both).await;
        futures_util::future::join(first.say(secs(1), b"1"), second.say(secs(1), b"2")).await;
        let changes = async {
            // The later one is over first.
            hosts.reshape(ms(1_300), half_open(1)).await;
            hosts.reshape(ms(1_700), LinkShape::default()).await;
        };
        futures_util::future::join3(first.until(secs(4)), second.until(secs(4)), changes).await
    });
    let (first, second, ()) = heard;
    assert_eq!(second, [(at(ms(1_600) + LINK * 2), bytes("2"))]);
    assert_eq!(first, [(at(ms(2_400) + LINK * 2), bytes("1"))]);
}

/// Returns what a client notices that sends at 1 s into a fault without end, with this user timeout, and when.
fn noticed(user_timeout: Option<Duration>) -> Log {
    simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.stream.set_user_timeout(user_timeout);
        hosts.reshape(ms(500), half_open(1)).await;
        conversation.say(secs(1), b"anyone?").await;
        conversation.until(secs(1_000)).await
    })
}

#[test]
fn tcp_gives_up_after_15_retransmissions_or_after_the_user_timeout() {
    assert_eq!(noticed(None), [(at(ms(1_000 + 924_600)), Seen::Failure(ErrorKind::TimedOut))]);
    assert_eq!(noticed(Some(secs(3))), [(at(secs(4)), Seen::Failure(ErrorKind::TimedOut))]);
}

#[test]
fn the_peer_of_a_connection_that_was_given_up_notices_once_packets_pass() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.stream.set_user_timeout(Some(secs(1)));
        hosts.reshape(ms(500), half_open(1)).await;
        conversation.say(secs(1), b"lost").await;
        conversation.listen(secs(3)).await;
        drop(conversation);
        hosts.reshape(secs(10), LinkShape::default()).await;
        hosts.sleep(secs(20)).await;
    });
    // The reset was sent at 2 s; TCP's tries after that are at 2.2 s, 2.6 s and so on, up to 14.6 s.
    assert_eq!(*log.lock().unwrap(), [(at(ms(14_600) + LINK), Seen::End)]);
}

#[test]
fn a_client_whose_server_has_given_up_learns_it_once_packets_pass() {
    let speaker = speaker([(secs(1), "lost")]);
    let heard = simulate(&speaker, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.reshape(ms(500), half_open(1)).await;
        conversation.listen(secs(930)).await;
        hosts.reshape(secs(930), LinkShape::default()).await;
        conversation.until(secs(960)).await
    });
    let [(when, Seen::Failure(ErrorKind::ConnectionReset))] = heard[..] else { panic!("{heard:?}") };
    assert!(when > at(secs(930)) && when < at(secs(960)), "{when:?}");
}
