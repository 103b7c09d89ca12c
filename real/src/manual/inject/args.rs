//! The command line of `real inject`.

use std::time::Duration;

use clap::{Args, Subcommand};
use kernel::{
    cli::{Failure, help::NO_VERDICT, help_sections},
    scenario::{Direction, FaultKind, bandwidth, duration},
    server::{InjectedErrors, Injection},
    status::Code,
    tls::Presented,
};

use super::command::{Command, InjectedFault};
use crate::option;

/// Options of `real inject`.
#[derive(Debug, Clone, Args)]
#[command(subcommand_help_heading = "Faults", subcommand_value_name = "FAULT", disable_help_subcommand = true)]
pub struct InjectArgs {
    #[command(subcommand)]
    fault: FaultArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum FaultArgs {
    /// Kills the process (SIGKILL); nothing starts it again.
    #[command(after_long_help = help_sections(&["real inject crash server-0"], NO_VERDICT))]
    Crash(TargetArgs),
    /// Asks the process to finish its calls and to end (SIGTERM), and kills it after a grace period; nothing starts it again.
    #[command(after_long_help = help_sections(&["real inject drain server-0 --grace 5s"], NO_VERDICT))]
    Drain {
        #[command(flatten)]
        on: TargetArgs,

        /// The time that calls under way have to finish.
        #[arg(long, value_parser = option::wait, value_name = "TIME", default_value = "30s")]
        grace: Duration,
    },
    /// Stops the process (SIGSTOP) until it is resumed.
    #[command(after_long_help = help_sections(&["real inject freeze server-0 --duration 5s"], NO_VERDICT))]
    Freeze(LastingArgs),
    /// Continues a frozen process (SIGCONT).
    #[command(after_long_help = help_sections(&["real inject resume server-0"], NO_VERDICT))]
    Resume(TargetArgs),
    /// Delays every message, each way or in one direction.
    #[command(after_long_help = help_sections(
        &["real inject delay server-0 --latency 200ms --jitter 50ms", "real inject delay server-0 --latency 1s --direction from --share 0.3"],
        NO_VERDICT
    ))]
    Delay {
        #[command(flatten)]
        on: OneWayArgs,

        /// The delay in one direction; a round trip takes twice that.
        #[arg(long, value_parser = option::wait, value_name = "TIME", required_unless_present = "jitter")]
        latency: Option<Duration>,

        /// How far the delay varies, up and down.
        #[arg(long, value_parser = option::wait, value_name = "TIME")]
        jitter: Option<Duration>,
    },
    /// Holds all messages; they pass once the fault is lifted, as with TCP.
    #[command(after_long_help = help_sections(&["real inject partition server-0 --direction from --duration 10s"], NO_VERDICT))]
    Partition(OneWayArgs),
    /// Swallows all packets of the connections that are open now, while new connections work.
    #[command(alias = "half_open")]
    #[command(after_long_help = help_sections(&["real inject half-open server-0 --duration 30s"], NO_VERDICT))]
    HalfOpen(LinkArgs),
    /// Loses segments, which arrive later.
    #[command(after_long_help = help_sections(
        &["real inject loss server-0 --rate 0.05", "real inject loss server-0 --enter-burst 0.01 --exit-burst 0.2"],
        NO_VERDICT
    ))]
    Loss {
        #[command(flatten)]
        on: OneWayArgs,

        /// The share of the segments, from 0 to 1.
        #[arg(long, value_parser = option::share, required_unless_present = "enter_burst")]
        rate: Option<f64>,

        #[command(flatten)]
        bursts: BurstArgs,
    },
    /// Limits the bandwidth, each way or in one direction.
    #[command(after_long_help = help_sections(&["real inject bandwidth server-0 --rate 1mbit"], NO_VERDICT))]
    Bandwidth {
        #[command(flatten)]
        on: OneWayArgs,

        /// The bandwidth per second, such as 10mbit.
        #[arg(long, value_parser = option::bit_rate)]
        rate: u64,
    },
    /// Resets all open connections, and for a time those that are made.
    #[command(after_long_help = help_sections(
        &["real inject reset server-0", "real inject reset server-0 --duration 5s --every 10s --count 3"],
        NO_VERDICT
    ))]
    Reset {
        #[command(flatten)]
        on: TargetArgs,

        /// The time in which new connections are reset, too, once they are open; without it, the fault is over at once.
        #[arg(long, value_parser = option::span, value_name = "TIME")]
        duration: Option<Duration>,

        /// The share of the connections that are reset, over 0 and up to 1, drawn for each.
        #[arg(long, value_parser = option::some_share)]
        share: Option<f64>,

        #[command(flatten)]
        repeat: RepeatArgs,
    },
    /// Has a server answer calls with an error, or late.
    #[command(after_long_help = help_sections(
        &["real inject errors server-0 --rate 0.5 --status INTERNAL", "real inject errors server-0 --rate 0.1 --call-delay 200ms"],
        NO_VERDICT
    ))]
    Errors {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The share of the calls, from 0 to 1.
        #[arg(long, value_parser = option::share)]
        rate: f64,

        /// The status of these calls; UNAVAILABLE unless they are delayed.
        #[arg(long, value_parser = option::failure_status)]
        status: Option<Code>,

        /// The time by which these calls are delayed.
        #[arg(long, value_parser = option::wait, value_name = "TIME")]
        call_delay: Option<Duration>,
    },
    /// Multiplies the service times of a server.
    #[command(after_long_help = help_sections(&["real inject slow server-0 --factor 10"], NO_VERDICT))]
    Slow {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The factor, at least 1.
        #[arg(long, value_parser = option::slow_factor)]
        factor: f64,
    },
    /// Has a server with TLS present a certificate that has expired, in handshakes that begin; connections that are open stay.
    #[command(alias = "certificate_expired")]
    #[command(after_long_help = help_sections(&["real inject certificate-expired server-0 --duration 30s"], NO_VERDICT))]
    CertificateExpired(LastingArgs),
    /// Has a server with TLS present a certificate of an authority that no client trusts, in handshakes that begin.
    #[command(alias = "certificate_untrusted")]
    #[command(after_long_help = help_sections(&["real inject certificate-untrusted server-0"], NO_VERDICT))]
    CertificateUntrusted(LastingArgs),
    /// Lifts all faults but a freeze, which ends with `resume`.
    #[command(after_long_help = help_sections(&["real inject heal server-0"], NO_VERDICT))]
    Heal(TargetArgs),
}

