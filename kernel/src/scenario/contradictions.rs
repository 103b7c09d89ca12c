//! Policies of `[client]` that exclude each other, or need one another. Each problem marks one side and names both.

use super::{Balancing, Client, FaultName, Retry, SERVICES_MAX, STORE, Scenario, Slo, Workload};
use crate::{
    policy::FallbackKind,
    settings::{
        duration,
        problem::Problem,
        source::Span,
        table::TableReader,
        value::{Item, is_string, one_or_more},
    },
    slo::settings::SLOS_MAX,
    store,
};

/// Turns retries off where calls hedge and the file says nothing of retries; refuses a file that wants both.
pub(super) fn settle_retry(client: &TableReader<'_, '_>, retry: &mut Retry) -> Result<(), Problem> {
    if client.span("hedging").is_none() {
        return Ok(());
    }
    let table = client.table("retry");
    let how = ["initial_backoff", "max_backoff", "backoff_multiplier", "jitter", "retryable_status_codes"];
    let retries = match table.first_of(&["max_attempts"]) {
        Some(max_attempts) => (retry.max_attempts > 1).then_some(max_attempts),
        None => table.first_of(&how),
    };
    let Some((key, span)) = retries else {
        retry.max_attempts = 1;
        return Ok(());
    };
    let message = format!("`{key}` in [client.retry] and [client.hedging] exclude each other");
    Err(Problem::at(span, message).help(
        "a call either retries or hedges (gRPC A6): leave one table out, or write max_attempts = 1 in [client.retry]",
    ))
}

/// Refuses adaptive times that could never adapt: the fixed setting beside them leaves them no room.
pub(super) fn refuse_without_room(table: &TableReader<'_, '_>, client: &Client) -> Result<(), Problem> {
    let places = |name: &str| table.table(name).span("min").or(table.span(name));
    if let Some(timeout) = client.policies.adaptive_timeout.as_ref().filter(|it| it.min > client.attempt_timeout) {
        let [min, fixed] = [timeout.min, client.attempt_timeout].map(duration::text);
        let message = format!(
            "`min` of {min} in [client.adaptive_timeout] is over `attempt_timeout` of {fixed}, which is the longest: it would never adapt"
        );
        let help = "lower `min`, raise `attempt_timeout`, or leave [client.adaptive_timeout] out";
        return Err(Problem::new(places("adaptive_timeout"), message).help(help));
    }
    if let Some(hedging) = client.policies.adaptive_hedging.as_ref().filter(|it| it.min >= client.deadline) {
        let [min, deadline] = [hedging.min, client.deadline].map(duration::text);
        let message = format!(
            "`min` of {min} in [client.adaptive_hedging] is not under `deadline` of {deadline}: no other attempt would be sent"
        );
        let help = "lower `min`, raise `deadline`, or leave [client.adaptive_hedging] out";
        return Err(Problem::new(places("adaptive_hedging"), message).help(help));
    }
    Ok(())
}

/// Refuses limits of retries where there are none.
pub(super) fn refuse_idle(table: &TableReader<'_, '_>, client: &Client) -> Result<(), Problem> {
    let one_attempt = client.retry.max_attempts == 1 && client.policies.hedging.is_none();
    let bound = table.span("retry_budget").or(table.span("retry_throttling"));
    refuse_at(
        bound.filter(|_| one_attempt),
        "nothing to bound: max_attempts = 1 in [client.retry], and there is no [client.hedging]",
        "let calls retry or hedge, or leave this table out",
    )
}

/// Refuses policies that contradict each other.
pub(super) fn refuse(table: &TableReader<'_, '_>, client: &Client) -> Result<(), Problem> {
    let Client { policies, load_balancing, .. } = client;
    let stale = policies.fallback.as_ref().is_some_and(|fallback| fallback.kind == FallbackKind::Stale);
    refuse_at(
        table.span("fallback").filter(|_| stale && policies.cache.is_none()),
        "kind = \"stale\" in [client.fallback] needs [client.cache], which keeps the answers",
        "add the table [client.cache], or fall back to kind = \"default\"",
    )?;
    refuse_at(
        table.span("adaptive_throttling").filter(|_| policies.adaptive_concurrency.is_some()),
        "[client.adaptive_throttling] and [client.adaptive_concurrency] are two adaptive limits on the attempts of the client: what one \
         rejects is what the other measures by",
        "leave one of them out; a fixed limit beside it, such as [client.bulkhead], is no contradiction",
    )?;
    refuse_at(
        table.span("adaptive_hedging").filter(|_| policies.hedging.is_none()),
        "nothing to adapt: [client.adaptive_hedging] sets the delay of [client.hedging], which is off",
        "add the table [client.hedging], or leave this one out",
    )?;
    refuse_at(
        table.span("slow_start").filter(|_| *load_balancing == Balancing::PickFirst),
        "[client.slow_start] and policy = \"pick_first\" in [client.load_balancing] exclude each other",
        "pick_first sends all to one server: choose another policy, or leave the table out",
    )
}

