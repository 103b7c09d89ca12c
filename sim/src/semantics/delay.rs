//! Latency and jitter: exact delays, in order.

use kernel::link::{LinkEffect, LinkShape, Way};

use super::*;

fn slow(latency: Duration, jitter: Duration) -> Shape {
    Shape { latency, jitter, ..Shape::default() }
}

#[test]
fn latency_adds_to_the_links_own_each_way() {
    let (heard, opened) = simulate(&echo(), |hosts| async move {
        hosts.shape(ms(1), slow(ms(5), Duration::ZERO)).await;
        let mut conversation = Conversation::open(&hosts).await;
        let opened = hosts.world.now();
        conversation.say(ms(100), b"ping").await;
        (conversation.until(ms(200)).await, opened)
    });
    assert_eq!(opened, at(ms(1) + (LINK + ms(5)) * 2));
    assert_eq!(heard, [(at(ms(100) + (LINK + ms(5)) * 2), bytes("ping"))]);
}

#[test]
fn bytes_under_way_keep_their_delay_and_are_not_overtaken() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), slow(ms(10), Duration::ZERO)).await;
        conversation.say(ms(2), b"slow ").await;
        hosts.shape(ms(3), Shape::default()).await;
        conversation.say(ms(4), b"fast ").await;
        conversation.say(ms(20), b"faster ").await;
        hosts.shape(us(20_010), slow(ms(10), Duration::ZERO)).await;
        conversation.listen(ms(50)).await;
    });
    let expected = [(at(ms(12) + LINK), bytes("slow fast ")), (at(ms(20) + LINK), bytes("faster "))];
    assert_eq!(log.lock().unwrap()[..2], expected);
}

/// The jitter is a hundred times the gaps. Each line is one segment, and holds the time at which it was sent.
#[test]
fn jitter_neither_reorders_nor_leaves_its_bounds() {
    const LINES: u64 = 300;
    let latency = ms(20);
    let jitter = ms(15);
    for seed in 0..10 {
        let (sink, log) = sink();
        let mut sent = Vec::new();
        let (said, _) = simulate_seeded(seed, &sink, |hosts| async move {
            let mut rng = hosts.entropy.stream("gaps");
            hosts.shape(Duration::ZERO, slow(latency, jitter)).await;
            let mut conversation = Conversation::open(&hosts).await;
            let mut time = secs(1);
            for _ in 0..LINES {
                time += us(unit_micros(&mut rng, 300));
                let line = format!("{:9} ", time.as_micros());
                sent.extend_from_slice(line.as_bytes());
                conversation.say(time, line.as_bytes()).await;
            }
            conversation.listen(secs(3)).await;
            sent
        });
        let log = log.lock().unwrap();
        assert_eq!(received(&log), said, "seed {seed}");
        let mut last_arrival = Instant::START;
        let mut held_back = 0;
        for (arrival, line) in arrivals_of_lines(&log) {
            let delay = arrival.since(at(us(line)));
            assert!(delay >= latency - jitter + LINK, "seed {seed}: {line} took {delay:?}");
            if arrival == last_arrival {
                held_back += 1;
            } else {
                assert!(delay <= latency + jitter + LINK, "seed {seed}: {line} took {delay:?}");
            }
            last_arrival = arrival;
        }
        assert!(held_back > LINES / 2 && held_back < LINES, "seed {seed}: {held_back} waited for the one before");
    }
}

fn unit_micros(rng: &mut impl rand::Rng, below: u64) -> u64 {
    rng.next_u64() % below
}

/// Returns the time at which each line of ten characters arrived, and the number that it holds.
fn arrivals_of_lines(log: &Log) -> Vec<(Instant, u64)> {
    log.iter()
        .filter_map(|(time, seen)| if let Seen::Bytes(text) = seen { Some((*time, numbers(text))) } else { None })
        .flat_map(|(time, numbers)| numbers.into_iter().map(move |number| (time, number)))
        .collect()
}

fn numbers(text: &[u8]) -> Vec<u64> {
    text.chunks(10).map(|line| str::from_utf8(line).unwrap().trim().parse().unwrap()).collect()
}

#[test]
fn a_delay_one_way_leaves_the_other_way_alone() {
    for (way, to, from) in [(Way::To, ms(5), Duration::ZERO), (Way::From, Duration::ZERO, ms(5))] {
        let speaker = speaker([(ms(200), "news")]);
        let (heard, opened) = simulate(&speaker, |hosts| async move {
            let mut shape = LinkShape::default();
            shape.add(0, LinkEffect { way: Some(way), ..slow(ms(5), Duration::ZERO).into() });
            hosts.apply(ms(1), Operation::Shape(0, Caller::Load, shape)).await;
            let conversation = Conversation::open(&hosts).await;
            let opened = hosts.world.now();
            (conversation.until(ms(300)).await, opened)
        });
        assert_eq!(opened, at(ms(6) + LINK * 2), "a handshake passes both ways");
        assert_eq!(heard[0], (at(ms(200) + from + LINK), bytes("news")));
        let (sink, log) = sink();
        simulate(&sink, |hosts| async move {
            let mut conversation = Conversation::open(&hosts).await;
            let mut shape = LinkShape::default();
            shape.add(0, LinkEffect { way: Some(way), ..slow(ms(5), Duration::ZERO).into() });
            hosts.apply(ms(1), Operation::Shape(0, Caller::Load, shape)).await;
            conversation.say(ms(100), b"request").await;
            conversation.listen(ms(300)).await;
        });
        assert_eq!(log.lock().unwrap()[0], (at(ms(100) + to + LINK), bytes("request")));
    }
}
