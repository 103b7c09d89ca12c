//! The requests of a load for the workloads.

use std::sync::Arc;

use super::{Input, Inputs, Oracle, rpc};
use crate::{
    client::{self, Client},
    entropy::Entropy,
    load::{Called, LoadRequest, Requests},
    record::Answer,
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
        LoadRequest {
            size: input.size(),
            kind: self.inputs.kind_of_request(self.entropy, id),
            call: Box::new(move |client: Client| {
                Box::pin(async move {
                    let response = client.call(client::Request { id, message: rpc::message(id, &input) }).await;
                    let is_right = is_right(&oracle, &input, &response);
                    let wrong = (!is_right).then(|| "it is not the result of the workload function".to_owned());
                    Ok(Called { response, wrong, done: None })
                })
            }),
        }
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
