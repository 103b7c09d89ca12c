//! What the fuzz targets of `.fuzz` call in this crate; see [`kernel::fuzzing`].

use crate::{
    manual,
    message::{LoadCommand, ReplicaCommand, Report},
};

/// Reads a message as each process does that gets messages: the load process, a replica, the orchestrator, a server that was
/// started by hand, and the commands that ask it.
///
/// # Panics
///
/// Panics if a message that was accepted is another one after it was written and read.
pub fn control_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    round_trip::<LoadCommand>(text);
    round_trip::<ReplicaCommand>(text);
    round_trip::<Report>(text);
    round_trip::<manual::ControlRequest>(text);
    round_trip::<manual::ControlResponse>(text);
}

fn round_trip<T>(text: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    if let Ok(message) = serde_json::from_str::<T>(text) {
        let written = crate::message::line(&message);
        assert_eq!(serde_json::from_str::<T>(&written).ok(), Some(message), "{written}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_message_is_read_or_refused() {
        kernel::fuzzing::replay(env!("CARGO_MANIFEST_DIR"), "control_message", super::control_message);
    }
}
