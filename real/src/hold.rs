//! A scenario as a test: an app holds on real processes what the scenario expects.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use kernel::{app::Broken, cli::without_variables, scenario::Scenario, visible::Visible};

/// Plays `scenario` once with `seed` on real processes, by `program`, whose `main` calls [`main`](crate::main) with the app; in a test of
/// cargo it is `env!("CARGO_BIN_EXE_NAME")`. It holds if the run passes.
///
/// # Errors
///
/// Returns what the program prints if the run does not pass, with the command that plays it again and the run folder, which is in `runs/`.
/// The error of a run that is not trusted, as the machine was too busy, says so.
///
/// ```
/// let text = "name = \"steady\"\nduration = \"1s\"\n[workload]\nkind = \"app\"\n[load]\nrate = 5\n";
/// let scenario = real::Scenario::parse("steady.toml", text, &[])?;
/// let broken = real::hold(&scenario, "/no/such/program".as_ref(), 1).unwrap_err().to_string();
/// assert!(broken.starts_with("/no/such/program cannot be started"), "{broken}");
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
pub fn hold(scenario: &Scenario, program: &Path, seed: u64) -> Result<(), Broken> {
    let cannot = |what: &str, error: &io::Error| Broken(format!("{} cannot be {what}: {error}", program.visible()));
    let folder = tempfile::tempdir().map_err(|error| cannot("given its scenario", &error))?;
    let file = folder.path().join(&scenario.name).with_extension("toml");
    fs::write(&file, scenario.to_toml()).map_err(|error| cannot("given its scenario", &error))?;
    let mut command = Command::new(program);
    without_variables(&mut command);
    command.arg("run").arg(&file).args(["--plain", "--seed", &seed.to_string()]).stdin(Stdio::null());
    let ended = command.output().map_err(|error| cannot("started", &error))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stdout);
    let progress = String::from_utf8_lossy(&ended.stderr);
    // What it prints while it plays is of use only if there is no report.
    let report = if said.trim().is_empty() { progress } else { said };
    Err(Broken(format!("{} ended with {}:\n{report}", program.visible(), ended.status)))
}
