//! Partitions: bytes that are sent meanwhile are late, not lost.

use super::*;

const CUT: Shape = Shape {
    latency: Duration::ZERO,
    jitter: Duration::ZERO,
    bandwidth: None,
    loss: 0.0,
    cut_to: true,
    cut_from: true,
    resets: false,
};

/// Returns what a server receives that is cut off at 0.5 s, is sent "hello" at 1 s, and is reachable again at `heal`.
fn heard_after_heal_at(heal: Duration) -> Log {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(500), CUT).await;
        conversation.say(secs(1), b"hello").await;
        conversation.listen(heal).await;
        hosts.shape(heal, Shape::default()).await;
        conversation.listen(heal + secs(300)).await;
    });
    let log = log.lock().unwrap();
    log.iter().filter(|(_, seen)| *seen != Seen::End).cloned().collect()
}

#[test]
fn bytes_sent_into_a_partition_arrive_at_the_first_retransmission_after_it() {
    for (heal, retransmission) in
        [(1_001, 1_200), (1_200, 1_200), (1_201, 1_600), (2_399, 2_400), (7_000, 7_200), (200_000, 205_600)]
    {
        assert_eq!(heard_after_heal_at(ms(heal)), [(at(ms(retransmission) + LINK), bytes("hello"))], "{heal} ms");
    }
}

#[test]
fn a_partition_that_lasts_longer_than_tcp_waits_ends_the_connection() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(500), CUT).await;
        conversation.say(secs(1), b"hello").await;
        conversation.until(secs(1_000)).await
    });
    assert_eq!(heard, [(at(ms(1_000 + 924_600)), Seen::Failure(std::io::ErrorKind::TimedOut))]);
}

#[test]
fn a_partition_keeps_the_order_and_leaves_the_stream_usable() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(999), b"before ").await;
        hosts.shape(us(999_010), CUT).await;
        conversation.say(ms(1_000), b"one ").await;
        conversation.say(ms(1_500), b"two ").await;
        conversation.listen(ms(1_550)).await;
        hosts.shape(ms(1_550), Shape::default()).await;
        // No segment overtakes one that waits for its retransmission.
        conversation.say(ms(1_560), b"three").await;
        conversation.say(ms(1_700), b"after").await;
        conversation.listen(secs(3)).await;
    });
    let expected = [
        (at(ms(999) + LINK), bytes("before ")),
        (at(ms(1_600) + LINK), bytes("one two three")),
        (at(ms(1_700) + LINK), bytes("after")),
    ];
    assert_eq!(log.lock().unwrap()[..3], expected);
}

#[test]
fn what_the_server_sends_into_a_partition_is_late_as_well() {
    let heard = simulate(&speaker([(ms(999), "before "), (secs(1), "one "), (ms(1_500), "two")]), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.listen(us(999_060)).await;
        hosts.shape(us(999_060), CUT).await;
        conversation.listen(ms(1_550)).await;
        hosts.shape(ms(1_550), Shape::default()).await;
        conversation.until(secs(3)).await
    });
    assert_eq!(heard, [(at(ms(999) + LINK), bytes("before ")), (at(ms(1_600) + LINK), bytes("one two"))]);
}

/// Returns software that sends something on its own, then sends back what it receives.
fn talkative() -> Software {
    on_each_connection(|world, mut stream| async move {
        world.sleep_until(at(ms(1_100))).await;
        stream.write_all(b"news ").await.unwrap();
        let mut buffer = [0; 100];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    })
}

fn heard_through(cut: Shape) -> Log {
    simulate(&talkative(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(500), cut).await;
        conversation.say(secs(1), b"question").await;
        conversation.listen(ms(1_150)).await;
        hosts.shape(ms(1_150), Shape::default()).await;
        conversation.until(secs(3)).await
    })
}

#[test]
fn answers_arrive_while_only_the_way_to_the_server_is_cut() {
    let heard = heard_through(Shape { cut_from: false, ..CUT });
    assert_eq!(heard, [(at(ms(1_100) + LINK), bytes("news ")), (at(ms(1_200) + LINK * 2), bytes("question"))]);
}

/// The server received the question in time; the first segment that it sent in vain was at 1.1 s.
#[test]
fn requests_arrive_while_only_the_way_from_the_server_is_cut() {
    let heard = heard_through(Shape { cut_to: false, ..CUT });
    assert_eq!(heard, [(at(ms(1_300) + LINK), bytes("news question"))]);
}

#[test]
fn a_cut_that_returns_before_the_retransmission_holds_on() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(500), CUT).await;
        conversation.say(secs(1), b"hello").await;
        conversation.listen(ms(1_210)).await;
        hosts.shape(ms(1_210), Shape::default()).await;
        conversation.listen(ms(1_500)).await;
        // The retransmission at 1.6 s is lost, the one at 2.4 s arrives.
        hosts.shape(ms(1_500), CUT).await;
        conversation.listen(ms(1_700)).await;
        hosts.shape(ms(1_700), Shape::default()).await;
        conversation.listen(secs(5)).await;
    });
    assert_eq!(log.lock().unwrap()[0], (at(ms(2_400) + LINK), bytes("hello")));
}

#[test]
fn connecting_through_a_partition_completes_at_a_retransmission_of_the_handshake() {
    for (heal, retransmission) in [(1_200, 2_000), (2_000, 2_000), (2_001, 4_000), (5_000, 8_000)] {
        for cut in [CUT, Shape { cut_to: false, ..CUT }, Shape { cut_from: false, ..CUT }] {
            let opened = simulate(&echo(), |hosts| async move {
                hosts.shape(ms(500), cut).await;
                hosts.sleep(secs(1)).await;
                let open = async {
                    let _stream = hosts.links[0].connect().await.unwrap();
                    hosts.world.now()
                };
                futures_util::future::join(open, hosts.shape(ms(heal), Shape::default())).await.0
            });
            assert_eq!(opened, at(ms(retransmission) + LINK * 2), "healed at {heal} ms");
        }
    }
}

#[test]
fn a_handshake_is_cut_off_again_before_its_retransmission() {
    let opened = simulate(&echo(), |hosts| async move {
        hosts.shape(ms(500), CUT).await;
        hosts.sleep(secs(1)).await;
        let open = async {
            let _stream = hosts.links[0].connect().await.unwrap();
            hosts.world.now()
        };
        let flap = async {
            hosts.shape(ms(1_200), Shape::default()).await;
            hosts.shape(ms(1_500), CUT).await;
            hosts.shape(ms(2_500), Shape::default()).await;
        };
        futures_util::future::join(open, flap).await.0
    });
    assert_eq!(opened, at(ms(4_000) + LINK * 2));
}