/// Refuses faults of certificates in a scenario whose connections are not encrypted. `faults` are the items of `[[fault]]` in `file`.
pub(super) fn refuse_without_tls(
    scenario: &Scenario,
    file: &TableReader<'_, '_>,
    faults: &[TableReader<'_, '_>],
) -> Result<(), Problem> {
    if scenario.tls.is_some() {
        return Ok(());
    }
    let needs = |kind: &FaultName| kind.needs_tls();
    let scripted = scenario.faults.iter().map(|fault| FaultName::from(&fault.kind)).find(needs);
    let drawn = scenario.nemesis.iter().flat_map(|generator| generator.kinds.iter().copied()).find(needs);
    let Some(kind) = scripted.or(drawn) else { return Ok(()) };
    let of_item = |item: &TableReader<'_, '_>| item.span("kind").filter(|_| is_named(item, kind));
    let span = faults.iter().find_map(of_item).or_else(|| file.table("nemesis").span("kinds"));
    let message = format!("`{kind}` needs [tls]: connections that are not encrypted have no certificates");
    Err(Problem::new(span, message).help("add the table [tls], or leave the fault out"))
}

/// Refuses objectives of kinds of requests that the load has not.
pub(super) fn refuse_without_kind(scenario: &Scenario, file: &TableReader<'_, '_>) -> Result<(), Problem> {
    let kinds: Vec<&str> = scenario.load.request.iter().map(|kind| kind.name.as_str()).collect();
    let unknown = |slo: &&Slo| slo.request.as_deref().is_some_and(|request| !kinds.contains(&request));
    let Some((index, slo)) = scenario.slos.iter().enumerate().find(|(_, slo)| unknown(slo)) else { return Ok(()) };
    let items = file.list("slo", SLOS_MAX)?;
    let span = items.get(index).and_then(|item| item.span("request"));
    let message =
        format!("no [[load.request]] is called `{}`, whose requests would count", slo.request.as_deref().unwrap_or(""));
    let help = if kinds.is_empty() {
        "leave `request` out: the load has no kinds of requests, and all count".to_owned()
    } else {
        format!("the kinds are {}; without `request` all count", kinds.join(", "))
    };
    Err(Problem::new(span, message).help(help))
}

/// Refuses faults on the links of a service to one that it does not call.
pub(super) fn refuse_without_edge(scenario: &Scenario, faults: &[TableReader<'_, '_>]) -> Result<(), Problem> {
    for fault in &scenario.faults {
        let Some(caller) = fault.caller else { continue };
        let calls = |server: &usize| scenario.callers_of(*server).iter().any(|(of, _)| *of == caller);
        let Some(server) = fault.targets.iter().find(|server| !calls(server)) else { continue };
        let names = scenario.names();
        let from = names.caller(caller);
        let to = names.name(*server);
        let is_from = |item: &TableReader<'_, '_>| item.get("from").is_some_and(|text| is_string(text, &from));
        let span = faults.iter().find(|item| is_from(item)).and_then(|item| item.span("from"));
        let message = format!("`{from}` does not call `{to}`, so that there are no links for the fault");
        return Err(Problem::new(span, message).help("leave `from` out, or correct it or the `target`"));
    }
    Ok(())
}

/// Refuses services where the workload is not that of an app, and what a scenario with services does not have.
pub(super) fn refuse_without_app(scenario: &Scenario, file: &TableReader<'_, '_>) -> Result<(), Problem> {
    if !scenario.has_services() {
        return Ok(());
    }
    let services = file.list("service", SERVICES_MAX)?;
    let first = services.first().and_then(TableReader::own_span);
    if !matches!(scenario.workload, Workload::App(_)) {
        let message = format!("[[service]] needs an app, and the workload is \"{}\"", scenario.workload.name());
        return Err(Problem::new(first, message)
            .help("write kind = \"app\" in [workload], and play it with the program of your app"));
    }
    let clients = scenario.edges.iter().filter_map(|edge| edge.client.as_ref()).chain([&scenario.client]);
    let has_store = clients.flat_map(|client| &client.policies.cache).any(|cache| cache.store.is_some());
    refuse_at(
        first.clone().filter(|_| has_store),
        "[[service]] and a `store` of a cache exclude each other: the store is one of the load's client",
        "leave `store` out: the answers are then in the memory of each client",
    )?;
    refuse_at(
        file.table("client").span("service_config").and(first),
        "[[service]] and `service_config` exclude each other: which edge would it be for?",
        "write the policies in [client], or in the [edge.client] of an edge",
    )
}

