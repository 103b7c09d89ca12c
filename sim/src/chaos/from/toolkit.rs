//! The reader of experiments of Chaos Toolkit.
//!
//! The time of an activity is the sum of the pauses and of the activities before it; one in the background takes none of the others' time.

use std::{collections::BTreeMap, time::Duration};

use kernel::scenario::{Metric, Unit as MetricUnit, duration};

use super::{
    super::{
        draft::{Draft, Outline, Targets},
        labels::Selected,
        node::{Data, Node},
        notes::Wrong,
        table::{Tool, row},
        unit::{quoted, seconds, time as whole_time},
    },
    Names,
    process::{Asked, asked, words},
    time, trailing_number, unknown_verb,
};

/// Arguments that are read elsewhere, or that say nothing here.
const KNOWN: [&str; 29] = [
    "fault",
    "target",
    "options.duration",
    "options.delay",
    "options.every",
    "options.count",
    "label_selector",
    "label_selectors",
    "name_pattern",
    "all",
    "rand",
    "mode",
    "mode_value",
    "qty",
    "grace_period",
    "ns",
    "order",
    "name",
    "namespaces_selectors",
    "replicas",
    "for_proxy",
    "toxic_name",
    "proxy_name",
    "limit",
    "buffer",
    "selectors",
    "label",
    "namespace",
    "correlation_id",
];

/// Adds what an experiment asks for.
pub(super) fn read(document: &Node, outline: &mut Outline) -> Result<(), Wrong> {
    let mut document = document.clone();
    let values = configuration(&document);
    substitute(&mut document, &values);
    outline.name = document.str("title").map(str::to_owned);
    outline.question = document.str("description").map(str::to_owned);
    let mut reader = Reader {
        outline,
        now: Duration::ZERO,
        load_at: Duration::ZERO,
        open: Vec::new(),
        ends: Vec::new(),
        names: Names::default(),
    };
    for probe in document.get("steady-state-hypothesis.probes").map_or(&[][..], Node::items) {
        reader.hypothesis(probe)?;
    }
    for activity in document.get("method").map_or(&[][..], Node::items) {
        reader.activity(activity)?;
    }
    reader.close();
    let Reader { outline, load_at, .. } = reader;
    // A scenario begins with its load.
    outline.faults.iter_mut().for_each(|draft| draft.at = draft.at.saturating_sub(load_at));
    outline.changes.iter_mut().for_each(|(_, at, _)| *at = at.saturating_sub(load_at));
    Ok(())
}

/// Returns the values of `configuration`, with the defaults of those of the environment.
fn configuration(document: &Node) -> BTreeMap<String, String> {
    let entries = document.get("configuration").map_or(&[][..], Node::entries);
    let values = entries.iter().filter_map(|(key, node)| {
        let value = node.as_str().or_else(|| node.str("default"))?;
        Some((key.clone(), value.to_owned()))
    });
    values.collect()
}

fn substitute(node: &mut Node, values: &BTreeMap<String, String>) {
    match &mut node.data {
        Data::Scalar { text, quoted } => {
            for (key, value) in values {
                if text.contains(&format!("${{{key}}}")) {
                    *text = text.replace(&format!("${{{key}}}"), value);
                    *quoted = false;
                }
            }
        }
        Data::List(items) => items.iter_mut().for_each(|item| substitute(item, values)),
        Data::Map(entries) => entries.iter_mut().for_each(|(_, item)| substitute(item, values)),
    }
}

struct Reader<'a> {
    outline: &'a mut Outline,
    now: Duration,
    /// When the load begins.
    load_at: Duration,
    /// Faults without an end so far, with the names of what ends them.
    open: Vec<(usize, String)>,
    /// The ends of faults, each with its time.
    ends: Vec<(Duration, End)>,
    names: Names,
}

/// Returns whether a fault, which what has this name ends, is ended.
type End = Box<dyn Fn(&Draft, &str) -> bool>;