#[derive(Debug, Clone, Args)]
struct TargetArgs {
    /// The ids or ports of servers or proxies.
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// The time to wait before the fault.
    #[arg(long, value_parser = option::wait, value_name = "TIME")]
    delay: Option<Duration>,
}

#[derive(Debug, Clone, Args)]
struct LastingArgs {
    #[command(flatten)]
    on: TargetArgs,

    /// The time after which the fault is lifted, or at Ctrl-C; without it, the fault lasts until `resume` or `heal`.
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    duration: Option<Duration>,

    #[command(flatten)]
    repeat: RepeatArgs,
}

#[derive(Debug, Clone, Args)]
struct RepeatArgs {
    /// The time from one occurrence to the next, if the fault is repeated; longer than its duration.
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    every: Option<Duration>,

    /// The number of occurrences; without it, until Ctrl-C.
    #[arg(long, value_parser = option::count, value_name = "N", requires = "every")]
    count: Option<usize>,
}

/// The options of a fault of links.
#[derive(Debug, Clone, Args)]
struct LinkArgs {
    #[command(flatten)]
    lasting: LastingArgs,

    /// The share of the connections that it applies to, over 0 and up to 1, drawn for each, new ones included.
    #[arg(long, value_parser = option::some_share)]
    share: Option<f64>,
}

/// The options of a fault of links that can be in one direction.
#[derive(Debug, Clone, Args)]
struct OneWayArgs {
    #[command(flatten)]
    link: LinkArgs,

