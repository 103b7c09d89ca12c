//! Reflection: grpcio's client lists the services of ours, and a generic caller without .proto files calls one of them.

use serde_json::{Value, json};

use crate::{environment::peers, user::User};

#[test]
fn a_caller_without_proto_files_lists_the_services_and_calls_one() {
    let Some(peers) = peers() else { return };
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--failure-rate", "0", "--hang-rate", "0"]);
    let target = user.address("server-0").to_string();
    let output = peers.python("reflection.py", &[&peers.stubs(), &target]).output().expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let services = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "rehearsal.v1.Rehearsal"];
    assert_eq!(found["services"], json!(services));
    let methods = ["GetData", "GetMetrics", "HealthCheck", "ProcessImage", "ProcessImages", "SearchGraph"];
    assert_eq!(found["methods"], json!(methods));
    assert_eq!(found["data"], "data of the backend");
    let [files, list] = ["file_descriptor_response", "list_services_response"];
    assert_eq!(found["v1"], json!([list, files, files, "error_response"]));
}