impl Reader<'_> {
    /// Adds what an activity of the method asks for.
    fn activity(&mut self, activity: &Node) -> Result<(), Wrong> {
        let empty = Node::map([]);
        let provider = activity.get("provider").unwrap_or(&empty);
        let pause = |when: &str| -> Result<Duration, Wrong> {
            let path = format!("pauses.{when}");
            let Some(text) = activity.str(&path) else { return Ok(Duration::ZERO) };
            let pause = text.parse::<f64>().ok().and_then(|number| whole_time(number).ok());
            pause.ok_or_else(|| {
                Wrong::at(activity.line_of(&path), format!("`{text}` is not a number of seconds"))
                    .help("such as `before: 3`")
            })
        };
        let start = self.now + pause("before")?;
        let took = if activity.str("type") == Some("probe") {
            Duration::ZERO
        } else {
            match provider.str("type").unwrap_or_default() {
                "python" => self.python(provider, start)?,
                "process" => self.process(provider, start)?,
                other => {
                    let line = provider.line_of("type");
                    let why = format!(
                        "what a provider of the type `{other}` does is not known; the nearest is a fault of a server"
                    );
                    self.outline.notes.add(line, "provider", why);
                    Duration::ZERO
                }
            }
        };
        let after = pause("after")?;
        if activity.str("background") != Some("true") {
            self.now = start + took + after;
        }
        Ok(())
    }

    /// Adds what a function asks for, and returns how long it takes.
    fn python(&mut self, provider: &Node, start: Duration) -> Result<Duration, Wrong> {
        let name =
            format!("{}.{}", provider.str("module").unwrap_or_default(), provider.str("func").unwrap_or_default());
        let line = provider.line_of("func");
        let arguments = provider.get("arguments").cloned().unwrap_or_else(|| Node { line, ..Node::map([]) });
        let arguments = Node { line, ..arguments };
        match &*name {
            "chaosrehearsal.actions.inject" => return self.inject(&arguments, start),
            "chaosrehearsal.actions.load" => return self.load(&arguments, start),
            "chaosrehearsal.actions.heal" | "chaosrehearsal.actions.resume" => {
                let target = arguments.str("target").unwrap_or_default();
                let server = self.names.index(target);
                self.end(start, heal(server, name.ends_with("resume")));
            }
            "chaosrehearsal.actions.start_servers" => {
                self.replicas(arguments.str("servers").unwrap_or("2"));
                self.end(start, |draft, _| matches!(draft.kind, "crash" | "drain"));
            }
            "chaosrehearsal.actions.stop_servers" => {
                let names = arguments.get("names").map_or(&[][..], Node::items);
                let servers =
                    names.iter().filter_map(|name| name.as_str()).map(|name| self.names.index(name)).collect();
                let targets = if names.is_empty() { Targets::All } else { Targets::Servers(servers) };
                let row =
                    row(Tool::ChaosToolkit, &name).ok_or_else(|| unknown_verb(Tool::ChaosToolkit, line, &name))?;
                if let Some(draft) = Draft::read(row, &arguments, start, targets, &["names"], &mut self.outline.notes) {
                    self.add(draft, "");
                }
            }
            "chaosrehearsal.actions.change_settings" => {
                for setting in arguments.get("settings").map_or(&[][..], Node::items) {
                    let text = setting.as_str().unwrap_or_default().to_owned();
                    self.outline.changes.push((setting.line, start, text));
                }
            }
            _ if is_end(&name) => {
                let names =
                    ["toxic_name", "name", "proxy_name"].map(|key| arguments.str(key).unwrap_or_default().to_owned());
                self.end(start, move |draft, by| {
                    ends(&name, draft.verb)
                        && (by.is_empty() || names.iter().any(|own| own == by) || name.ends_with("proxy.actions.reset"))
                });
            }
            _ => self.fault(&name, &arguments, start)?,
        }
        Ok(Duration::ZERO)
    }

    /// Adds the fault of a function of another package.
    fn fault(&mut self, name: &str, arguments: &Node, start: Duration) -> Result<(), Wrong> {
        let is_gentle = name.ends_with("terminate_pods") && arguments.str("grace_period") != Some("0");
        let verb = if is_gentle { format!("{name} gracefully") } else { name.to_owned() };
        // One function for every type, whose fields are those of the toxic.
        let kind = arguments.str("toxic_type").unwrap_or_default();
        let toxic = name.ends_with("create_toxic").then(|| format!("toxic {kind}"));
        let found = match &toxic {
            Some(toxic) => row(Tool::Toxiproxy, toxic),
            None => row(Tool::ChaosToolkit, &verb),
        };
        let shown = toxic.as_deref().unwrap_or(name);
        let row = found.ok_or_else(|| unknown_verb(Tool::ChaosToolkit, arguments.line, shown))?;
        let targets = self.targets(name, arguments);
        if name.contains(".scale_") && arguments.str("replicas") != Some("0") {
            let line = arguments.line_of("replicas");
            self.outline.notes.add(
                line,
                "replicas",
                "the number of servers does not change in a run, unless it becomes 0",
            );
            return Ok(());
        }
        let known = [&KNOWN[..], &["toxic_type", "duration"]].concat();
        let draft = Draft::read(row, arguments, start, targets, &known, &mut self.outline.notes);
        if let Some(mut draft) = draft {
            // Without a grace period of its own a pod has 30 seconds, and no longer than until the next one starts here.
            if is_gentle && arguments.str("grace_period").is_none_or(|grace| grace.starts_with('-')) {
                draft.keys.retain(|(key, _)| *key != "grace");
                draft.keys.push(("grace", quoted("2s")));
            }
            if name.contains(".stress.") {
                draft.lasts = Some(time(arguments, "duration")?.unwrap_or(Duration::from_secs(30)));
            }
            draft.keys.retain(|(key, value)| *key != "share" || value != "1.0");
            let by = ["toxic_name", "name", "proxy_name"].iter().find_map(|key| arguments.str(key));
            self.add(draft, by.unwrap_or_default());
        }
        Ok(())
    }

    /// Adds a fault; without an end of its own, what has the name `by` ends it.
    fn add(&mut self, draft: Draft, by: &str) {
        if draft.lasts.is_none() && !draft.keys.iter().any(|(key, _)| *key == "restart_after") && draft.kind != "reset"
        {
            self.open.push((self.outline.faults.len(), by.to_owned()));
        }
        self.outline.faults.push(draft);
    }

    /// Adds an end of the faults that have none of their own and are such.
    fn end(&mut self, now: Duration, is_one: impl Fn(&Draft, &str) -> bool + 'static) {
        self.ends.push((now, Box::new(is_one)));
    }

    /// Ends each fault without an end of its own by the first that ends it: activities in the background are not in the order of their times.
    fn close(&mut self) {
        for (index, by) in &self.open {
            let draft = &mut self.outline.faults[*index];
            let ends = self.ends.iter().filter(|(time, is_one)| *time > draft.at && is_one(draft, by));
            draft.lasts = ends.map(|(time, _)| *time - draft.at).min();
        }
    }

    /// Adds the fault of `inject`.
    fn inject(&mut self, arguments: &Node, start: Duration) -> Result<Duration, Wrong> {
        let mut arguments = arguments.clone();
        if let Some(options) = arguments.get("options").cloned() {
            let renamed = options.entries().iter().map(|(key, node)| (key.replace('-', "_"), node.clone())).collect();
            arguments.set("options", Node { line: options.line, data: Data::Map(renamed) });
        }
        let fault = arguments.str("fault").unwrap_or_default().replace('_', "-");
        let target = arguments.str("target").unwrap_or_default().to_owned();
        if matches!(&*fault, "heal" | "resume") {
            let server = self.names.index(&target);
            self.end(start, heal(server, fault == "resume"));
            return Ok(Duration::ZERO);
        }
        let verb = format!("chaosrehearsal.actions.inject {fault}");
        let row = row(Tool::ChaosToolkit, &verb)
            .ok_or_else(|| unknown_verb(Tool::ChaosToolkit, arguments.line_of("fault"), &verb))?;
        let targets = Targets::Servers(vec![self.names.index(&target)]);
        let [delay, lasts, every] =
            ["options.delay", "options.duration", "options.every"].map(|path| time(&arguments, path));
        let at = start + delay?.unwrap_or_default();
        let lasts = lasts?;
        let every = every?;
        let count = arguments.str("options.count").and_then(|count| count.parse().ok());
        if let Some(mut draft) = Draft::read(row, &arguments, at, targets, &KNOWN, &mut self.outline.notes) {
            draft.lasts = lasts;
            draft.every = every.map(|every| (every, count));
            // A direction that is none, and a share that is all, are the defaults.
            draft.keys.retain(|(key, value)| !matches!((*key, &**value), ("direction", "\"both\"") | ("share", "1.0")));
            self.add(draft, "");
        }
        let occurrences = u32::try_from(count.unwrap_or(1).saturating_sub(1)).unwrap_or(u32::MAX);
        Ok((at - start) + every.unwrap_or_default() * occurrences + lasts.unwrap_or_default())
    }

    fn load(&mut self, arguments: &Node, start: Duration) -> Result<Duration, Wrong> {
        let length = time(arguments, "duration")?
            .ok_or_else(|| Wrong::at(arguments.line, "the load has no `duration`").help("such as `duration: 10s`"))?;
        let rate = arguments.str("rate").and_then(|rate| rate.parse().ok()).unwrap_or(10.0);
        if self.outline.load.is_none() {
            self.load_at = start;
            self.outline.load = Some((length, rate));
            for setting in arguments.get("settings").map_or(&[][..], Node::items) {
                self.outline.settings.push((setting.line, setting.as_str().unwrap_or_default().to_owned()));
            }
        } else {
            self.outline.notes.add(
                arguments.line,
                "load",
                "a second load cannot be said; the nearest is a `[[load.stage]]`",
            );
        }
        Ok(length)
    }

    fn process(&mut self, provider: &Node, start: Duration) -> Result<Duration, Wrong> {
        let words = words(provider);
        let line = provider.line_of("path");
        let shown = format!("process {}", words.join(" "));
        let asked = asked(&words).ok_or_else(|| unknown_verb(Tool::ChaosToolkit, line, &shown))?;
        let servers = |names: &mut Names, of: &[String]| match of {
            [] => Targets::All,
            some => Targets::Servers(some.iter().map(|name| names.index(name)).collect()),
        };
        match asked {
            Asked::Continue(of) => {
                let targets = servers(&mut self.names, &of);
                self.end(start, move |draft, _| draft.kind == "freeze" && draft.targets == targets);
            }
            Asked::Fault(verb, of) => {
                let row = row(Tool::ChaosToolkit, verb).ok_or_else(|| unknown_verb(Tool::ChaosToolkit, line, verb))?;
                let targets = servers(&mut self.names, &of);
                let verb = Node { line, ..Node::map([]) };
                if let Some(draft) = Draft::read(row, &verb, start, targets, &[], &mut self.outline.notes) {
                    self.add(draft, "");
                }
            }
            Asked::Inject(words) => {
                let mut arguments = Node { line, ..Node::map([]) };
                let mut plain = Vec::new();
                let mut words = words.iter();
                while let Some(word) = words.next() {
                    match word.strip_prefix("--") {
                        Some(option) => {
                            let (name, value) = option.split_once('=').map_or_else(
                                || (option, words.next().cloned()),
                                |(name, value)| (name, Some(value.to_owned())),
                            );
                            let path = format!("options.{}", name.replace('-', "_"));
                            arguments.set(&path, Node { line, ..Node::text(value.unwrap_or_default()) });
                        }
                        None => plain.push(word.clone()),
                    }
                }
                let [fault, targets @ ..] = plain.as_slice() else {
                    return Err(unknown_verb(Tool::ChaosToolkit, line, &shown));
                };
                let mut took = Duration::ZERO;
                for target in targets {
                    arguments.set("fault", Node { line, ..Node::text(fault) });
                    arguments.set("target", Node { line, ..Node::text(target) });
                    took = took.max(self.inject(&arguments, start)?);
                }
                return Ok(took);
            }
        }
        Ok(Duration::ZERO)
    }

    /// Returns the servers that the arguments of a function of another package select.
    fn targets(&mut self, name: &str, arguments: &Node) -> Targets {
        if let Some(proxy) = arguments.str("for_proxy").or_else(|| arguments.str("proxy_name")) {
            return Targets::Servers(vec![self.names.index(proxy)]);
        }
        if let Some(number) = arguments.str("name_pattern").and_then(trailing_number) {
            return Targets::Servers(vec![number]);
        }
        let count = || {
            arguments
                .str("qty")
                .or_else(|| arguments.str("mode_value"))
                .and_then(|count| count.parse().ok())
                .unwrap_or(1.0)
        };
        let of_all = name.contains(".scale_") || name.contains(".networking.") || arguments.str("all") == Some("true");
        let targets = match arguments.str("mode").unwrap_or("one") {
            _ if of_all => Targets::All,
            "all" => Targets::All,
            "percentage" | "fixed-percent" | "random-max-percent" => Targets::Percent(count()),
            "one" => Targets::Count(1),
            _ => Targets::Count(count() as usize),
        };
        targets.within(self.by_labels(arguments))
    }

    /// Returns the servers that arguments select by labels; all of them without any, or if it is not known which these are.
    fn by_labels(&mut self, arguments: &Node) -> Selected {
        let key = ["label_selector", "label_selectors"].into_iter().find(|key| arguments.get(key).is_some());
        let Some(key) = key else { return Selected::All };
        let found = arguments.get(key).and_then(|labels| self.outline.labels.of_labels(labels));
        self.outline.selected(found, arguments.line_of(key), key)
    }

    fn replicas(&mut self, text: &str) {
        if let Some(count) = text.parse().ok().filter(|count| (1..=100).contains(count)) {
            self.outline.replicas = Some(count);
        }
    }

    /// Adds the tolerance of a probe as an expectation.
    fn hypothesis(&mut self, probe: &Node) -> Result<(), Wrong> {
        let func = probe.str("provider.func").unwrap_or_default();
        let line = probe.line_of("tolerance");
        if probe.str("provider.module") != Some("chaosrehearsal.probes") {
            let why = "the probe cannot be said; what can be expected are metrics of the load, such as `success_rate`";
            self.outline.notes.add(probe.line, probe.str("name").unwrap_or("probe"), why);
            return Ok(());
        }
        if func == "servers_running" {
            self.replicas(probe.str("tolerance").unwrap_or_default());
            return Ok(());
        }
        let name = probe.str("provider.arguments.metric").unwrap_or("success_rate");
        let metric: Metric =
            name.parse().map_err(|error: kernel::scenario::UnknownName| Wrong::at(line, error.to_string()))?;
        let tolerance = probe.get("tolerance");
        let range = tolerance.map(|tolerance| tolerance.get("range").unwrap_or(tolerance));
        let numbers: Vec<f64> = match range {
            Some(range) if !range.items().is_empty() => {
                range.items().iter().filter_map(|item| item.as_str()?.parse().ok()).collect()
            }
            Some(one) => {
                one.as_str().and_then(|text| text.parse().ok()).into_iter().flat_map(|number| [number; 2]).collect()
            }
            None => Vec::new(),
        };
        let [min, max] = numbers[..] else {
            self.outline.notes.add(line, "tolerance", "it cannot be said; a number and a range of two can");
            return Ok(());
        };
        let bound = |number: f64| match metric.unit() {
            MetricUnit::Seconds => seconds(number).unwrap_or_else(|_| quoted(&duration::text(Duration::ZERO))),
            _ => toml::Value::from(number).to_string(),
        };
        let keys = format!("metric = {}\nmin = {}\nmax = {}\n", quoted(name), bound(min), bound(max));
        self.outline.expectations.push((line, keys));
        Ok(())
    }
}

