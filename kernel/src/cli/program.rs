//! The command that starts a program of this project from where the running one was started.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::quoted;

/// The names of the programs of this project.
const PROGRAMS: [&str; 3] = ["sim", "real", "reports"];

/// Returns the command that starts the program called `name` (`sim`, `real` or `reports`) from the current directory, quoted
/// for a POSIX shell.
///
/// It is `cargo run -p NAME --` if cargo started this program within its workspace, and otherwise the path or the name by
/// which this program was started, with `name` in place of its own. A program that plays an app has a name such as `shop-sim`, and then
/// `shop-real` is the one for `real`.
pub fn program(name: &str) -> String {
    Start::of_this_process().command(name)
}

/// Returns the path of the program that is `to`, `sim` or `real`, beside `program`, which is `from`: the name of an app's program has the
/// name of the app in front, as in `shop-sim`.
pub fn sibling(program: &Path, from: &str, to: &str) -> PathBuf {
    let file = program.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
    program.with_file_name(file.strip_suffix(from).map_or_else(|| to.to_owned(), |app| format!("{app}{to}")))
}

/// Returns the command that builds the program called `name`, for the way in which this one was built.
pub(super) fn build_command(name: &str) -> String {
    Start::of_this_process().build_command(name)
}

/// How a program was started.
#[derive(Default)]
struct Start {
    /// The program as it was named, which may be a path.
    program: PathBuf,
    /// The package that cargo runs, if cargo started the process or a parent of it.
    package: Option<OsString>,
    /// The folder of that package.
    package_folder: Option<PathBuf>,
    /// The current directory.
    folder: PathBuf,
}

impl Start {
    fn of_this_process() -> Self {
        Self {
            program: env::args_os().next().unwrap_or_default().into(),
            package: env::var_os("CARGO_PKG_NAME"),
            package_folder: env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from),
            folder: env::current_dir().unwrap_or_default(),
        }
    }

    fn command(&self, name: &str) -> String {
        let Some(own) = self.own_name() else { return name.to_owned() };
        if self.is_run_by_cargo() {
            let profile = if self.is_release() { " --release" } else { "" };
            return format!("cargo run{profile} -p {name} --");
        }
        let is_of_app = self.program.file_name().is_some_and(|file| file != own);
        if is_of_app && name == "reports" {
            // An app has no reports of its own.
            return name.to_owned();
        }
        quoted(&sibling(&self.program, own, name).to_string_lossy())
    }

    /// Returns which of the programs this one is, or is for an app, such as `sim` for `shop-sim`; `None` if it is another program.
    fn own_name(&self) -> Option<&'static str> {
        let file = self.program.file_name()?.to_str()?;
        let is_own =
            |name: &str| file.strip_suffix(name).is_some_and(|app| app.is_empty() || app.ends_with(['-', '_']));
        PROGRAMS.into_iter().find(|name| is_own(name))
    }

    fn build_command(&self, name: &str) -> String {
        // A program that was built in the workspace is in `target`, an installed one is not.
        if self.is_run_by_cargo() || self.program.components().any(|part| part.as_os_str() == "target") {
            let profile = if self.is_release() { " --release" } else { "" };
            return format!("cargo build{profile} -p {name}");
        }
        format!("cargo install --path {name}")
    }

    /// Returns true if `cargo run` works in the current directory and starts this program. A test that starts the program
    /// elsewhere has cargo's variables, too.
    fn is_run_by_cargo(&self) -> bool {
        let workspace = self.package_folder.as_deref().and_then(Path::parent);
        self.package.as_deref() == self.program.file_name()
            && workspace.is_some_and(|workspace| self.folder.starts_with(workspace))
    }

    fn is_release(&self) -> bool {
        self.program.parent().and_then(Path::file_name).is_some_and(|profile| profile == "release")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(program: &str) -> Start {
        Start { program: program.into(), folder: "/home/me/stories".into(), ..Start::default() }
    }

    fn cargo(package: &str, profile: &str, folder: &str) -> Start {
        Start {
            program: format!("target/{profile}/{package}").into(),
            package: Some("sim".into()),
            package_folder: Some("/home/me/project/sim".into()),
            folder: folder.into(),
        }
    }

    #[test]
    fn a_program_is_named_as_it_was_started() {
        assert_eq!(start("sim").command("sim"), "sim");
        assert_eq!(start("sim").command("real"), "real");
        assert_eq!(start("../target/debug/reports").command("sim"), "../target/debug/sim");
        assert_eq!(start("/opt/my tools/sim").command("sim"), "'/opt/my tools/sim'");
        assert_eq!(start("target/debug/deps/it-0123").command("sim"), "sim");
        assert_eq!(start("swim").command("sim"), "sim", "another program");
    }

    #[test]
    fn the_programs_of_an_app_are_named_after_it_and_reports_are_of_all() {
        assert_eq!(start("target/debug/shop-sim").command("sim"), "target/debug/shop-sim");
        assert_eq!(start("target/debug/shop-sim").command("real"), "target/debug/shop-real");
        assert_eq!(start("target/debug/shop-sim").command("reports"), "reports");
        for (real, sim) in [("a/real", "a/sim"), ("a/shop-real", "a/shop-sim"), ("a/shop", "a/sim")] {
            assert_eq!(sibling(Path::new(real), "real", "sim"), PathBuf::from(sim));
        }
    }

    #[test]
    fn a_program_is_built_as_the_running_one_was() {
        assert_eq!(start("sim").build_command("reports"), "cargo install --path reports");
        assert_eq!(start("target/release/sim").build_command("reports"), "cargo build --release -p reports");
        assert_eq!(cargo("sim", "debug", "/home/me/project").build_command("reports"), "cargo build -p reports");
    }

    #[test]
    fn cargo_is_named_where_it_can_run_the_program() {
        assert_eq!(cargo("sim", "debug", "/home/me/project").command("sim"), "cargo run -p sim --");
        assert_eq!(cargo("sim", "debug", "/home/me/project/scenarios").command("real"), "cargo run -p real --");
        assert_eq!(cargo("sim", "release", "/home/me/project").command("sim"), "cargo run --release -p sim --");
        assert_eq!(cargo("sim", "debug", "/home/me").command("sim"), "target/debug/sim");
        // Started by the tests of another package.
        assert_eq!(cargo("real", "debug", "/home/me/project").command("real"), "target/debug/real");
    }
}
