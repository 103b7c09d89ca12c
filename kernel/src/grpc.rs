//! gRPC below its messages: what client and server do with the bytes of any service.

mod counted_body;
mod exchange;
mod message;
mod methods;
mod services;
mod unary;

use counted_body::CountedBody;
#[cfg(test)]
pub(crate) use exchange::tests::Kept;
pub(crate) use exchange::{Exchange, Side};
pub(crate) use message::{MessageCount, Pieces, collect, collect_whole, first_number};
pub(crate) use methods::Methods;
pub use methods::Shape;
pub use services::Services;
pub(crate) use services::{CALL, Served};
pub use unary::{Message, Reply};
