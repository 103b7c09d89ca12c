//! What `real doctor` says of the machine that the tests run on.

use crate::command::command_of;

#[test]
fn a_host_that_runs_these_tests_can_play_scenarios() {
    let output = command_of(env!("CARGO_BIN_EXE_real")).arg("doctor").output().expect("the program starts");
    let said = String::from_utf8(output.stdout).expect("it is text");
    assert!(output.status.success(), "{said}");
    for subject in ["✓ signals", "✓ loopback", "✓ open files", "✓ processes", "cores", "✓ tc netem"] {
        assert!(said.contains(subject), "nothing on `{subject}`:\n{said}");
    }
}
