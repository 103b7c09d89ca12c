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
    /// How long an answer is of use. The server stops working on the request after that.
    pub(super) timeout: TimeoutHeader,
}

impl Envelope {
    fn wrap<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TIMEOUT, self.timeout);
        let attempts_before = self.attempt.number - 1;
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

fn check_image(picture: &Picture, image: Image) -> Result<Output, Failure> {
    if (image.width, image.height) != (picture.width, picture.height) || image.pixels.len() != picture.pixels.len() {
        return Err(wrong_reply(format!("an image of {}x{}", image.width, image.height)));
    }
    Ok(Output::Image(image.pixels))
}

/// A search of the graph, which is connected, reaches every node.
fn check_order(search: &Search, order: Vec<u32>) -> Result<Output, Failure> {
    if order.first() != Some(&search.start) || order.len() != search.graph.nodes as usize {
        return Err(wrong_reply(format!("an order of {} nodes", order.len())));
    }
    Ok(Output::Order(order.into()))
}

fn wrong_reply(what: String) -> Failure {
    Failure::new(Code::Internal, Cause::WrongReply(what))
}
