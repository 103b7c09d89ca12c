//! The times of processes without a run: until one listens, until its connections break, and a bare round trip.

use std::{collections::BTreeMap, future::poll_fn, io, time::Duration};

use futures_util::future::join;
use kernel::{
    client::{Failure, PlainChannel},
    proto::health::{HealthCheckRequest, health_client::HealthClient},
    record::{Event, Row},
    scenario::{Scenario, ScenarioError},
    world::SharedWorld,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    runtime::Runtime,
    sync::mpsc::{self, UnboundedReceiver},
};

use super::samples::Samples;
use crate::{
    clock::{Clock, machine_ns},
    host::Host,
    message::Report,
    process::ProcessFailed,
    replica::{Measures, NewProcess, Replica},
    tcp::ReservedPort,
    timer::Timer,
};

/// A scenario with the default servers.
const DEFAULTS: &str = "name = \"calibration\"\nduration = \"1s\"\n[load]\nrate = 1\n";

/// Number of processes that are started and killed.
const PROCESSES: usize = 24;

/// Number of round trips to each process.
const ROUND_TRIPS: usize = 12;

/// Number of the first round trips to each process that are not counted, as caches and connections are cold.
const WARM_UP: usize = 4;

/// Pause between two round trips, so that each meets an idle machine, as a request of a run does.
const PAUSE: Duration = Duration::from_millis(10);

/// The measured times.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ProcessTimes {
    /// Time between the start of a replica's process and its first `listening`.
    pub(super) exec_to_listen: Samples,
    /// Time between SIGKILL and the end of a connection at its other end.
    pub(super) exit: Samples,
    /// Round-trip time of a health check on an open connection.
    pub(super) round_trip: Samples,
}

/// An error that ends the measurement.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessMeasurementError {
    #[error(transparent)]
    Process(#[from] ProcessFailed),
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error("cannot measure processes: {0}")]
    System(#[from] io::Error),
    #[error("a replica that serves does not answer: {0}")]
    NoAnswer(String),
}

/// Starts replicas one after another, calls each a few times, and kills it.
pub(super) fn measure() -> Result<ProcessTimes, ProcessMeasurementError> {
    Runtime::new()?.block_on(async {
        let logs = tempfile::tempdir()?;
        let (sender, mut outputs) = mpsc::unbounded_channel();
        let scenario = Scenario::parse("calibration", DEFAULTS, &[])?;
        let replica = Replica::new(0, ReservedPort::any()?, (&scenario, 0), (Measures::default(), None), sender);
        let addresses = BTreeMap::from([(replica.name().to_owned(), replica.address())]);
        let world = Host::new(Clock::MACHINE, Timer::start()?).with_servers(addresses).shared();
        let mut exec_to_listen = Vec::new();
        let mut exit = Vec::new();
        let mut round_trip = Vec::new();
        for _ in 0..PROCESSES {
            let started = machine_ns();
            replica.start(&world, logs.path()).await?;
            let listening_us = listening(&mut outputs).await?;
            exec_to_listen.push(listening_us as f64 - started as f64 / 1e3);
            round_trip.extend(round_trips(&world, replica.name()).await?);
            exit.push(until_broken(&world, &replica).await?);
        }
        let [exec_to_listen, exit, round_trip] = [exec_to_listen, exit, round_trip].map(Samples::from_round);
        Ok(ProcessTimes { exec_to_listen, exit, round_trip })
    })
}

/// The time at which the newest process listened, in microseconds since the machine started.
async fn listening(outputs: &mut UnboundedReceiver<NewProcess>) -> Result<u64, ProcessMeasurementError> {
    let process =
        outputs.recv().await.ok_or_else(|| ProcessMeasurementError::NoAnswer("it was never started".to_owned()))?;
    let mut lines = BufReader::new(process.reports).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(Report::Row(Row::Event(row))) = serde_json::from_str(&line)
            && row.event == Event::Listening
        {
            return Ok(row.at_us);
        }
    }
    Err(ProcessMeasurementError::NoAnswer("it never listened".to_owned()))
}

fn no_answer(failure: Failure) -> ProcessMeasurementError {
    ProcessMeasurementError::NoAnswer(failure.cause.to_string())
}

async fn round_trips(world: &SharedWorld, server: &str) -> Result<Vec<f64>, ProcessMeasurementError> {
    let channel = PlainChannel::over(world.clone(), world.connect(server).await?).await.map_err(no_answer)?;
    let mut stub = HealthClient::with_origin(channel, http::Uri::from_static("http://rehearsal"));
    let mut times = Vec::new();
    for number in 0..ROUND_TRIPS {
        world.sleep_until(world.now() + PAUSE).await;
        let begun = world.now();
        let answer = stub.check(HealthCheckRequest::default()).await;
        answer.map_err(|status| ProcessMeasurementError::NoAnswer(status.to_string()))?;
        if number >= WARM_UP {
            times.push(world.now().since(begun).as_secs_f64() * 1e6);
        }
    }
    Ok(times)
}

/// Kills the replica's process and waits until a connection to it is gone.
async fn until_broken(world: &SharedWorld, replica: &Replica) -> Result<f64, ProcessMeasurementError> {
    let mut stream = world.connect(replica.name()).await?;
    let killed = world.now();
    let broken = async {
        // Until the end of the stream, for a connection that the process had accepted, or an error, for one that still
        // waited to be accepted.
        while poll_fn(|cx| stream.poll_read_chunk(cx)).await.is_ok_and(|chunk| !chunk.is_empty()) {}
        world.now()
    };
    let (broken, ended) = join(broken, replica.crash()).await;
    ended?;
    Ok(broken.since(killed).as_secs_f64() * 1e6)
}
