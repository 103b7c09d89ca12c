//! gRPC status codes by their names, and the outcome of a request, which is one of them or a drop.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A gRPC status code. `Display` and `FromStr` use the specification's names, `UNAVAILABLE` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Codes and names in numeric order, as the gRPC specification lists them.
const NAMES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// Every code's name, in numeric order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, name)| *name)
    }

    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is no gRPC status code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a gRPC status code")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(code, _)| *code).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

#[cfg(feature = "service")]
impl From<tonic::Code> for Code {
    fn from(code: tonic::Code) -> Self {
        NAMES[code as i32 as usize].0
    }
}

#[cfg(feature = "service")]
impl From<Code> for tonic::Code {
    fn from(code: Code) -> Self {
        tonic::Code::from_i32(code as i32)
    }
}

/// How a request ended: a status, or `DROPPED` because too many were in flight to send it, or `DEGRADED` because what it
/// got is an answer of less use, stale or a fallback's, that the scenario does not count as a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Status(Code),
    Dropped,
    Degraded,
}

impl Outcome {
    pub const OK: Self = Self::Status(Code::Ok);

    pub fn is_success(self) -> bool {
        self == Self::OK
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Status(code) => code.name(),
            Self::Dropped => "DROPPED",
            Self::Degraded => "DEGRADED",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "DROPPED" => Ok(Self::Dropped),
            "DEGRADED" => Ok(Self::Degraded),
            name => name.parse().map(Self::Status).map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_agrees_with_its_name() {
        for (position, (code, name)) in NAMES.iter().enumerate() {
            assert_eq!(*code as usize, position);
            assert_eq!(name.parse(), Ok(*code));
        }
        assert_eq!("unavailable".parse::<Code>(), Err(UnknownCode("unavailable".into())));
    }

    #[cfg(feature = "service")]
    #[test]
    fn every_code_agrees_with_that_of_tonic() {
        for (code, _) in NAMES {
            assert_eq!(Code::from(tonic::Code::from(code)), code);
        }
    }
}
