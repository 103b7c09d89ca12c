//! A file of results that stands alone, such as a minimised scenario: replaced only if this program wrote it.
//!
//! Its last line is a comment with a checksum of what is above. A file whose checksum is right was written by this program and
//! not changed since; any other file is somebody else's, and is replaced by force only.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    atomic,
    digest::sha256,
    files::Files,
    manifest::is_file,
    replace::{is_absent, parent_of},
};
use crate::visible::Visible;

/// The text before the checksum.
const LABEL: &str = "checksum of the lines above: ";

/// Largest file that is looked at, in bytes: this program writes none that is larger.
const BYTES_MAX: u64 = 64 << 20;

/// A file of text with comments.
#[derive(Debug, Clone, Copy)]
pub struct SingleFile<'a> {
    /// The path of the file.
    pub path: &'a Path,
    /// The start of a comment, such as `# `.
    pub comment: &'a str,
    /// True to replace whatever file is there.
    pub force: bool,
}

/// The reason why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SingleFileError {
    /// There is a file of somebody else.
    #[error(
        "{path} exists, and was not written by this program or was changed since; move it away, choose another with --out, or \
         replace it with --force",
        path = path.visible()
    )]
    Occupied {
        /// The path of the file.
        path: PathBuf,
    },
    /// There is something that is no file.
    #[error("{path} is {what}; name a file with --out", path = path.visible())]
    NotAFile {
        /// The path of it.
        path: PathBuf,
        /// The kind of the thing there, such as `a directory`.
        what: &'static str,
    },
    /// The operating system refuses to write.
    #[error("cannot write {path}: {reason}; choose another file with --out", path = path.visible())]
    Unwritable {
        /// The path of the file.
        path: PathBuf,
        /// The operating system's words.
        #[source]
        reason: io::Error,
    },
}