    /// The direction: both, to the server, or from the server.
    #[arg(long, default_value_t = Direction::Both)]
    direction: Direction,
}

impl OneWayArgs {
    /// The direction, if it is one.
    fn way(&self) -> Option<Direction> {
        Some(self.direction).filter(|direction| *direction != Direction::Both)
    }
}

/// The options of losses in bursts.
#[derive(Debug, Clone, Args)]
struct BurstArgs {
    /// Losses come in bursts: the probability that one begins after a segment outside of one.
    #[arg(long, value_parser = option::some_share, value_name = "SHARE", conflicts_with = "rate", requires = "exit_burst")]
    enter_burst: Option<f64>,

    /// The probability that a burst ends after a segment in one.
    #[arg(long, value_parser = option::some_share, value_name = "SHARE", requires = "enter_burst")]
    exit_burst: Option<f64>,

    /// The share of the segments in a burst that are lost [default: 1].
    #[arg(long, value_parser = option::share, value_name = "SHARE", requires = "enter_burst")]
    loss_in_burst: Option<f64>,

    /// The share of the segments outside of bursts that are lost [default: 0].
    #[arg(long, value_parser = option::share, value_name = "SHARE", requires = "enter_burst")]
    loss_outside: Option<f64>,
}

/// How a fault is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repetition {
    /// Time from one occurrence to the next.
    pub(super) every: Duration,
    /// Number of occurrences; `None` until an interrupt.
    pub(super) count: Option<usize>,
}

/// A command line, as the targets, the times and the command that it stands for.
pub(super) struct InjectRequest {
    /// Targets as the user named them.
    pub(super) targets: Vec<String>,
    /// Time to wait before the command.
    pub(super) delay: Option<Duration>,
    /// Time after which the fault is reverted; `None` if it lasts.
    pub(super) duration: Option<Duration>,
    /// How it is repeated, if it is.
    pub(super) repetition: Option<Repetition>,
    /// The action on each target.
    pub(super) command: Command,
}

impl InjectArgs {
    /// The request that the options stand for.
    ///
    /// # Errors
    ///
    /// Returns an error if a fault is repeated before it is over.
    pub(super) fn request(&self) -> Result<InjectRequest, Failure> {
        let ArgsOfAll { on: TargetArgs { targets, delay }, duration, repeat } = self.fault.of_all();
        let command = self.fault.command();
        let repetition = repeat.and_then(|repeat| Some(Repetition { every: repeat.every?, count: repeat.count }));
        if let Some(Repetition { every, .. }) = repetition {
            match duration {
                Some(duration) if duration < every => {}
                Some(duration) => {
                    let [every, duration] = [every, duration].map(duration::text);
                    return Err(Failure::wrong_input(format!(
                        "`--every {every}` is not longer than `--duration {duration}`: one occurrence ends before the next starts"
                    )));
                }
                None if matches!(command, Command::Reset(_)) => {}
                None => {
                    return Err(Failure::wrong_input(
                        "`--every` needs a `--duration`, as the fault is over before it happens again; for example: --duration 1s",
                    ));
                }
            }
        }
        Ok(InjectRequest { targets: targets.clone(), delay: *delay, duration, repetition, command })
    }
}

/// The arguments that all faults have: the targets, the duration, and the repetition of those that can be repeated.
struct ArgsOfAll<'a> {
    on: &'a TargetArgs,
    duration: Option<Duration>,
    repeat: Option<&'a RepeatArgs>,
}

