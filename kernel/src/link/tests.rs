use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fuzzing::network::{Service, answering};

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

/// A service whose only server listens.
fn service() -> Service {
    let service = Service::new(1);
    service.serve(0, answering(0), Instant::NEVER);
    service
}

/// Opens a connection after the shapes were set at their milliseconds, and returns the millisecond at which it was open.
fn opened_at(shapes: &[(u64, Shape)]) -> u64 {
    let service = service();
    let link = service.links[0].clone();
    link.set_shape(shapes[0].1);
    let changes: Vec<_> = shapes[1..].to_vec();
    let world = service.world.clone();
    let changing = link.clone();
    service.world.spawn(Box::pin(async move {
        for (millis, shape) in changes {
            world.sleep_until(at(millis)).await;
            changing.set_shape(shape);
        }
    }));
    let world = service.world.clone();
    service.network.run(async move {
        let stream = link.connect().await.expect("the server listens");
        drop(stream);
        world.now().as_nanos() / 1_000_000
    })
}

fn slow() -> Shape {
    Shape { latency: Duration::from_millis(10), ..Shape::default() }
}

#[test]
fn a_connection_takes_a_round_trip_to_open() {
    assert_eq!(opened_at(&[(0, Shape::default())]), 0);
    assert_eq!(opened_at(&[(0, slow())]), 20);
}

#[test]
fn a_cut_in_either_direction_holds_a_handshake_until_tcp_tries_again() {
    for cut in [Shape { cut_to: true, ..slow() }, Shape { cut_from: true, ..slow() }] {
        // TCP sends again a second after the start, then two seconds later.
        assert_eq!(opened_at(&[(0, cut), (500, slow())]), 1_020);
        assert_eq!(opened_at(&[(0, cut), (1_001, slow())]), 3_020);
        // The try at one second falls into the next cut.
        assert_eq!(opened_at(&[(0, cut), (500, slow()), (900, cut), (1_500, slow())]), 3_020);
        // The second half of the handshake is held: it was sent at 10 ms.
        assert_eq!(opened_at(&[(0, slow()), (5, cut), (500, slow())]), 1_020);
    }
}

#[test]
fn a_lost_handshake_is_sent_again_after_a_second() {
    let lossy = Shape { loss: 0.5, ..Shape::default() };
    let service = service();
    let link = service.links[0].clone();
    link.set_shape(lossy);
    let world = service.world.clone();
    let took = service.network.run(async move {
        let mut took = Vec::new();
        for _ in 0..40 {
            let begun = world.now();
            drop(link.connect().await.expect("the server listens"));
            took.push(world.now().since(begun).as_millis());
        }
        took
    });
    // Both halves pass at once in a quarter of all cases.
    let quick = took.iter().filter(|millis| **millis == 0).count();
    assert!((3..20).contains(&quick), "{took:?}");
    assert!(took.iter().all(|millis| millis % 1_000 == 0), "{took:?}");
}

#[test]
fn a_server_that_refuses_is_an_error_of_the_connection() {
    let service = Service::new(1);
    let link = service.links[0].clone();
    assert_eq!(link.server(), "server-0");
    let refused = service.network.run(async move { link.connect().await.map(drop) });
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
}

/// Returns how many connections the link has opened, and how many it knows.
fn counts(link: &Link) -> (u64, usize) {
    let state = link.state();
    (state.opened, state.connections.len())
}

#[test]
fn connections_are_numbered_and_forgotten_when_they_are_closed() {
    let service = service();
    let link = service.links[0].clone();
    service.network.run(async move {
        let first = link.connect().await.expect("the server listens");
        let second = link.connect().await.expect("the server listens");
        assert_eq!(counts(&link), (2, 2));
        drop((first, second));
        let _third = link.connect().await.expect("the server listens");
        assert_eq!(counts(&link), (3, 1));
    });
}

/// Returns the delays, in microseconds, of the first segments of some connections.
fn delays(server: &str) -> Vec<u128> {
    let network = Arc::new(crate::fuzzing::network::Network::default());
    let host = network.host(server);
    let world = network.host("client");
    let link = Link::new(world.clone(), Entropy::new(1), server);
    link.set_shape(Shape { jitter: Duration::from_millis(9), latency: Duration::from_millis(10), ..Shape::default() });
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    host.clone().spawn(Box::pin(async move {
        let mut listener = host.listen().await.expect("the host can listen");
        loop {
            let mut stream = listener.accept().await.expect("the client connects");
            stream.read_exact(&mut [0]).await.expect("the client writes");
            sender.send(host.now()).expect("the test waits");
        }
    }));
    network.run(async move {
        let mut delays = Vec::new();
        for _ in 0..3 {
            let mut stream = link.connect().await.expect("the host listens");
            let sent = world.now();
            stream.write_all(b"x").await.expect("the link takes it");
            // The stream makes progress while it is read.
            let mut buffer = [0];
            let read = std::pin::pin!(stream.read(&mut buffer));
            let arrival = std::pin::pin!(received.recv());
            match futures_util::future::select(arrival, read).await {
                futures_util::future::Either::Left((arrival, _)) => {
                    delays.push(arrival.expect("it arrives").since(sent).as_micros())
                }
                futures_util::future::Either::Right(_) => panic!("the host sends nothing"),
            }
        }
        delays
    })
}