/// Refuses partial answers of calls whose replies have no parts.
pub(super) fn refuse_without_parts(scenario: &Scenario, file: &TableReader<'_, '_>) -> Result<(), Problem> {
    let is_partial =
        scenario.client.policies.fallback.as_ref().is_some_and(|fallback| fallback.kind == FallbackKind::Partial);
    let has_parts = match &scenario.workload {
        Workload::Sobel(pictures) => pictures.tiles.is_some(),
        // Which methods stream is in its code.
        Workload::App(_) => true,
        Workload::Backend(_) | Workload::Dfs(_) => false,
    };
    let table = file.table("client").table("fallback");
    refuse_at(
        table.span("kind").filter(|_| is_partial && !has_parts),
        "kind = \"partial\" answers with the messages that have come, and each reply of this workload is one message",
        "add tiles = 8 to a [workload] of the kind `sobel`, or fall back to kind = \"stale\" or \"default\"",
    )
}

/// Refuses faults of the link to a store in a scenario whose client has none. `faults` are the items of `[[fault]]` in `file`.
pub(super) fn refuse_without_store(
    scenario: &Scenario,
    file: &TableReader<'_, '_>,
    faults: &[TableReader<'_, '_>],
) -> Result<(), Problem> {
    if scenario.client.policies.cache.as_ref().is_some_and(|cache| cache.store.is_some()) {
        return Ok(());
    }
    let help =
        "add store = \"redis://127.0.0.1:6379\" or store = \"builtin\" to [client.cache], or leave the fault out";
    if scenario.faults.iter().any(|fault| fault.targets.contains(&STORE)) {
        let names_store = |item: &Item<'_>| {
            one_or_more(item).is_ok_and(|names| names.iter().any(|name| name.get_ref() == store::NAME))
        };
        let of_item =
            |item: &TableReader<'_, '_>| item.span("target").filter(|_| item.get("target").is_some_and(names_store));
        let message = "there is no `store`: the cache of the client, if it has one, is in its memory";
        return Err(Problem::new(faults.iter().find_map(of_item), message).help(help));
    }
    let drawn = scenario.nemesis.as_ref().is_some_and(|generator| generator.store == Some(true));
    refuse_at(
        file.table("nemesis").span("store").filter(|_| drawn),
        "there is no store whose link a fault could hit: the cache of the client, if it has one, is in its memory",
        "add `store` to [client.cache], or leave this key out",
    )
}

/// Returns whether the item of `[[fault]]` has this kind.
fn is_named(item: &TableReader<'_, '_>, kind: FaultName) -> bool {
    item.get("kind").is_some_and(|text| is_string(text, kind.name()))
}

