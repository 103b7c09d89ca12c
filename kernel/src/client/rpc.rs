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
    status::Code,
    transport::{ATTEMPTS_BEFORE, TIMEOUT},
    workload::{Input, Output, dfs::Search, pictures::Picture},
};

/// What goes with an input, whatever it is.
#[derive(Debug)]
pub(super) struct Envelope {
    /// The request's id.
    pub(super) request: u64,
    /// From 1.
    pub(super) attempt: u32,
    /// The server is told that an answer is of use for so long.
    pub(super) timeout: Timeout,
}

impl Envelope {
    fn around<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(TIMEOUT, self.timeout);
        if self.attempt > 1 {
            request.metadata_mut().insert(ATTEMPTS_BEFORE, MetadataValue::from(self.attempt - 1));
        }
        request
    }
}

/// A `grpc-timeout`.
type Timeout = MetadataValue<Ascii>;

/// Writes timeouts. Most attempts have the same, which is written once.
#[derive(Debug)]
pub(super) struct Timeouts {
    usual: Duration,
    written: Timeout,
}

impl Timeouts {
    pub(super) fn new(usual: Duration) -> Self {
        Self { usual, written: written(usual) }
    }

    pub(super) fn write(&self, left: Duration) -> Timeout {
        if left == self.usual { self.written.clone() } else { written(left) }
    }
}

/// Up to the next millisecond. gRPC's core rounds, too: a header that is the same from call to call is a byte to HPACK, one
/// that differs by microseconds has to be spelled out, and noted at both ends, each time.
fn written(left: Duration) -> Timeout {
    let mut request = Request::new(());
    request.set_timeout(Duration::from_millis(left.as_nanos().div_ceil(1_000_000) as u64));
    request.metadata_mut().remove(TIMEOUT).expect("it has just been set")
}

/// Asks, and sees to it that the answer is one.
pub(super) async fn ask(
    mut stub: RehearsalClient<Channel>,
    envelope: Envelope,
    input: &Input,
) -> Result<Output, Failure> {
    let request_id = envelope.request;
    match input {
        Input::Image(picture) => {
            let image = Image { width: picture.width, height: picture.height, pixels: picture.pixels.clone() };
            let message = ProcessImageRequest { request_id, image: Some(image) };
            let reply = reply(stub.process_image(envelope.around(message)).await)?;
            image_of(picture, reply.image.unwrap_or_default())
        }
        Input::Search(search) => {
            let graph = Graph { nodes: search.graph.nodes, edges: search.graph.edges, seed: search.graph.seed };
            let message = SearchGraphRequest { request_id, graph: Some(graph), start: search.start };
            order_of(search, reply(stub.search_graph(envelope.around(message)).await)?.order)
        }
        Input::Data => {
            let data = reply(stub.get_data(envelope.around(GetDataRequest { request_id })).await)?.data;
            if data.is_empty() { Err(wrong("no data".to_owned())) } else { Ok(Output::Data(data)) }
        }
    }
}

fn reply<T>(answered: Result<Response<T>, Status>) -> Result<T, Failure> {
    answered.map(Response::into_inner).map_err(|status| failure_from_status(&status))
}

fn image_of(picture: &Picture, image: Image) -> Result<Output, Failure> {
    if (image.width, image.height) != (picture.width, picture.height) || image.pixels.len() != picture.pixels.len() {
        return Err(wrong(format!("an image of {}x{}", image.width, image.height)));
    }
    Ok(Output::Image(image.pixels))
}

/// The graph is connected: a search comes to every node.
fn order_of(search: &Search, order: Vec<u32>) -> Result<Output, Failure> {
    if order.first() != Some(&search.start) || order.len() != search.graph.nodes as usize {
        return Err(wrong(format!("an order of {} nodes", order.len())));
    }
    Ok(Output::Order(order.into()))
}

fn wrong(what: String) -> Failure {
    Failure::new(Code::Internal, Cause::WrongReply(what))
}