#[test]
fn each_connection_of_each_link_draws_its_own_delays_which_the_seed_decides() {
    let first = delays("server-0");
    assert_eq!(first, delays("server-0"));
    let other = delays("server-1");
    let mut all: Vec<_> = first.into_iter().chain(other).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn the_fingerprint_of_a_link_depends_on_each_character_of_its_server() {
    let fingerprint = |server: &str| {
        Link::new(Arc::new(crate::fuzzing::network::Network::default()).host("client"), Entropy::new(1), server)
            .fingerprint()
    };
    assert_eq!(fingerprint("ab"), 0x6162);
    // The first of nine characters comes around to the last.
    assert_eq!(fingerprint("server-10"), u64::from_be_bytes(*b"erver-10") ^ u64::from(b's'));
}

#[test]
fn the_end_of_an_accepted_stream_is_the_servers_way() {
    let service = Service::new(1);
    let link = service.links[0].clone();
    link.set_shape(Shape { cut_to: true, ..slow() });
    let (ours, mut peer) = tokio::io::duplex(64);
    let mut stream = link.accept(crate::fuzzing::host::over(ours));
    let world = service.world.clone();
    let now = service.network.run(async move {
        stream.write_all(b"x").await.expect("the link takes it");
        let mut buffer = [0; 8];
        // What the server sends passes, as the other direction is cut.
        let mut byte = [0];
        let read = std::pin::pin!(stream.read(&mut buffer));
        let arrival = std::pin::pin!(peer.read_exact(&mut byte));
        futures_util::future::select(arrival, read).await;
        world.now()
    });
    assert_eq!(now, at(10));
}

/// Returns what a fault with this share does, of a seed, to the connections with the numbers from 1 to 200.
fn drawn(seed: u64, fault: u64, share: f64) -> Vec<bool> {
    let world = Arc::new(crate::fuzzing::network::Network::default()).host("client");
    let link = Link::new(world, Entropy::new(seed), "server-0");
    let connections = Selection { share, ..Selection::default() };
    let mut shape = LinkShape::default();
    shape.add(fault, LinkEffect { connections, ..slow().into() });
    link.set_shape(shape);
    let effect = |number| link.handshake_effect(number, Way::To).shape;
    (1..=200).map(|number| effect(number) == slow()).collect()
}

#[test]
fn a_share_of_the_connections_is_drawn_for_each_by_seed_and_fault() {
    let some = drawn(1, 0, 0.25);
    let count = some.iter().filter(|drawn| **drawn).count();
    // Binomial: 50, and five times sqrt(200 x 0.25 x 0.75) = 6.1.
    assert!((20..=80).contains(&count), "{count}");
    assert_eq!(some, drawn(1, 0, 0.25));
    assert_ne!(some, drawn(2, 0, 0.25));
    assert_ne!(some, drawn(1, 1, 0.25), "each fault has its own");
    let more = drawn(1, 0, 0.75);
    assert!(
        some.iter().zip(&more).all(|(some, more)| !some || *more),
        "a greater share has those of the smaller one, too"
    );
    assert!(drawn(1, 0, 1.0).iter().all(|drawn| *drawn));
}

#[test]
fn a_connection_is_in_the_share_from_its_handshake_on() {
    let service = service();
    let link = service.links[0].clone();
    let connections = Selection { share: 0.5, ..Selection::default() };
    let mut shape = LinkShape::default();
    shape.add(3, LinkEffect { connections, ..slow().into() });
    link.set_shape(shape);
    let world = service.world.clone();
    let (took, effects) = service.network.run(async move {
        let mut took = Vec::new();
        let mut effects = Vec::new();
        for _ in 0..20 {
            let begun = world.now();
            let stream = link.connect().await.expect("the server listens");
            took.push(world.now().since(begun).as_millis());
            let [to, from] = link.state().connections.last().and_then(Weak::upgrade).map_or_else(
                || panic!("it is open"),
                |connection| [connection.effect(Way::To), connection.effect(Way::From)],
            );
            effects.push(to.shape == slow() && from.shape == slow());
            drop(stream);
        }
        (took, effects)
    });
    assert!(
        took.iter().zip(&effects).all(|(took, is_slow)| *took == if *is_slow { 20 } else { 0 }),
        "{took:?} {effects:?}"
    );
    assert!(effects.contains(&true) && effects.contains(&false));
}

#[test]
fn a_fault_one_way_does_nothing_the_other_way() {
    for (way, others) in [(Way::To, Way::From), (Way::From, Way::To)] {
        let world = Arc::new(crate::fuzzing::network::Network::default()).host("client");
        let link = Link::new(world, Entropy::new(1), "server-0");
        let mut shape = LinkShape::from(Shape { loss: 0.5, ..Shape::default() });
        shape.add(0, LinkEffect { way: Some(way), ..Shape { bandwidth: Some(8_000), ..slow() }.into() });
        link.set_shape(shape);
        let connection = link.add_connection(1);
        let slow = Shape { loss: 0.5, bandwidth: Some(8_000), ..slow() };
        assert_eq!(connection.effect(way).shape, slow);
        assert_eq!(connection.effect(others).shape, Shape { loss: 0.5, ..Shape::default() });
        assert_eq!(link.handshake_effect(2, way).shape, slow);
        // A byte a millisecond.
        let partial = connection.effect(way).partial;
        assert_eq!(link.pace(&partial, way, at(100), 50), at(150));
        assert_eq!(link.pace(&partial, way, at(110), 50), at(200), "behind what was sent before");
        assert_eq!(link.pace(&connection.effect(others).partial, others, at(100), 50), at(100));
    }
}

#[test]
fn the_bandwidth_of_some_connections_does_not_hold_up_the_others() {
    let world = Arc::new(crate::fuzzing::network::Network::default()).host("client");
    let link = Link::new(world, Entropy::new(1), "server-0");
    let connections = Selection { share: 0.5, ..Selection::default() };
    let mut shape = LinkShape::from(Shape { bandwidth: Some(80_000), ..Shape::default() });
    shape.add(0, LinkEffect { connections, ..Shape { bandwidth: Some(8_000), ..Shape::default() }.into() });
    link.set_shape(shape);
    let left = [false, true].map(|is_narrow| {
        let mut connections = (1..100).map(|number| link.add_connection(number));
        let found = connections.find(|connection| connection.effect(Way::To).partial.is_empty() != is_narrow);
        let partial = found.expect("a connection of each kind is drawn").effect(Way::To).partial;
        let link = &link;
        move || link.pace(&partial, Way::To, at(0), 100)
    });
    // The one takes 10 ms for 100 bytes, the other 100 ms, and both pass the link's 80 kbit/s.
    assert_eq!([left[1](), left[0](), left[1](), left[0]()], [at(100), at(20), at(200), at(40)]);
}

#[test]
fn a_lasting_reset_ends_open_connections_and_those_that_are_made_until_it_is_over() {
    let service = service();
    let link = service.links[0].clone();
    service.network.run(async move {
        let connection = async |link: &Arc<Link>| {
            let mut stream = link.connect().await.expect("the handshake is not affected");
            stream.write_all(b"x").await.map_err(|error| error.kind())
        };
        let mut open = link.connect().await.expect("the server listens");
        link.set_shape(Shape { resets: true, ..slow() });
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(open.write_all(b"x").await.map_err(|error| error.kind()), reset);
        assert_eq!(connection(&link).await, reset);
        assert_eq!(connection(&link).await, reset);
        link.set_shape(Shape::default());
        assert_eq!(connection(&link).await, Ok(()));
        assert_eq!(open.write_all(b"x").await.map_err(|error| error.kind()), reset, "it stays reset");
    });
}

#[test]
fn a_reset_of_a_share_leaves_the_other_connections_alone() {
    let world = Arc::new(crate::fuzzing::network::Network::default()).host("client");
    let link = Link::new(world, Entropy::new(1), "server-0");
    let streams: Vec<_> = (0..40).map(|_| link.accept(crate::fuzzing::host::over(tokio::io::duplex(64).0))).collect();
    let are_reset = || -> Vec<bool> {
        let state = link.state();
        let connections = state.connections.iter().filter_map(Weak::upgrade);
        connections.map(|connection| connection.is_reset()).collect()
    };
    link.reset_some(4, Selection { share: 0.5, ..Selection::default() });
    let first = are_reset();
    assert!((8..=32).contains(&first.iter().filter(|reset| **reset).count()), "{first:?}");
    link.reset();
    assert_eq!(are_reset(), [true; 40]);
    drop(streams);
}
