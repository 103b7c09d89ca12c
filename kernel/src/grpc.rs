//! gRPC below its messages: what client and server do with the bytes of any service.

mod message;
mod services;
mod unary;

pub(crate) use message::{Pieces, collect, collect_whole, first_number};
pub use services::Services;
pub(crate) use services::{CALL, Served};
pub use unary::{Message, Reply};
