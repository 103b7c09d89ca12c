//! Metrics of a process for Prometheus, at an HTTP endpoint, and for a collector of OpenTelemetry.
//!
//! | module | contents |
//! | --- | --- |
//! | `endpoint` | the socket and its thread, bounded in connections and time |
//! | `http` | requests and answers, and the format that a client prefers |
//! | `push` | what is sent to a collector (OTLP over HTTP) |
//!
//! Either has a thread and a runtime of its own. What it shares with the process is one lock, which it holds while it copies the
//! values, and not while it writes them: a client or a collector that is slow or hangs delays no call.

mod endpoint;
mod http;
mod push;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use clap::Args;
use kernel::{
    cli::Failure,
    export::Observer,
    record::{CallMoment, Recorder, Row, Sink},
    sync::lock,
};

use crate::remote::RemoteArgs;

pub(crate) use endpoint::Endpoint;
use endpoint::Serving;
use push::{Collector, Sending};

/// The option of an endpoint for metrics.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct MetricsArgs {
    /// The address at which Prometheus reads metrics: a port of the loopback device, or HOST:PORT; port 0 chooses a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    metrics: Option<SocketAddr>,

    /// The URL of a collector to send metrics to by OTLP over HTTP, every five seconds, such as http://127.0.0.1:4318.
    #[arg(long, value_name = "URL", value_parser = push::url)]
    otlp: Option<String>,

    #[command(flatten)]
    remote: RemoteArgs,
}

/// Parses a port of the loopback device, or an address and a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let named = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    match named.parse::<SocketAddr>() {
        Ok(address) => Ok(address),
        Err(_) => Err("write PORT or HOST:PORT, such as 127.0.0.1:9464".into()),
    }
}

impl MetricsArgs {
    /// Returns the address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Returns the same options of another process, with its own address.
    pub(crate) fn words(&self, address: Option<SocketAddr>) -> Vec<String> {
        let address = address.map(|address| ["--metrics".to_owned(), address.to_string()]);
        let collector = self.otlp.as_ref().map(|url| ["--otlp".to_owned(), url.clone()]);
        address.into_iter().chain(collector).flatten().chain(self.remote.words()).collect()
    }

    /// Returns whether other machines are allowed.
    pub(crate) fn remote(&self) -> RemoteArgs {
        self.remote
    }

    /// Checks that the address may be used, if there is one.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.metrics.map_or(Ok(()), |address| self.remote.check("--metrics", address.ip()))
    }

    /// Listens at the address, if there is one, and prints it on standard error. Meant for before anything starts.
    pub(crate) fn open(&self) -> Result<Option<Outlets>, Failure> {
        self.check()?;
        let endpoint = self.metrics.map(Endpoint::listen).transpose()?;
        if let Some(endpoint) = &endpoint {
            eprintln!("metrics are at http://{}/metrics", endpoint.address());
        }
        let collector = self.otlp.as_deref().map(Collector::at).transpose()?;
        let is_some = endpoint.is_some() || collector.is_some();
        Ok(is_some.then_some(Outlets { endpoint, collector }))
    }
}

/// Where metrics will go: an endpoint, a collector, or both.
pub(crate) struct Outlets {
    endpoint: Option<Endpoint>,
    collector: Option<Collector>,
}

impl Outlets {
    /// Returns the address of the endpoint, if there is one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::address)
    }
}

/// The metrics of this process and their outlets, which end when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Exporter {
    observer: Arc<Mutex<Observer>>,
    _outlets: Arc<(Option<Serving>, Option<Sending>)>,
}

impl Exporter {
    /// Starts to export the metrics of `observer`. Fails if the operating system allows no more threads.
    pub(crate) fn start(outlets: Outlets, observer: Observer) -> Result<Self, Failure> {
        let Outlets { endpoint, collector } = outlets;
        let observer = Arc::new(Mutex::new(observer));
        let serving = endpoint.map(|endpoint| endpoint.serve(observer.clone())).transpose();
        let sending = collector.map(|collector| collector.send(observer.clone())).transpose();
        let outlets = (serving.map_err(Failure::run_failed)?, sending.map_err(Failure::run_failed)?);
        Ok(Self { observer, _outlets: Arc::new(outlets) })
    }

    /// Changes the metrics.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Observer)) {
        change(&mut lock(&self.observer));
    }
}

/// A sink that exports what it passes on.
pub(crate) struct ExportedSink {
    exporter: Exporter,
    next: Arc<dyn Sink>,
}

impl ExportedSink {
    /// Returns a sink that passes rows on to `next`, and to `exporter`, if there is one.
    pub(crate) fn in_front_of(next: Arc<dyn Sink>, exporter: Option<Exporter>) -> Arc<dyn Sink> {
        match exporter {
            Some(exporter) => Arc::new(Self { exporter, next }),
            None => next,
        }
    }
}

impl Sink for ExportedSink {
    fn take(&self, row: Row) {
        self.exporter.note(|observer| observer.take(&row));
        self.next.take(row);
    }

    fn measures(&self) -> bool {
        true
    }

    fn measure(&self, recorder: &Recorder, moment: CallMoment) {
        self.exporter.note(|observer| observer.take_moment(recorder.source(), &moment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_of_the_loopback_device() {
        assert_eq!(address("9464"), Ok(([127, 0, 0, 1], 9464).into()));
        assert_eq!(address("localhost:0"), Ok(([127, 0, 0, 1], 0).into()));
        assert_eq!(address("[::1]:1"), Ok((std::net::Ipv6Addr::LOCALHOST, 1).into()));
        assert_eq!(address("0.0.0.0:9464"), Ok(([0, 0, 0, 0], 9464).into()));
        assert!(address("9464x").is_err_and(|message| message.contains("HOST:PORT")));
    }
}
