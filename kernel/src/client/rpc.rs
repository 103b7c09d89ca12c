//! The RPC that carries an input to a server and its output back: one for each workload.

use std::time::Duration;

use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{
    channel::{Channel, failure_from_status},
    failure::{Cause, Failure},
};
use crate::{
    proto::rehearsal::{
        GetDataRequest, Graph, Image, ProcessImageRequest, SearchGraphRequest, rehearsal_client::RehearsalClient,
    },
    record::AttemptId,
    status::Code,
    transport::{ATTEMPTS_BEFORE, TIMEOUT},
    workload::{Input, Output, dfs::Search, pictures::Picture},
};

/// The part of a request that is the same for every workload.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) attempt: AttemptId,
    /// The time for which an answer is of use. The server stops working on the request after that.
    pub(super) timeout: TimeoutHeader,
}

impl Envelope {
    fn wrap<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TIMEOUT, self.timeout);
        let attempts_before = self.attempt.number - 1;
        // A6: the first attempt does not have the header.
        if attempts_before > 0 {
            request.metadata_mut().insert(ATTEMPTS_BEFORE, MetadataValue::from(attempts_before));
        }
        request
    }
}

/// The value of a `grpc-timeout` header.
type TimeoutHeader = MetadataValue<Ascii>;

/// Formats timeouts. Most attempts have the same timeout, which is formatted once.
#[derive(Debug)]
pub(super) struct Timeouts {
    usual: Duration,
    header: TimeoutHeader,
}

impl Timeouts {
    pub(super) fn new(usual: Duration) -> Self {
        Self { usual, header: timeout_header(usual) }
    }

    /// Returns the header for an attempt with `left` until its timeout.
    pub(super) fn header(&self, left: Duration) -> TimeoutHeader {
        if left == self.usual { self.header.clone() } else { timeout_header(left) }
    }
}

/// Formats a timeout, rounded up to the next millisecond.
///
/// gRPC's core rounds, too: HPACK sends a header that is the same from call to call as one byte, but has to spell out one that
/// differs by microseconds each time, and to enter it into the tables of both ends.
fn timeout_header(left: Duration) -> TimeoutHeader {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64));
    request.metadata_mut().remove(TIMEOUT).expect("it has just been set")
}

/// Sends the request of the input's workload, and checks that the reply matches it.
pub(super) async fn ask(
    mut stub: RehearsalClient<Channel>,
    envelope: Envelope,
    input: &Input,
) -> Result<Output, Failure> {
    let request_id = envelope.attempt.request;
    match input {
        Input::Image(picture) => {
            let image = Image { width: picture.width, height: picture.height, pixels: picture.pixels.clone() };
            let message = ProcessImageRequest { request_id, image: Some(image) };
            let reply = unwrap_reply(stub.process_image(envelope.wrap(message)).await)?;
            check_image(picture, reply.image.unwrap_or_default())
        }
        Input::Search(search) => {
            let graph = Graph { nodes: search.graph.nodes, edges: search.graph.edges, seed: search.graph.seed };
            let message = SearchGraphRequest { request_id, graph: Some(graph), start: search.start };
            check_order(search, unwrap_reply(stub.search_graph(envelope.wrap(message)).await)?.order)
        }
        Input::Data => {
            let data = unwrap_reply(stub.get_data(envelope.wrap(GetDataRequest { request_id })).await)?.data;
            if data.is_empty() { Err(wrong_reply("no data".to_owned())) } else { Ok(Output::Data(data)) }
        }
    }
}

fn unwrap_reply<T>(answered: Result<Response<T>, Status>) -> Result<T, Failure> {
    answered.map(Response::into_inner).map_err(|status| failure_from_status(&status))
}

/// Checks the size of the image. The load generator compares the pixels.
fn check_image(picture: &Picture, image: Image) -> Result<Output, Failure> {
    if (image.width, image.height) != (picture.width, picture.height) || image.pixels.len() != picture.pixels.len() {
        return Err(wrong_reply(format!("an image of {}x{}", image.width, image.height)));
    }
    Ok(Output::Image(image.pixels))
}

/// Checks that the order has every node, as the graph is connected. The load generator compares the order itself.
fn check_order(search: &Search, order: Vec<u32>) -> Result<Output, Failure> {
    if order.first() != Some(&search.start) || order.len() != search.graph.nodes as usize {
        return Err(wrong_reply(format!("an order of {} nodes", order.len())));
    }
    Ok(Output::Order(order.into()))
}

fn wrong_reply(what: String) -> Failure {
    Failure::new(Code::Internal, Cause::WrongReply(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(micros: u64) -> TimeoutHeader {
        timeout_header(Duration::from_micros(micros))
    }

    /// Returns the header of attempt `number` with the number of attempts before it.
    fn attempts_before(number: u32) -> Option<TimeoutHeader> {
        let envelope = Envelope { attempt: AttemptId { request: 7, number }, timeout: header(1) };
        envelope.wrap(()).metadata().get(ATTEMPTS_BEFORE).cloned()
    }

    fn image(width: u32, pixels: &'static [u8]) -> Image {
        Image { width, height: 1, pixels: pixels.into() }
    }

    #[test]
    fn a_timeout_is_rounded_up_to_the_next_millisecond() {
        assert_eq!(header(1_500_000), header(1_499_001));
        assert_ne!(header(1_500_000), header(1_500_001));
    }

    #[test]
    fn the_header_says_the_time_that_is_left_usual_or_not() {
        let timeouts = Timeouts::new(Duration::from_millis(500));
        for left in [500, 499, 501] {
            assert_eq!(timeouts.header(Duration::from_millis(left)), header(left * 1_000));
        }
        assert_ne!(header(499_000), header(500_000));
    }

    #[test]
    fn an_order_that_starts_elsewhere_or_lacks_a_node_is_wrong() {
        let graph = crate::workload::dfs::GraphSpec { nodes: 3, edges: 2, seed: 1 };
        let search = Search { graph, start: 1 };
        assert!(check_order(&search, vec![1, 0, 2]).is_ok());
        for wrong in [vec![0, 1, 2], vec![1, 0], vec![1, 0, 2, 2], vec![]] {
            assert!(check_order(&search, wrong).is_err());
        }
    }

    #[test]
    fn an_attempt_after_the_first_says_how_many_came_before() {
        assert_eq!(attempts_before(1), None);
        assert_eq!(attempts_before(3), Some(MetadataValue::from(2_u32)));
    }

    #[test]
    fn a_reply_of_another_size_than_the_request_is_wrong() {
        let picture = Picture { width: 2, height: 1, pixels: vec![1, 2].into() };
        assert!(check_image(&picture, image(2, &[3, 4])).is_ok());
        for image in [image(1, &[3]), image(2, &[3])] {
            let failure = check_image(&picture, image).unwrap_err();
            assert_eq!(failure.code, Code::Internal);
            assert!(!failure.is_answer());
        }
    }
}
