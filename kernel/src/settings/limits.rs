//! The bounds of every number and duration in a scenario file. A value beyond them is a typing error, or needs more memory
//! than a run can have; none is a limit of a protocol. Beside the bounds of single values are those of lists, of texts, and of
//! what values amount to together.

use std::{ops::RangeInclusive, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most bytes of a scenario file. The resolved scenario of the longest lists has fewer.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// The most `--set` of one command.
pub const OVERRIDES_MAX: usize = 1_000;
/// The most bytes of one `--set`.
pub const OVERRIDE_BYTES_MAX: usize = 32 << 10;
/// The most names between the dots of a key behind `--set`. No key of the format has as many.
pub const KEY_PARTS_MAX: usize = 16;
/// The largest number of characters of `name`.
pub const NAME_LEN_MAX: usize = 64;
/// The most bytes of every other text, such as `question` and names of files.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// The most sizes of pictures.
pub const SIZES_MAX: usize = 256;
/// The most pixels of all sizes together, as a few pictures of each are kept.
pub const SIZES_PIXELS_MAX: u64 = 4 * PIXELS_MAX;
/// The most stages of a load.
pub const STAGES_MAX: usize = 1_000;
/// The most kinds of requests.
pub const REQUEST_KINDS_MAX: usize = 64;
/// The weight of a kind of requests.
pub const WEIGHT: RangeInclusive<f64> = 0.001..=1_000_000.0;
/// The most times of a trace of arrivals, and the most lines of its file.
pub const TRACE_TIMES_MAX: usize = 500_000;
/// The most bytes of the file of a trace.
pub const TRACE_BYTES_MAX: u64 = 256 << 20;
/// The most faults of a scenario.
pub const FAULTS_MAX: usize = 10_000;
/// The most pairs of a fault and a server that it hits.
pub const FAULT_TARGETS_MAX: usize = 100_000;
/// The most changes of settings in a run.
pub const CHANGES_MAX: usize = 100;
/// The most expectations of a scenario.
pub const EXPECTATIONS_MAX: usize = 1_000;
/// The most requests of a run: without stages `rate` times `duration`.
pub const REQUESTS_MAX: f64 = 20e6;
/// The most pairs of a fault and a request, as each fault is measured over the requests since its start.
pub const FAULT_REQUESTS_MAX: f64 = 1e9;
/// The most health checks of a run, and the most sweeps of the outlier detection.
pub const CHECKS_MAX: f64 = 10e6;
/// The most bytes of all inputs that can be under way at once.
pub const BYTES_UNDER_WAY_MAX: u64 = 16 << 30;
/// Durations that may not be zero: the scenario's, a fault's, deadlines, timeouts and the health interval.
pub const DURATION: RangeInclusive<Duration> = Duration::from_nanos(1)..=DAY;
/// Durations that may be zero: latencies, jitters, backoffs, `at`, `restart_after`, `service_time_min`, and the
/// bounds of an expectation on a time.
pub const WAIT: RangeInclusive<Duration> = Duration::ZERO..=DAY;
/// Times for which a store keeps an answer: while it is fresh and then stale, and longer.
pub const STORE_KEEP: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(3 * 86_400);
/// Times between two checks or sweeps, which are no work of a request.
pub const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
/// Replicas of the service.
pub const REPLICAS: RangeInclusive<usize> = 1..=1_000;
/// Workers of one replica.
pub const WORKERS: RangeInclusive<usize> = 1..=1_024;
/// Places in the queue of one replica; 0 refuses a request that finds no free worker.
pub const QUEUE: RangeInclusive<usize> = 0..=1_000_000;
/// Requests per second.
pub const RATE: RangeInclusive<f64> = 0.001..=1_000_000.0;
/// Users of a closed loop.
pub const USERS: RangeInclusive<usize> = 0..=20_000;
/// Calls or attempts under way at once.
pub const MAX_IN_FLIGHT: RangeInclusive<usize> = 1..=1_000_000;
/// Pixels of a picture's width and of its height.
pub const SIDE: RangeInclusive<u32> = 1..=16_384;
/// Pixels of a whole picture, that is 4096x4096.
pub const PIXELS_MAX: u64 = 16 * 1_024 * 1_024;
/// Number of bands of rows in which a reply streams.
pub const TILES: RangeInclusive<u32> = 1..=256;
/// Nodes of the graph that `dfs` searches: its answer, 4 bytes a node, is well below the largest message.
pub const NODES: RangeInclusive<u32> = 2..=1_000_000;
/// Edges of that graph, which are held in memory twice while it is generated.
pub const EDGES: RangeInclusive<u32> = 1..=8_000_000;
/// Bytes of one gRPC message: those of a service config, which has 32 bits.
pub const MESSAGE_BYTES: RangeInclusive<usize> = 0..=u32::MAX as usize;
/// Bits per second, where bandwidth is limited at all.
pub const BANDWIDTH: RangeInclusive<u64> = 1..=1_000_000_000_000;
/// Attempts of one call, the first one included. gRPC A6 caps this at 5; a rehearsal may want to see what the cap prevents.
pub const MAX_ATTEMPTS: RangeInclusive<u32> = 1..=100;
/// Attempts of one call that hedges; with one there would be no hedging.
pub const HEDGED_ATTEMPTS: RangeInclusive<usize> = 2..=100;
/// A count that may be zero.
pub const COUNT: RangeInclusive<usize> = 0..=1_000_000;
/// A count that may not be zero.
pub const COUNT_SOME: RangeInclusive<usize> = 1..=1_000_000;
/// Calls of a breaker's window, which are kept.
pub const WINDOW: RangeInclusive<usize> = 1..=100_000;
/// Time of a breaker's window, whose counts by the second are kept.
pub const BREAKER_WINDOW: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(60 * 60);
/// Answers of a cache.
pub const CACHE_SIZE: RangeInclusive<usize> = 1..=10_000;
/// A percentage of a whole.
pub const PERCENT: RangeInclusive<f64> = 0.0..=100.0;
/// A percentage of a whole that may not be zero.
pub const PERCENT_SOME: RangeInclusive<f64> = 0.001..=100.0;
/// Percentage of a retry budget: 200 allows two retries a call. The bound is tower's.
pub const BUDGET_PERCENT: RangeInclusive<f64> = 0.0..=100_000.0;
/// The SRE book's K of client-side throttling: over 1, or all that servers accept would be too much.
pub const THROTTLING_MULTIPLIER: RangeInclusive<f64> = 1.0..=1_000.0;
/// Ratio of a latency to the long-term one from which on a concurrency limit falls.
pub const LATENCY_TOLERANCE: RangeInclusive<f64> = 1.0..=1_000.0;
/// Ratio of an adaptive timeout to a percentile of the latencies.
pub const TIME_FACTOR: RangeInclusive<f64> = 1.0..=1_000.0;
/// gRPC A6's `maxTokens`: over 0, up to 1000.
pub const TOKENS: RangeInclusive<f64> = 0.001..=1_000.0;
/// gRPC A6's `tokenRatio`: over 0, to a thousandth.
pub const TOKEN_RATIO: RangeInclusive<f64> = 0.001..=1_000.0;
/// The exponent's inverse of a slow start.
pub const AGGRESSION: RangeInclusive<f64> = 0.01..=100.0;
/// gRPC A48's choices of a least_request pick.
pub const CHOICE_COUNT: RangeInclusive<usize> = 2..=100;
/// Ratio of each backoff to the one before it; gRPC A6 has it above 0.
pub const BACKOFF_MULTIPLIER: RangeInclusive<f64> = 0.001..=1_000.0;
/// Factor of service times; a fault makes no server faster.
pub const SLOW_FACTOR: RangeInclusive<f64> = 1.0..=10_000.0;
/// Times that one fault happens.
pub const OCCURRENCES: RangeInclusive<usize> = 1..=FAULTS_MAX;
/// Faults drawn for one run.
pub const FAULTS: RangeInclusive<usize> = 1..=64;
/// A probability, or a metric that is a share.
pub const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// A share that may not be zero.
pub const SHARE_SOME: RangeInclusive<f64> = 0.000_001..=1.0;
/// A metric that is a count or a rate per second.
pub const AMOUNT: RangeInclusive<f64> = 0.0..=1e12;
