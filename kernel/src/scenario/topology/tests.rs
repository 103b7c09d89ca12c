use std::time::Duration;

use super::*;

const SHOP: &str = r#"
name = "shop"
duration = "9s"
workload = { kind = "app" }
load = { rate = 1 }
network = { latency = "1ms" }

[[service]]
name = "stock"
replicas = 3
restart_after = "2s"
admission = { max_queue_time = "50ms" }

[[service]]
name = "gateway"
workers = 9

[[edge]]
from = "client"
to = "gateway"

[[edge]]
from = "gateway"
to = "stock"
propagate_deadline = false
client = { attempt_timeout = "200ms", retry = { max_attempts = 2 } }
network = { latency = "5ms" }

[[fault]]
at = "1s"
kind = "crash"
target = "stock"

[[fault]]
at = "2s"
kind = "delay"
target = ["gateway-1", "stock-2"]
latency = "3ms"

[[fault]]
at = "3s"
kind = "partition"
target = "stock-0"
from = "gateway"
duration = "1s"
"#;

fn parse(text: &str, settings: &[&str]) -> Result<Scenario, String> {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    Scenario::parse("shop.toml", text, &settings).map_err(|error| error.to_string())
}

#[test]
fn servers_are_numbered_from_the_service_that_the_load_calls() {
    let scenario = parse(SHOP, &[]).unwrap();
    let names = ["gateway-0", "gateway-1", "stock-0", "stock-1", "stock-2"];
    assert_eq!(scenario.server_names().collect::<Vec<_>>(), names);
    assert_eq!(scenario.entry_names(), names[..2]);
    assert_eq!((scenario.servers.workers, scenario.servers_of(3).replicas), (9, 3));
    assert_eq!(scenario.faults[0].targets, [2, 3, 4]);
    assert_eq!(scenario.faults[1].targets, [1, 4]);
    assert_eq!(scenario.faults[0].kind.lasts(), Some(Duration::from_secs(2)), "the restart of the service");
    assert_eq!(scenario.start_order(), [vec![2, 3, 4], vec![0, 1]]);
    let latencies = |server| -> Vec<_> {
        let callers = scenario.callers_of(server).into_iter();
        callers.map(|(caller, network)| (caller, network.latency.as_millis())).collect()
    };
    assert_eq!(latencies(0), [(Caller::Load, 1)]);
    assert_eq!(latencies(4), [(Caller::Service(0), 5)]);
}

#[test]
fn services_and_edges_are_the_same_after_a_round_trip() {
    let scenario = parse(SHOP, &["edge.1.client.hedging=50ms", "edge.1.client.retry.max_attempts=1"]).unwrap();
    let text = scenario.to_toml();
    assert!(text.matches("from = \"gateway\"").count() == 2, "that of the edge and that of the fault: {text}");
    assert!(!text.contains("[servers]") && text.contains("target = [\"gateway-1\", \"stock-2\"]"), "{text}");
    assert_eq!(parse(&text, &[]).unwrap(), scenario);
    let client = scenario.edges[1].client.as_ref().unwrap();
    assert!(client.policies.hedging.is_some() && client.attempt_timeout == Duration::from_millis(200));
    assert!(scenario.edges[0].client.is_none());
}

#[test]
fn a_server_is_removed_from_its_service() {
    let mut scenario = parse(SHOP, &[]).unwrap();
    assert!(scenario.remove_server(4) && scenario.remove_server(1));
    assert_eq!(scenario.server_names().collect::<Vec<_>>(), ["gateway-0", "stock-0", "stock-1"]);
    assert!(!scenario.remove_server(0), "it is the last one");
    assert_eq!(scenario.servers.replicas, 1);
}

#[test]
fn what_is_wrong_with_services_is_said_with_place_and_remedy() {
    let changed = |from: &str, to: &str| parse(&SHOP.replacen(from, to, 1), &[]).unwrap_err();
    for (from, to, message, remedy) in [
        ("name = \"stock\"", "name = \"Stock\"", "cannot be the name of a service", "a small letter"),
        ("name = \"stock\"", "name = \"client\"", "`client` is the load", "another name"),
        ("name = \"stock\"", "name = \"gateway\"", "there are two services `gateway`", "`replicas`"),
        ("to = \"stock\"", "to = \"stok\"", "no service `stok`; did you mean `stock`?", "`gateway`"),
        ("from = \"client\"", "from = \"stock\"", "no edge says which service the load calls", "[[edge]]"),
        ("replicas = 3", "replicas = 999", "1001 replicas together", "lower `replicas`"),
        ("[[service]]", "[servers]\nworkers = 2\n[[service]]", "[servers] and [[service]]", "move the keys"),
        ("kind = \"app\"", "kind = \"dfs\"", "[[service]] needs an app", "kind = \"app\""),
        ("target = \"stock\"", "target = \"server-0\"", "no server `server-0`", "`gateway-0` to `stock-2`"),
        ("target = \"stock\"", "target = [\"stock\", \"stock-1\"]", "in the list already", "leave one out"),
        ("target = \"stock\"", "target = [\"stock-0\", \"gateway-0\"]", "several `restart_after`", "here"),
        (
            "to = \"gateway\"",
            "to = \"gateway\"\nnetwork = { latency = \"1ms\" }",
            "no `network` of its own",
            "[network]",
        ),
    ] {
        let said = changed(from, to);
        assert!(said.contains(message) && said.contains(remedy), "{to}: {said}");
        assert!(said.contains("shop.toml:"), "{said}");
    }
    for (fault, message) in [
        ("kind = \"crash\"\ntarget = \"stock\"\nfrom = \"gateway\"", "a `crash` fault is one of a process"),
        ("kind = \"reset\"\ntarget = \"stock\"\nfrom = \"stok\"", "there is no service `stok`"),
        ("kind = \"reset\"\ntarget = \"stock\"\nfrom = \"client\"", "`client` does not call `stock-0`"),
    ] {
        let said = parse(&format!("{SHOP}[[fault]]\nat = \"1s\"\n{fault}\n"), &[]).unwrap_err();
        assert!(said.contains(message) && said.contains("shop.toml:"), "{said}");
    }
    let lone =
        parse("name = \"x\"\nduration = \"1s\"\nload = { rate = 1 }\n[[edge]]\nfrom = \"client\"\nto = \"a\"\n", &[]);
    assert!(lone.unwrap_err().contains("there is no [[service]]"));
    let circle = format!("{SHOP}[[edge]]\nfrom = \"stock\"\nto = \"gateway\"\n");
    assert!(parse(&circle, &[]).unwrap_err().contains("call each other in a circle"));
    let uncalled = format!("{SHOP}[[service]]\nname = \"cart\"\n");
    assert!(parse(&uncalled, &[]).unwrap_err().contains("no edge leads to the service `cart`"));
    let second = format!("{SHOP}[[edge]]\nfrom = \"client\"\nto = \"stock\"\n");
    assert!(parse(&second, &[]).unwrap_err().contains("the load calls one service"));
}
