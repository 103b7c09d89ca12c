//! Closing: bytes that were sent still arrive, followed by the end of the stream.

use super::*;

#[test]
fn what_was_sent_before_a_stream_is_dropped_arrives_and_then_its_end() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(1), b"goodbye").await;
        drop(conversation);
        hosts.sleep(ms(10)).await;
    });
    let arrival = at(ms(1) + LINK);
    assert_eq!(*log.lock().unwrap(), [(arrival, bytes("goodbye")), (arrival, Seen::End)]);
}

#[test]
fn the_end_of_a_dropped_stream_takes_the_links_delay() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(1), b"goodbye").await;
        conversation.listen(ms(5)).await;
        drop(conversation);
        hosts.sleep(ms(10)).await;
    });
    assert_eq!(*log.lock().unwrap(), [(at(ms(1) + LINK), bytes("goodbye")), (at(ms(5) + LINK), Seen::End)]);
}

#[test]
fn a_stream_dropped_in_a_partition_ends_after_it() {
    let (sink, log) = sink();
    simulate(&sink, |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(500), Shape { cut_to: true, ..Shape::default() }).await;
        conversation.say(secs(1), b"goodbye").await;
        drop(conversation);
        hosts.shape(ms(1_300), Shape::default()).await;
        hosts.sleep(secs(5)).await;
    });
    let arrival = at(ms(1_600) + LINK);
    assert_eq!(*log.lock().unwrap(), [(arrival, bytes("goodbye")), (arrival, Seen::End)]);
}

#[test]
fn a_stream_that_is_shut_down_still_hears_the_answer() {
    let heard = simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        conversation.say(ms(1), b"question").await;
        conversation.stream.shutdown().await.unwrap();
        conversation.until(ms(10)).await
    });
    let arrival = at(ms(1) + LINK * 2);
    assert_eq!(heard, [(arrival, bytes("question")), (arrival, Seen::End)]);
}

#[test]
fn what_a_server_sent_before_it_closed_arrives_and_then_the_end() {
    let curt = on_each_connection(|world, mut stream| async move {
        world.sleep_until(at(ms(1))).await;
        stream.write_all(b"goodbye").await.unwrap();
    });
    let heard = simulate(&curt, |hosts| async move { Conversation::open(&hosts).await.until(ms(10)).await });
    let arrival = at(ms(1) + LINK);
    assert_eq!(heard, [(arrival, bytes("goodbye")), (arrival, Seen::End)]);
}

#[test]
fn shutting_down_does_not_wait_for_the_link() {
    let (done, written) = simulate(&echo(), |hosts| async move {
        let mut conversation = Conversation::open(&hosts).await;
        hosts.shape(ms(1), Shape { cut_to: true, ..Shape::default() }).await;
        conversation.stream.shutdown().await.unwrap();
        (hosts.world.now(), conversation.stream.write_all(b"more").await.map_err(|error| error.kind()))
    });
    assert_eq!((done, written), (at(ms(1)), Err(io::ErrorKind::BrokenPipe)));
}