impl FaultArgs {
    fn of_all(&self) -> ArgsOfAll<'_> {
        let lasting = match self {
            Self::Crash(on) | Self::Drain { on, .. } | Self::Resume(on) | Self::Heal(on) => {
                return ArgsOfAll { on, duration: None, repeat: None };
            }
            Self::Reset { on, duration, repeat, .. } => {
                return ArgsOfAll { on, duration: *duration, repeat: Some(repeat) };
            }
            Self::Freeze(lasting)
            | Self::Errors { lasting, .. }
            | Self::Slow { lasting, .. }
            | Self::CertificateExpired(lasting)
            | Self::CertificateUntrusted(lasting) => lasting,
            Self::HalfOpen(link) => &link.lasting,
            Self::Partition(on) | Self::Delay { on, .. } | Self::Loss { on, .. } | Self::Bandwidth { on, .. } => {
                &on.link.lasting
            }
        };
        ArgsOfAll { on: &lasting.on, duration: lasting.duration, repeat: Some(&lasting.repeat) }
    }

    fn command(&self) -> Command {
        let duration = self.of_all().duration;
        let (kind, text) = match self {
            Self::Crash(_) => return Command::Crash,
            Self::Drain { grace, .. } => return Command::Drain { grace: *grace },
            Self::Freeze(_) => return Command::Freeze,
            Self::Resume(_) => return Command::Resume,
            Self::Heal(_) => return Command::Heal,
            Self::Errors { rate, status, call_delay, .. } => {
                return Command::Inject(errors(*rate, *status, *call_delay));
            }
            Self::Slow { factor, .. } => {
                let injection = Injection { slow: *factor, ..Injection::default() };
                return Command::Inject(InjectedFault::on_server("slow", injection, format!("{factor} times as slow")));
            }
            Self::CertificateExpired(_) => {
                let kind = FaultKind::CertificateExpired { duration };
                return certificate(&kind, Presented::Expired, "a certificate that has expired");
            }
            Self::CertificateUntrusted(_) => {
                let kind = FaultKind::CertificateUntrusted { duration };
                return certificate(&kind, Presented::Untrusted, "a certificate of an unknown authority");
            }
            Self::Delay { on, latency, jitter } => {
                let latency = latency.unwrap_or_default();
                let jitter = jitter.unwrap_or_default();
                let spread = if jitter.is_zero() { String::new() } else { format!(" ± {}", duration::text(jitter)) };
                let way = on.way().map_or_else(|| "each way".to_owned(), |way| format!("{way} the server"));
                let text = format!("delay {}{spread} {way}", duration::text(latency));
                (FaultKind::Delay { latency, jitter, duration, direction: on.way(), share: on.link.share }, text)
            }
            Self::Partition(on) => {
                let direction = on.direction;
                (FaultKind::Partition { direction, duration, share: on.link.share }, format!("partition ({direction})"))
            }
            Self::HalfOpen(link) => {
                (FaultKind::HalfOpen { duration, share: link.share }, "half-open connections".to_owned())
            }
            Self::Loss { on, rate, bursts } => {
                let BurstArgs { enter_burst, exit_burst, loss_in_burst, loss_outside } = *bursts;
                let direction = on.way();
                let share = on.link.share;
                let kind = FaultKind::Loss {
                    rate: *rate,
                    duration,
                    direction,
                    share,
                    enter_burst,
                    exit_burst,
                    loss_in_burst,
                    loss_outside,
                };
                let burst = kind.link_effect().burst;
                let bursts = burst.map(|burst| format!("loss of {} % in bursts", (burst.rate() * 1e4).round() / 100.0));
                let plain = format!("loss of {} %", rate.unwrap_or_default() * 100.0);
                (kind, bursts.unwrap_or(plain) + &one_way(direction))
            }
            Self::Bandwidth { on, rate } => {
                let direction = on.way();
                let kind = FaultKind::Bandwidth { rate: *rate, duration, direction, share: on.link.share };
                (kind, format!("bandwidth {}{}", bandwidth::text(*rate), one_way(direction)))
            }
            Self::Reset { share, .. } => {
                (FaultKind::Reset { duration, share: *share }, "resets of connections".to_owned())
            }
        };
        if kind.is_over_at_once() {
            return Command::Reset(kind.link_effect().connections);
        }
        let share = kind.share().map(|share| format!(" for {} % of the connections", share * 100.0));
        let text = text + &share.unwrap_or_default();
        Command::Inject(InjectedFault::on_link(kind.name(), kind.link_effect(), text))
    }
}

