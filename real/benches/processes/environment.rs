//! Python with packages that benchmarks compare with.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A virtual environment in which Python finds `modules`, made of `requirements` once, in cargo's target folder; its
/// interpreter.
///
/// # Errors
/// What is missing, if it cannot be made.
pub(crate) fn environment(modules: &str, requirements: &Path) -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-{}", env!("CARGO_PKG_NAME")));
    let interpreter = place.join("bin/python");
    if !runs(Command::new(&interpreter).args(["-c", &format!("import {modules}")])) {
        eprintln!("installing {} into {}", requirements.display(), place.display());
        if !runs(Command::new("python3").args(["-m", "venv"]).arg(&place)) {
            return Err("there is no python3 with venv; install Python 3.9 or later".to_owned());
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        if !runs(Command::new(&interpreter).args(pip).arg(requirements)) {
            return Err(format!("pip cannot install {}", requirements.display()));
        }
    }
    Ok(interpreter)
}

fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|ended| ended.success())
}
