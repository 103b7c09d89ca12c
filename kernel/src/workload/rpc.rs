//! The RPC that carries an input to a server and its output back: one for each workload.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};

use super::{Input, Output, dfs::Search, pictures::Picture};
use crate::{
    grpc::{Message, Methods, Reply, Shape},
    proto::rehearsal::{
        GetDataReply, GetDataRequest, Graph, Image, ProcessImageReply, ProcessImageRequest, SearchGraphReply,
        SearchGraphRequest,
    },
    transport::LARGE,
};

/// The method whose reply is an image in tiles.
pub(super) const PROCESS_IMAGES: &str = "/rehearsal.v1.Rehearsal/ProcessImages";

/// The method whose reply is a whole image.
pub(super) const PROCESS_IMAGE: &str = "/rehearsal.v1.Rehearsal/ProcessImage";
const SEARCH_GRAPH: &str = "/rehearsal.v1.Rehearsal/SearchGraph";
const GET_DATA: &str = "/rehearsal.v1.Rehearsal/GetData";

/// Returns the methods that occupy a worker.
pub(super) fn methods() -> Arc<Methods> {
    // Each request for tiles asks for them.
    static METHODS: LazyLock<Arc<Methods>> = LazyLock::new(|| {
        let mut methods = Methods::default();
        for method in [PROCESS_IMAGE, SEARCH_GRAPH, GET_DATA] {
            methods.declare(method, Shape::Unary);
        }
        methods.declare(PROCESS_IMAGES, Shape::ServerStreaming);
        Arc::new(methods)
    });
    METHODS.clone()
}

/// Returns the message that asks a server for the output of `input`, as the request `request_id`.
pub fn message(request_id: u64, input: &Input) -> Message {
    let (numbers, _) = input.identity();
    match input {
        Input::Image(picture) if picture.pixels.len() < LARGE => {
            let image = Image { width: picture.width, height: picture.height, pixels: picture.pixels.clone() };
            let message = ProcessImageRequest { request_id, image: Some(image) };
            Message::new(PROCESS_IMAGE, &message).cached_by(numbers, picture.pixels.clone())
        }
        Input::Image(picture) => {
            Message::in_two(PROCESS_IMAGE, &before_pixels(request_id, picture), picture.pixels.clone(), numbers)
        }
        Input::Search(search) => {
            let graph = Graph { nodes: search.graph.nodes, edges: search.graph.edges, seed: search.graph.seed };
            let message = SearchGraphRequest { request_id, graph: Some(graph), start: search.start };
            Message::new(SEARCH_GRAPH, &message).cached_by(numbers, Bytes::new())
        }
        Input::Data => Message::new(GET_DATA, &GetDataRequest { request_id }).cached_by(numbers, Bytes::new()),
    }
}

/// The numbers of fields in the protocol: `ProcessImageRequest.image` and `Image.pixels`, each the last field of its message.
const IMAGE: u32 = 2;
const PIXELS: u32 = 3;

/// Returns the message about `picture` without its pixels, which are the end of it. So they need not be copied.
fn before_pixels(request_id: u64, picture: &Picture) -> Vec<u8> {
    let Picture { width, height, pixels } = picture;
    let mut image = Vec::with_capacity(24);
    Image { width: *width, height: *height, pixels: Bytes::new() }.encode_raw(&mut image);
    if !pixels.is_empty() {
        encode_key(PIXELS, WireType::LengthDelimited, &mut image);
        encode_varint(pixels.len() as u64, &mut image);
    }
    let mut start = Vec::with_capacity(48);
    ProcessImageRequest { request_id, image: None }.encode_raw(&mut start);
    encode_key(IMAGE, WireType::LengthDelimited, &mut start);
    encode_varint((image.len() + pixels.len()) as u64, &mut start);
    start.extend(image);
    start
}

/// Returns the output in the reply to a message about `input`.
///
/// # Errors
///
/// Returns what is wrong with the reply if it cannot be the output of the input.
pub fn output(input: &Input, reply: &Reply) -> Result<Output, String> {
    match input {
        Input::Image(picture) => {
            let reply: ProcessImageReply = decode(reply)?;
            check_image(picture, reply.image.unwrap_or_default())
        }
        Input::Search(search) => check_order(search, decode::<SearchGraphReply>(reply)?.order),
        Input::Data => {
            let data = decode::<GetDataReply>(reply)?.data;
            if data.is_empty() { Err("no data".to_owned()) } else { Ok(Output::Data(data)) }
        }
    }
}

fn decode<M: prost::Message + Default>(reply: &Reply) -> Result<M, String> {
    reply.decode().map_err(|error| error.to_string())
}

/// Checks the size of the image. The load generator compares the pixels.
fn check_image(picture: &Picture, image: Image) -> Result<Output, String> {
    if (image.width, image.height) != (picture.width, picture.height) || image.pixels.len() != picture.pixels.len() {
        return Err(format!("an image of {}x{}", image.width, image.height));
    }
    Ok(Output::Image(image.pixels))
}

/// Checks that the order has every node, as the graph is connected. The load generator compares the order itself.
fn check_order(search: &Search, order: Vec<u32>) -> Result<Output, String> {
    if order.first() != Some(&search.start) || order.len() != search.graph.nodes as usize {
        return Err(format!("an order of {} nodes", order.len()));
    }
    Ok(Output::Order(order.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, pixels: &'static [u8]) -> Image {
        Image { width, height: 1, pixels: pixels.into() }
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
    fn a_reply_of_another_size_than_the_request_is_wrong() {
        let picture = Picture { width: 2, height: 1, pixels: vec![1, 2].into() };
        assert!(check_image(&picture, image(2, &[3, 4])).is_ok());
        for image in [image(1, &[3]), image(2, &[3])] {
            assert!(check_image(&picture, image).is_err());
        }
        assert!(output(&Input::Data, &Reply::empty()).is_err());
    }

    #[test]
    fn an_image_is_encoded_as_any_message_without_a_copy_of_its_pixels() {
        for (width, bytes) in [(2, 2), (300, 70_000), (0, 0)] {
            let picture = Picture { width, height: 5, pixels: vec![9; bytes].into() };
            let image = Image { width, height: 5, pixels: picture.pixels.clone() };
            let whole = ProcessImageRequest { request_id: 300, image: Some(image) };
            let start = before_pixels(300, &picture);
            assert_eq!([&start[..], &picture.pixels].concat(), whole.encode_to_vec());
        }
    }

    #[test]
    fn messages_about_equal_inputs_have_equal_answers_and_others_do_not() {
        let picture = |pixels: Vec<u8>| Input::Image(Picture { width: 2, height: 1, pixels: pixels.into() });
        let key = |id, input: &Input| message(id, input).key().clone();
        assert_eq!(key(1, &picture(vec![1, 2])), key(2, &picture(vec![1, 2])));
        assert_ne!(key(1, &picture(vec![1, 2])), key(1, &picture(vec![1, 3])));
        assert_eq!(key(1, &Input::Data), key(9, &Input::Data));
    }
}
