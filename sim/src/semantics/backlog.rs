//! Many connections at once, and more than fit into the backlog of a server that does not accept.

use futures_util::future::join_all;

use super::*;

/// Linux's `somaxconn`.
const BACKLOG: usize = 4_096;

/// Opens `count` connections at once. Returns the time at which each was open, or `None` if it was not by `until`.
async fn open_many(hosts: &Hosts, count: usize, until: Duration) -> Vec<Option<Instant>> {
    let open = async || {
        let opened = timeout_at(&*hosts.world, at(until), hosts.links[0].connect()).await.ok()?;
        // Stays open.
        std::mem::forget(opened.unwrap());
        Some(hosts.world.now())
    };
    join_all((0..count).map(|_| open())).await
}

#[test]
fn a_thousand_connections_open_at_once() {
    let opened = simulate(&echo(), |hosts| async move { open_many(&hosts, 1_000, secs(1)).await });
    assert_eq!(opened, vec![Some(at(LINK * 2)); 1_000]);
}

#[test]
fn a_thousand_connections_to_a_frozen_server_open_at_once() {
    let opened = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        open_many(&hosts, 1_000, secs(1)).await
    });
    assert_eq!(opened, vec![Some(at(ms(1) + LINK * 2)); 1_000]);
}

#[test]
fn beyond_the_backlog_connections_wait_for_an_accept() {
    let opened = simulate(&echo(), |hosts| async move {
        hosts.apply(ms(1), Operation::Freeze(0)).await;
        let opened = open_many(&hosts, BACKLOG + 10, secs(1));
        futures_util::future::join(opened, hosts.apply(ms(500), Operation::Resume(0))).await.0
    });
    let (in_time, late) = opened.split_at(BACKLOG);
    assert!(in_time.iter().all(|opened| *opened == Some(at(ms(1) + LINK * 2))));
    assert!(late.iter().all(|opened| *opened == Some(at(ms(500) + LINK))), "{late:?}");
}
