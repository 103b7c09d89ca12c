//! The substitute for streams of events in a program that is built without them.

use std::sync::Arc;

use kernel::{cli::Failure, run_folder::EventsInfo};

use super::{Opened, Waiting};
use crate::export::Exporter;

/// A stream, of which there is none.
pub(crate) enum Stream {}

impl Stream {
    pub(crate) fn waiting(&self) -> Arc<Waiting> {
        match *self {}
    }

    pub(crate) fn end(self) -> EventsInfo {
        match self {}
    }
}

impl Opened {
    pub(crate) fn start(self, _: &str, _: Option<Exporter>) -> Result<Stream, Failure> {
        Err(Failure::run_failed("this program has no event streams"))
    }
}
