//! Loss: a lost segment is sent again, and the segments behind it wait.

use super::*;

const SEGMENTS: u64 = 3_000;

/// A segment is sent every ten minutes, so that none waits for the one before it.
#[test]
fn a_lost_segment_is_late_by_retransmission_timeouts() {
    let (sink, log) = sink();
    let rate = 0.2;
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { loss: rate, ..Shape::default() }).await;
        for segment in 1..=SEGMENTS {
            conversation.say(secs(600 * segment), &segment.to_be_bytes()).await;
        }
        conversation.listen(secs(600 * (SEGMENTS + 1))).await;
    });
    let log = log.lock().unwrap();
    let sent: Vec<u8> = (1..=SEGMENTS).flat_map(u64::to_be_bytes).collect();
    assert_eq!(received(&log), sent);
    let mut delays = std::collections::BTreeMap::<u128, u64>::new();
    for ((arrival, _), segment) in log.iter().zip(1..=SEGMENTS) {
        *delays.entry((arrival.since(at(secs(600 * segment))) - LINK).as_millis()).or_default() += 1;
    }
    let steps = [0, 200, 600, 1_400, 3_000, 6_200, 12_600, 25_400, 51_000];
    assert!(delays.keys().all(|delay| steps.contains(delay)), "{delays:?}");
    for (delay, expected) in [(0, 0.8), (200, 0.16), (600, 0.032)] {
        let share = delays[&delay] as f64 / SEGMENTS as f64;
        // Four standard deviations.
        let tolerance = 4.0 * (expected * (1.0 - expected) / SEGMENTS as f64).sqrt();
        assert!((share - expected).abs() < tolerance, "{share} of {delay} ms, of {expected}");
    }
}

#[test]
fn no_byte_is_lost_or_reordered_however_lossy_the_link() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { loss: 0.5, jitter: ms(3), ..Shape::default() }).await;
        for segment in 1..=SEGMENTS {
            conversation.say(ms(segment), &segment.to_be_bytes()).await;
        }
        conversation.until(secs(10_000)).await
    });
    assert_eq!(received(&heard), (1..=SEGMENTS).flat_map(u64::to_be_bytes).collect::<Vec<u8>>());
}

#[test]
fn a_link_that_loses_everything_delivers_the_last_retransmission() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { loss: 1.0, ..Shape::default() }).await;
        conversation.say(secs(1), b"stubborn").await;
        conversation.listen(secs(2_000)).await;
    });
    // The last of the fifteen retransmissions that Linux makes before it gives up (`tcp_retries2`).
    assert_eq!(log.lock().unwrap()[0], (at(ms(1_000 + 804_600) + LINK), bytes("stubborn")));
}

#[test]
fn a_lost_handshake_is_tried_again_after_a_second() {
    let steps: [u64; 7] = [0, 1, 3, 7, 15, 31, 63];
    let mut retried = 0;
    for seed in 0..40 {
        let (opened, _) = simulate_seeded(seed, &echo(), |hosts| async move {
            hosts.shape(Duration::ZERO, Shape { loss: 0.3, ..Shape::default() }).await;
            let _stream = hosts.links[0].connect().await.unwrap();
            hosts.world.now()
        });
        let late = opened.since(at(LINK * 2));
        let sums = steps.iter().flat_map(|there| steps.map(|back| secs(there + back)));
        assert!(sums.into_iter().any(|sum| sum == late), "seed {seed}: {late:?}");
        retried += u32::from(!late.is_zero());
    }
    assert!((12..30).contains(&retried), "{retried} of 40 at a rate of 51 %");
}