/// Returns what `resume` ends of this server, or what `heal` does.
fn heal(server: usize, is_resume: bool) -> impl Fn(&Draft, &str) -> bool {
    move |draft, _| {
        let is_of_process = matches!(draft.kind, "crash" | "drain");
        draft.targets == Targets::Servers(vec![server]) && !is_of_process && (draft.kind == "freeze") == is_resume
    }
}

/// Returns whether a function ends faults.
fn is_end(name: &str) -> bool {
    [
        "delete_toxic",
        "enable_proxy",
        "proxy.actions.reset",
        "delete_network_fault",
        "remove_deny_all_ingress",
        "remove_deny_all_egress",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

/// Returns whether the function `name` ends the faults of `verb`.
fn ends(name: &str, verb: &str) -> bool {
    match name.rsplit('.').next().unwrap_or_default() {
        "delete_toxic" => verb.starts_with("chaostoxi.toxic") || verb.starts_with("toxic "),
        "enable_proxy" => verb.starts_with("chaostoxi.proxy"),
        "reset" => verb.starts_with("chaostoxi.") || verb.starts_with("toxic "),
        "delete_network_fault" => verb.starts_with("chaosk8s.chaosmesh.network"),
        "remove_deny_all_ingress" => verb.ends_with("deny_all_ingress"),
        "remove_deny_all_egress" => verb.ends_with("deny_all_egress"),
        _ => false,
    }
}
