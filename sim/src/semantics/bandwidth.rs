//! Bandwidth: bytes leave one after another, each way for itself, all connections of a link together.

use super::*;

/// 8 Mbit/s: a microsecond a byte.
const RATE: Shape = Shape {
    latency: Duration::ZERO,
    jitter: Duration::ZERO,
    bandwidth: Some(8_000_000),
    loss: 0.0,
    cut_to: false,
    cut_from: false,
    resets: false,
};

const BYTES: usize = 100_000;

fn last(log: &Log) -> Instant {
    log.iter().rfind(|(_, seen)| matches!(seen, Seen::Bytes(_))).unwrap().0
}

#[test]
fn a_hundred_kilobytes_take_a_tenth_of_a_second_at_a_byte_a_microsecond() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), RATE).await;
        conversation.say(ms(10), &[7; BYTES]).await;
        conversation.listen(secs(1)).await;
    });
    let log = log.lock().unwrap();
    assert_eq!(received(&log), [7; BYTES]);
    assert_eq!(last(&log), at(ms(10 + 100) + LINK));
    // Segments of 64 KiB, each when its last byte has left.
    assert_eq!(log[0].0, at(ms(10) + us(65_536) + LINK));
}

#[test]
fn each_way_has_the_bandwidth_for_itself() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), RATE).await;
        conversation.say(ms(10), &[7; BYTES]).await;
        conversation.until(secs(1)).await
    });
    assert_eq!(received(&heard).len(), BYTES);
    // The first segment travels back while the second is on its way there; the second waits for it to leave.
    let turned = ms(10) + us(65_536) + LINK;
    assert_eq!(heard[0].0, at(turned + us(65_536) + LINK));
    assert_eq!(last(&heard), at(turned + us(BYTES as u64) + LINK));
}

#[test]
fn the_connections_of_a_link_share_its_bandwidth() {
    let (first, second) = simulate(&echo(), |hosts| async move {
        let mut first = Conversation::open(&hosts).await;
        let mut second = Conversation::open(&hosts).await;
        hosts.shape(ms(1), RATE).await;
        first.say(ms(10), &[1; 1_000]).await;
        second.say(ms(10), &[2; 1_000]).await;
        let (first, second) = futures_util::future::join(first.until(secs(1)), second.until(secs(1))).await;
        (last(&first), last(&second))
    });
    assert_eq!(first, at(ms(10 + 1 + 1) + LINK * 2));
    assert_eq!(second, at(ms(10 + 2 + 1) + LINK * 2));
}

#[test]
fn an_idle_link_saves_no_bandwidth_up() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), RATE).await;
        conversation.say(ms(10), &[1; 1_000]).await;
        conversation.say(ms(500), &[1; 1_000]).await;
        conversation.listen(secs(1)).await;
    });
    let log = log.lock().unwrap();
    assert_eq!([log[0].0, log[1].0], [at(ms(10 + 1) + LINK), at(ms(500 + 1) + LINK)]);
}