impl SingleFile<'_> {
    /// Checks that the file may be written, and removes what killed processes left of it. Meant for before the work whose result
    /// the file is; nothing is created.
    ///
    /// # Errors
    ///
    /// Returns an error if there is something else, or the operating system refuses.
    pub fn prepare(&self, files: &dyn Files) -> Result<(), SingleFileError> {
        self.check()?;
        let folders = self.path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let created: Vec<_> = folders.take_while(|folder| !folder.is_dir()).collect();
        if let Some(folder) = created.first() {
            files.create_folder(folder).map_err(self.unwritable())?;
            // It was possible, which is enough to know: the work may have no result.
            return created.iter().try_for_each(|folder| files.remove_empty_folder(folder)).map_err(self.unwritable());
        }
        let target = self.target();
        let name = target.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let removed = atomic::remove_of_ended(files, parent_of(&target), |file| file == name);
        removed.map_err(self.unwritable())
    }

    fn create_folder(&self, files: &dyn Files) -> Result<(), SingleFileError> {
        self.check()?;
        let folder = parent_of(self.path);
        if folder.is_dir() { Ok(()) } else { files.create_folder(folder).map_err(self.unwritable()) }
    }

    /// Writes `text` and its checksum to the file, in one step: a reader sees the old content or the new one. Returns what was
    /// written.
    ///
    /// # Errors
    ///
    /// Returns an error if something else has come there, or the operating system refuses; the file is then as it was.
    pub fn write(&self, files: &dyn Files, text: &str) -> Result<String, SingleFileError> {
        self.create_folder(files)?;
        let text = self.with_checksum(text);
        atomic::write(files, &self.target(), text.as_bytes()).map_err(self.unwritable())?;
        Ok(text)
    }

    fn check(&self) -> Result<(), SingleFileError> {
        let path = self.target();
        let occupied = |what| SingleFileError::NotAFile { path: self.path.to_owned(), what };
        if path.is_dir() {
            return Err(occupied("a folder"));
        }
        if is_absent(&path) {
            return Ok(());
        }
        // A device or a FIFO, such as /dev/stdout, cannot be replaced as a whole.
        if !is_file(&path) {
            return Err(occupied("not a file"));
        }
        if self.force || self.is_ours(&path).map_err(self.unwritable())? {
            return Ok(());
        }
        Err(SingleFileError::Occupied { path: self.path.to_owned() })
    }

    /// Returns the path with links resolved, so that a link goes on pointing to the file.
    fn target(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.to_owned())
    }

    fn is_ours(&self, path: &Path) -> io::Result<bool> {
        let mut content = Vec::new();
        File::open(path)?.take(BYTES_MAX).read_to_end(&mut content)?;
        let Ok(content) = String::from_utf8(content) else { return Ok(false) };
        let lines = content.strip_suffix('\n').unwrap_or_default();
        let above = lines.rfind('\n').map_or("", |end| &lines[..=end]);
        // An empty file, which a user may have created to say where the result goes, holds nothing to lose.
        Ok(content.is_empty() || content == self.with_checksum(above))
    }

    fn with_checksum(&self, text: &str) -> String {
        let ended = if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        let hash = sha256(ended.as_bytes());
        format!("{ended}{comment}{LABEL}{hash}\n", comment = self.comment)
    }

    fn unwritable(&self) -> impl FnOnce(io::Error) -> SingleFileError + use<> {
        let path = self.path.to_owned();
        move |reason| SingleFileError::Unwritable { path, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::files::{OsFiles, failing::FailingFiles},
        *,
    };

    fn file(path: &Path, force: bool) -> SingleFile<'_> {
        SingleFile { path, comment: "# ", force }
    }

    #[test]
    fn a_file_is_replaced_unless_it_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/shrunk.toml");
        for text in ["a = 1\n", "a = 2", ""] {
            let written = file(&path, false).write(&OsFiles, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), written);
            assert!(
                written.starts_with(text) && written.lines().last().unwrap().starts_with("# checksum"),
                "{written}"
            );
        }
        file(&path, false).write(&OsFiles, "a = 2\nb = 3\n").unwrap();
        let changed = fs::read_to_string(&path).unwrap().replace("b = 3", "b = 4");
        for other in [&*changed, "a = 2\n", "years of work", &format!("{changed}more\n")] {
            fs::write(&path, other).unwrap();
            assert!(matches!(file(&path, false).prepare(&OsFiles), Err(SingleFileError::Occupied { .. })), "{other}");
            assert!(
                matches!(file(&path, false).write(&OsFiles, "a"), Err(SingleFileError::Occupied { .. })),
                "{other}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        file(&path, true).write(&OsFiles, "a = 5\n").unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("a = 5\n"));
    }

    #[test]
    fn a_file_of_this_program_with_other_comments_is_not_the_same_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page");
        SingleFile { comment: ".\\\" ", ..file(&path, false) }.write(&OsFiles, ".TH sim 1").unwrap();
        assert!(file(&path, false).prepare(&OsFiles).is_err());
    }

    #[test]
    fn what_is_no_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/dev/null")] {
            for force in [false, true] {
                let error = file(path, force).write(&OsFiles, "a").unwrap_err();
                assert!(matches!(error, SingleFileError::NotAFile { .. }), "{error}");
            }
        }
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        let below = folder.path().join("thesis.txt/shrunk.toml");
        assert!(matches!(file(&below, true).write(&OsFiles, "a"), Err(SingleFileError::Unwritable { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_goes_on_pointing_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shrunk.toml");
        let link = folder.path().join("latest.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        file(&path, false).write(&OsFiles, "a = 1\n").unwrap();
        file(&link, false).write(&OsFiles, "a = 2\n").unwrap();
        assert!(link.is_symlink());
        assert!(fs::read_to_string(&path).unwrap().starts_with("a = 2\n"));
    }

    #[test]
    fn a_process_that_stops_at_any_call_leaves_the_old_content_or_the_new() {
        for calls in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("shrunk.toml");
            let old = file(&path, false).write(&OsFiles, "a = 1\n").unwrap();
            let files = FailingFiles::stopping_at(calls);
            let written = file(&path, false).write(&*files, "a = 2\n");
            let content = fs::read_to_string(&path).unwrap();
            assert!(content == old || content.starts_with("a = 2\n"), "stopped at call {calls}: {content}");
            if !files.has_stopped() {
                written.unwrap();
                assert!(calls > 3, "only {calls} calls");
                break;
            }
        }
    }
}
