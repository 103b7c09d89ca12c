//! Which methods stream: from descriptors of .proto files, or declared one by one.

use std::collections::BTreeMap;

use prost::{DecodeError, Message};

use crate::record::Name;

/// How many messages a method has in each direction.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One message, and one reply.
    #[default]
    Unary,
    /// One message, and a stream of replies.
    ServerStreaming,
    /// A stream of messages, and one reply.
    ClientStreaming,
    /// A stream in each direction.
    Bidirectional,
}

impl Shape {
    fn new(streams_requests: bool, streams_replies: bool) -> Self {
        match (streams_requests, streams_replies) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStreaming,
            (true, false) => Self::ClientStreaming,
            (true, true) => Self::Bidirectional,
        }
    }

    /// Returns whether a request can have another number of messages than one.
    pub fn streams_requests(self) -> bool {
        matches!(self, Self::ClientStreaming | Self::Bidirectional)
    }

    /// Returns whether a reply can have another number of messages than one.
    pub fn streams_replies(self) -> bool {
        matches!(self, Self::ServerStreaming | Self::Bidirectional)
    }
}

/// The methods that stream. Every other method is unary.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Methods {
    /// The shapes by method, such as `shop.v1.Stock/Watch`.
    shapes: BTreeMap<Name, Shape>,
}

impl Methods {
    /// Declares the shape of `method`, such as `shop.v1.Stock/Watch`. The last declaration of a method counts.
    pub(crate) fn declare(&mut self, method: &str, shape: Shape) {
        self.shapes.insert(method.trim_start_matches('/').into(), shape);
    }

    /// Declares the methods in an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are none.
    pub(crate) fn describe(&mut self, file_descriptor_set: &[u8]) -> Result<(), DecodeError> {
        for file in FileSet::decode(file_descriptor_set)?.file {
            for service in file.service {
                let name =
                    if file.package.is_empty() { service.name } else { format!("{}.{}", file.package, service.name) };
                for method in service.method {
                    let shape = Shape::new(method.client_streaming, method.server_streaming);
                    self.shapes.insert(format!("{name}/{}", method.name).into(), shape);
                }
            }
        }
        Ok(())
    }

    /// Adds the methods of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.shapes.extend(other.shapes.iter().map(|(method, shape)| (method.clone(), *shape)));
    }

    /// Returns the shape of the method at `path`, such as `/shop.v1.Stock/Watch`.
    pub(crate) fn shape(&self, path: &str) -> Shape {
        self.shapes.get(path.trim_start_matches('/')).copied().unwrap_or_default()
    }

    /// Returns the full name of the method at `path`, which is shared if the method was described or declared.
    pub(crate) fn name(&self, path: &str) -> Name {
        let name = path.trim_start_matches('/');
        self.shapes.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
    }
}

/// The parts of `google.protobuf.FileDescriptorSet` and of the messages in it that describe methods.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "5")]
    client_streaming: bool,
    #[prost(bool, tag = "6")]
    server_streaming: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_descriptors_have_their_shape_and_all_others_are_unary() {
        let mut methods = Methods::default();
        methods.describe(include_bytes!("../../proto/generated/descriptors.bin")).unwrap();
        assert_eq!(methods.shape("/grpc.health.v1.Health/Watch"), Shape::ServerStreaming);
        assert_eq!(methods.shape("/grpc.health.v1.Health/Check"), Shape::Unary);
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(methods.shape(reflection), Shape::Bidirectional);
        assert_eq!(methods.shape("/shop.v1.Stock/Watch"), Shape::Unary);
        assert!(Methods::default().describe(b"\xff").is_err());
    }

    #[test]
    fn a_declaration_counts_with_or_without_a_slash_and_the_last_one_wins() {
        let mut methods = Methods::default();
        methods.declare("shop.v1.Stock/Watch", Shape::ServerStreaming);
        let mut other = Methods::default();
        other.declare("/shop.v1.Stock/Count", Shape::ClientStreaming);
        methods.extend(&other);
        assert!(methods.shape("/shop.v1.Stock/Watch").streams_replies());
        assert!(methods.shape("/shop.v1.Stock/Count").streams_requests());
        methods.declare("/shop.v1.Stock/Watch", Shape::Unary);
        assert_eq!(methods.shape("/shop.v1.Stock/Watch"), Shape::Unary);
    }
}
