//! The requests of a load for the workloads.

use std::sync::Arc;

use tonic::Status;

use super::{Input, Inputs, Oracle, Output, pictures::Picture, rpc, tiles::Bands};
use crate::{
    client::{self, Client, LoadCall, Progress},
    entropy::Entropy,
    load::{Called, LoadRequest, Requests},
    proto::rehearsal::{Image, ProcessImagesRequest, Tile, rehearsal_client::RehearsalClient},
    record::Answer,
    server::MESSAGE_BYTES_MAX,
    status::Outcome,
};

/// The requests of a load for the workloads: each has an input, and its output is compared with that of an oracle.
pub struct WorkloadRequests {
    inputs: Inputs,
    entropy: Entropy,
    oracle: Arc<Oracle>,
}

impl WorkloadRequests {
    /// Creates requests with `inputs`, which `entropy` distributes, and whose outputs `oracle` confirms.
    pub fn new(inputs: Inputs, entropy: Entropy, oracle: Oracle) -> Self {
        Self { inputs, entropy, oracle: Arc::new(oracle) }
    }
}

impl Requests for WorkloadRequests {
    fn request(&self, id: u64) -> LoadRequest {
        let input = self.inputs.of_request(self.entropy, id);
        let oracle = self.oracle.clone();
        let tiles = self.inputs.tiles();
        LoadRequest {
            size: input.size(),
            kind: self.inputs.kind_of_request(self.entropy, id),
            call: Box::new(move |client: Client| {
                Box::pin(async move {
                    if let (Some(tiles), Input::Image(picture)) = (tiles, &input) {
                        return Ok(in_tiles(client, id, picture, tiles, &oracle).await);
                    }
                    let response = client.call(client::Request { id, message: rpc::message(id, &input) }).await;
                    let is_right = is_right(&oracle, &input, &response);
                    let wrong = (!is_right).then(|| WRONG.to_owned());
                    Ok(Called { response, wrong, done: None })
                })
            }),
        }
    }
}

/// The message for a result that the oracle does not confirm.
const WRONG: &str = "it is not the result of the workload function";

/// Makes the call for the result of `picture` in tiles.
async fn in_tiles(client: Client, id: u64, picture: &Picture, tiles: u32, oracle: &Oracle) -> Called {
    let call = LoadCall::new(id);
    let mut stub = RehearsalClient::new(client.channel_of_load(call.clone(), rpc::methods()))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let Picture { width, height, pixels } = picture.clone();
    let image = Image { width, height, pixels };
    let request = ProcessImagesRequest { request_id: id, tiles, image: Some(image) };
    let bands = Bands::new(height, tiles);
    let result = async {
        let mut reply = stub.process_images(request).await?.into_inner();
        let mut joined = Joined { bands, width, next: 0, pixels: Vec::new(), is_wrong: false };
        while let Some(tile) = reply.message().await? {
            joined.add(tile);
        }
        Ok::<_, Status>(joined)
    };
    let result = result.await;
    let Progress::Ended(mut response, done) = call.take().await else {
        unreachable!("one call was made, and its reply was read or dropped");
    };
    response.expect_messages(Some(bands.count().into()));
    let is_ok = response.outcome == Outcome::OK || response.answer == Some(Answer::Partial);
    // Of a partial answer the oracle knows no result: its tiles are in their places.
    let is_partial = response.answer == Some(Answer::Partial);
    let is_right =
        result.is_ok_and(|joined| if is_partial { !joined.is_wrong } else { joined.is_right(picture, oracle) });
    Called { response: *response, wrong: (is_ok && !is_right).then(|| WRONG.to_owned()), done: Some(done) }
}

/// The tiles of a result that have come.
struct Joined {
    bands: Bands,
    width: u32,
    next: u32,
    pixels: Vec<u8>,
    is_wrong: bool,
}

impl Joined {
    /// Adds the next tile, which has the rows of its band.
    fn add(&mut self, Tile { row, image }: Tile) {
        let rows = self.bands.rows(self.next);
        let Image { width, height, pixels } = image.unwrap_or_default();
        let is_next = self.next < self.bands.count() && (row, row + height) == (rows.start, rows.end);
        self.is_wrong |= !is_next || width != self.width;
        self.next += 1;
        self.pixels.extend_from_slice(&pixels);
    }

    /// Returns true if all tiles together are the result of `picture`.
    fn is_right(&self, picture: &Picture, oracle: &Oracle) -> bool {
        let is_whole = !self.is_wrong && self.next == self.bands.count();
        is_whole && oracle.confirms(&Input::Image(picture.clone()), &Output::Image(self.pixels.clone().into()))
    }
}

/// Returns true unless the response has a wrong output. A fallback response has no computed output, so it is not checked.
fn is_right(oracle: &Oracle, input: &Input, response: &client::Response) -> bool {
    let reply = response.reply.as_ref().filter(|_| response.answer != Some(Answer::Fallback));
    reply.is_none_or(|reply| rpc::output(input, reply).is_ok_and(|output| oracle.confirms(input, &output)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grpc::Reply, proto::rehearsal::GetDataReply, status::Outcome};

    /// Returns a response with these data.
    fn response(data: &'static str, answer: Option<Answer>) -> client::Response {
        client::Response {
            outcome: Outcome::OK,
            reply: Some(Reply::of_message(&GetDataReply { data: data.into(), served_by: None })),
            cause: None,
            server: None,
            attempts: 1,
            failovers: 0,
            hedges: 0,
            rejected: false,
            answer,
            stream: None,
        }
    }

    #[test]
    fn tiles_are_right_in_order_and_whole() {
        let picture = Picture { width: 3, height: 5, pixels: (0..15).collect::<Vec<u8>>().into() };
        let bands = Bands::new(5, 2);
        let tile = |index| {
            let rows = bands.rows(index);
            let pixels = super::super::tiles::compute(&picture, rows.clone());
            Tile { row: rows.start, image: Some(Image { width: 3, height: rows.end - rows.start, pixels }) }
        };
        let is_right = |tiles: &[Tile]| {
            let mut joined = Joined { bands, width: 3, next: 0, pixels: Vec::new(), is_wrong: false };
            tiles.iter().cloned().for_each(|tile| joined.add(tile));
            joined.is_right(&picture, &Oracle::learning())
        };
        assert!(is_right(&[tile(0), tile(1)]));
        let mut flipped = tile(1);
        flipped.image = flipped.image.map(|image| Image { pixels: vec![7; image.pixels.len()].into(), ..image });
        for wrong in [&[tile(1), tile(0)][..], &[tile(0)], &[tile(0), tile(1), tile(1)], &[tile(0), flipped]] {
            assert!(!is_right(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_response_is_right_if_its_output_is_or_if_it_has_none_to_check() {
        let oracle = Oracle::learning();
        let is_right = |response| is_right(&oracle, &Input::Data, &response);
        let right = "data of the backend";
        assert!(is_right(response(right, None)));
        assert!(!is_right(response("other data", None)));
        assert!(!is_right(response("", None)));
        assert!(!is_right(response("", Some(Answer::Stale))));
        assert!(is_right(response("", Some(Answer::Fallback))));
        assert!(is_right(client::Response { reply: None, ..response(right, None) }));
    }
}
