//! gRPC below its messages: what client and server do with the bytes of any service.

mod message;
mod services;

pub(crate) use message::{Pieces, collect, first_number};
pub(crate) use services::Served;
pub use services::Services;