/// The fault of a server that fails or delays a share of its calls.
fn errors(rate: f64, status: Option<Code>, call_delay: Option<Duration>) -> InjectedFault {
    let status = status.or(call_delay.is_none().then_some(Code::Unavailable));
    let delay = call_delay.unwrap_or_default();
    // There is no fault index to seed the draws with, as in a scenario. Two faults of the same rate on one
    // server therefore fail the same calls.
    let errors = vec![InjectedErrors { fault: 0, rate, status, delay }];
    let late = call_delay.map(|delay| format!("{} late", duration::text(delay)));
    let failed = status.map(|status| status.to_string());
    let what: Vec<_> = late.into_iter().chain(failed).collect();
    let text = format!("{} for {} % of the calls", what.join(", then "), rate * 100.0);
    InjectedFault::on_server("errors", Injection { errors, ..Injection::default() }, text)
}

/// The fault of a server that presents another certificate.
fn certificate(kind: &FaultKind, presented: Presented, text: &str) -> Command {
    let injection = Injection { presented, ..Injection::default() };
    Command::Inject(InjectedFault::on_server(kind.name(), injection, text.to_owned()))
}

/// The direction in a description.
fn one_way(direction: Option<Direction>) -> String {
    direction.map_or_else(String::new, |way| format!(" {way} the server"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kernel::link::{BurstLoss, LinkEffect, Selection, Shape, Way};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        inject: InjectArgs,
    }

    fn request(words: &str) -> Result<InjectRequest, clap::Error> {
        let line = Line::try_parse_from(["inject"].into_iter().chain(words.split(' ')))?;
        Ok(line.inject.request().expect("the options agree with each other"))
    }

    /// The message of options that do not agree with each other.
    fn contradiction(words: &str) -> String {
        let line = Line::try_parse_from(["inject"].into_iter().chain(words.split(' '))).unwrap();
        line.inject.request().err().unwrap().message
    }

    /// The fault that the command line injects.
    fn fault(words: &str) -> InjectedFault {
        match request(words).unwrap().command {
            Command::Inject(fault) => fault,
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn delay_is_the_wait_before_a_fault_and_latency_is_the_fault() {
        let words = "delay a 50052 --latency 300ms --delay 5s --duration 10s";
        let request = request(words).unwrap();
        assert_eq!((request.delay, request.duration), (Some(Duration::from_secs(5)), Some(Duration::from_secs(10))));
        assert_eq!(request.targets, ["a", "50052"]);
        let shape = Shape { latency: Duration::from_millis(300), ..Shape::default() };
        assert_eq!(fault(words), InjectedFault::on_link("delay", shape.into(), "delay 300ms each way".to_owned()));
    }

    #[test]
    fn a_partition_cuts_the_directions_it_names() {
        let commands = ["partition a", "partition a --direction to", "partition a --direction from"];
        let cuts = commands.map(|words| (fault(words).effect.shape.cut_to, fault(words).effect.shape.cut_from));
        assert_eq!(cuts, [(true, true), (true, false), (false, true)]);
    }

    #[test]
    fn half_open_cuts_the_connections_that_are_open() {
        let half_open = fault("half-open a --duration 1s");
        assert_eq!((half_open.effect.shape.cut_to, half_open.effect.shape.cut_from), (true, true));
        assert!(half_open.effect.connections.open_at_start);
        assert_eq!(fault("half_open a"), half_open, "the name of the kind in scenarios is another name");
        assert_eq!(fault("partition a").effect.connections, Selection::default());
    }

    #[test]
    fn errors_and_slow_affect_the_server_and_not_the_link() {
        let [errors, slow] = ["errors a --rate 0.5 --status INTERNAL", "slow a --factor 4 --duration 1s"].map(fault);
        assert!(errors.effect == LinkEffect::default() && slow.effect == LinkEffect::default());
        let half = InjectedErrors { fault: 0, rate: 0.5, status: Some(Code::Internal), delay: Duration::ZERO };
        assert_eq!(errors.injection, Injection { errors: vec![half], ..Injection::default() });
        let late = InjectedErrors { status: None, delay: Duration::from_millis(200), ..half };
        assert_eq!(fault("errors a --rate 0.5 --call-delay 200ms").injection.errors, [late]);
        let unavailable = InjectedErrors { status: Some(Code::Unavailable), ..half };
        assert_eq!(fault("errors a --rate 0.5").injection.errors, [unavailable]);
        assert_eq!(slow.injection, Injection { slow: 4.0, ..Injection::default() });
    }

    #[test]
    fn a_fault_of_the_certificate_is_known_by_the_name_that_scenarios_have_for_it() {
        for (words, kind, presented) in [
            ("certificate-expired a --duration 1s", "certificate_expired", Presented::Expired),
            ("certificate_expired a", "certificate_expired", Presented::Expired),
            ("certificate-untrusted a", "certificate_untrusted", Presented::Untrusted),
            ("certificate_untrusted a --duration 1s --every 2s", "certificate_untrusted", Presented::Untrusted),
        ] {
            let fault = fault(words);
            assert_eq!((fault.kind, fault.effect), (kind, LinkEffect::default()), "{words}");
            assert_eq!(fault.injection, Injection { presented, ..Injection::default() }, "{words}");
        }
    }

    #[test]
    fn faults_of_links_have_a_direction_and_a_share() {
        let slow = fault("delay a --latency 1ms --direction from --share 0.25");
        assert_eq!((slow.effect.way, slow.effect.connections.share), (Some(Way::From), 0.25));
        assert_eq!(slow.text, "delay 1ms from the server for 25 % of the connections");
        let lossy = fault("loss a --enter-burst 0.1 --exit-burst 0.3 --direction to");
        let burst = BurstLoss { enter: 0.1, exit: 0.3, loss_in_burst: 1.0, loss_outside: 0.0 };
        assert_eq!((lossy.effect.burst, lossy.effect.way), (Some(burst), Some(Way::To)));
        assert_eq!(lossy.text, "loss of 25 % in bursts to the server");
        assert_eq!(fault("bandwidth a --rate 1mbit --direction to").effect.way, Some(Way::To));
    }

    #[test]
    fn a_reset_is_over_at_once_or_lasts() {
        let once = request("reset a --share 0.5").unwrap();
        assert_eq!(
            (once.duration, once.command),
            (None, Command::Reset(Selection { share: 0.5, ..Selection::default() }))
        );
        let lasting = fault("reset a --duration 1s");
        assert!(lasting.effect.shape.resets && lasting.kind == "reset");
    }

    #[test]
    fn a_fault_that_is_repeated_is_over_before_it_happens_again() {
        let repeated = |words: &str| request(words).unwrap().repetition;
        let every = Duration::from_secs(2);
        assert_eq!(repeated("freeze a --duration 1s --every 2s --count 3"), Some(Repetition { every, count: Some(3) }));
        assert_eq!(repeated("reset a --every 2s"), Some(Repetition { every, count: None }));
        assert_eq!(repeated("reset a"), None);
        let late = contradiction("delay a --latency 1ms --duration 2s --every 2s");
        assert!(late.contains("`--every 2s`") && late.contains("`--duration 2s`"), "{late}");
        assert!(contradiction("freeze a --every 2s").contains("--duration"));
    }

    #[test]
    fn missing_and_unknown_options_of_a_fault_are_rejected() {
        for words in [
            "delay a",
            "errors a",
            "slow a --factor 0.5",
            "loss a",
            "loss a --rate 2",
            "bandwidth a --rate 0",
            "crash",
            "crash a --duration 1s",
            "crash a --every 1s",
            "reset a --count 2",
            "reset a --share 0",
            "delay a --latency 1ms --direction upstream",
            "loss a --rate 0.1 --enter-burst 0.1 --exit-burst 0.1",
            "loss a --enter-burst 0.1",
        ] {
            assert!(request(words).is_err(), "{words}");
        }
    }
}