fn refuse_at(span: Option<Span>, message: &str, help: &str) -> Result<(), Problem> {
    match span {
        Some(span) => Err(Problem::at(span, message).help(help)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    fn message(client: &str) -> String {
        let text = format!("name = \"x\"\nduration = \"9s\"\nload = {{ rate = 1 }}\n{client}");
        Scenario::parse("x.toml", &text, &[]).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn a_time_that_could_never_adapt_is_refused_with_the_place_and_both_settings() {
        let timeout = message("[client]\nattempt_timeout = \"20ms\"\n[client.adaptive_timeout]\nmin = \"50ms\"\n");
        assert!(timeout.contains("x.toml:7:7") && timeout.contains("over `attempt_timeout` of 20ms"), "{timeout}");
        let default = message("[client]\nattempt_timeout = \"5ms\"\n[client.adaptive_timeout]\n");
        assert!(default.contains("`min` of 10ms") && default.contains("raise `attempt_timeout`"), "{default}");
        let late = "[client]\ndeadline = \"1s\"\n[client.hedging]\n[client.adaptive_hedging]\nmin = \"1s\"\n";
        assert!(message(late).contains("is not under `deadline` of 1s"), "{}", message(late));
        let alone = message("[client.adaptive_hedging]\n");
        assert!(alone.contains("nothing to adapt") && alone.contains("add the table [client.hedging]"), "{alone}");
        for right in ["[client.adaptive_timeout]\n", "[client.hedging]\n[client.adaptive_hedging]\n"] {
            assert_eq!(message(right), "");
        }
    }

    #[test]
    fn an_objective_of_a_kind_of_requests_needs_the_kind() {
        let slo = "[[slo]]\nname = \"a\"\nobjective = 0.9\nrequest = \"thumb\"\n";
        let none = message(slo);
        assert!(none.contains("x.toml:7:11") && none.contains("leave `request` out"), "{none}");
        let kinds = "[load]\nrate = 1\n[[load.request]]\nname = \"thumbnail\"\n[[load.request]]\nname = \"full\"\n";
        let parse = |slo: &str| {
            let text = format!("name = \"x\"\nduration = \"9s\"\n{kinds}{slo}");
            Scenario::parse("x.toml", &text, &[]).map_err(|error| error.to_string())
        };
        let other = parse(slo).unwrap_err();
        assert!(other.contains("is called `thumb`") && other.contains("the kinds are thumbnail, full"), "{other}");
        let known = parse(&slo.replace("thumb", "thumbnail")).unwrap();
        assert_eq!(known.slos[0].request.as_deref(), Some("thumbnail"));
    }

    #[test]
    fn a_fault_of_certificates_needs_tls() {
        let fault = "[[fault]]\nat = \"1s\"\nkind = \"certificate_expired\"\ntarget = \"server-0\"\n";
        let alone = message(fault);
        assert!(alone.contains("x.toml:6:8") && alone.contains("`certificate_expired` needs [tls]"), "{alone}");
        let drawn = message("[nemesis]\nkinds = [\"crash\", \"certificate_untrusted\"]\n");
        assert!(drawn.contains("`certificate_untrusted` needs [tls]"), "{drawn}");
        assert_eq!(message(&format!("[tls]\n{fault}")), "");
    }

    #[test]
    fn a_fault_of_the_link_to_a_store_needs_a_store_and_is_one_of_links() {
        let fault = "[[fault]]\nat = \"1s\"\nkind = \"reset\"\ntarget = \"store\"\nduration = \"1s\"\n";
        let alone = message(fault);
        assert!(alone.contains("x.toml:7:10") && alone.contains("store = \"builtin\""), "{alone}");
        let in_memory = message(&format!("[client.cache]\n{fault}"));
        assert!(in_memory.contains("is in its memory"), "{in_memory}");
        let with_store = format!("[client.cache]\nstore = \"builtin\"\n{fault}");
        assert_eq!(message(&with_store), "");
        let crash = message(&with_store.replace("reset", "crash").replace("duration", "restart_after"));
        assert!(crash.contains("cannot have the target `store`") && crash.contains("kind = \"reset\""), "{crash}");
        let listed = with_store.replace("\"store\"\nduration", "[\"store\", \"server-0\"]\nduration");
        assert_eq!(message(&listed), "");
        let drawn = message("[nemesis]\nstore = true\n");
        assert!(drawn.contains("no store whose link a fault could hit"), "{drawn}");
        assert_eq!(message("[client.cache]\nstore = \"builtin\"\n[nemesis]\nstore = true\n"), "");
    }

    #[test]
    fn keys_of_a_store_need_a_store_and_fit_the_ages_of_answers() {
        let alone = message("[client.cache]\nstore_timeout = \"1s\"\n");
        assert!(alone.contains("`store_timeout` is of a store") && alone.contains("add `store`"), "{alone}");
        let short = message("[client.cache]\nstore = \"builtin\"\nttl = \"2s\"\nstore_keep = \"1s\"\n");
        assert!(short.contains("`ttl + stale_while_revalidate` of 2s is over `store_keep` of 1s"), "{short}");
        let secret = message("[client.cache]\nstore = \"redis://:secret@localhost\"\n");
        assert!(
            secret.contains("a password is no part of a file") && secret.contains("REHEARSAL_STORE_PASSWORD"),
            "{secret}"
        );
    }

    #[test]
    fn partial_answers_need_replies_with_parts() {
        let fallback = "[client.fallback]\nkind = \"partial\"\n";
        let whole = message(fallback);
        assert!(whole.contains("x.toml:5:8") && whole.contains("add tiles = 8"), "{whole}");
        assert!(message(&format!("[workload]\nkind = \"dfs\"\n{fallback}")).contains("each reply of this workload"));
        assert_eq!(message(&format!("[workload]\ntiles = 8\n{fallback}")), "");
        assert_eq!(message(&format!("[workload]\nkind = \"app\"\n{fallback}")), "");
    }

    #[test]
    fn a_change_may_leave_an_adaptive_timeout_without_room() {
        let change =
            "[client.adaptive_timeout]\n[[change]]\nat = \"4s\"\nsetting = \"client.attempt_timeout\"\nto = \"5ms\"\n";
        assert_eq!(message(change), "");
    }
}
