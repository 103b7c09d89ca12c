//! The token of this process: what its servers demand of each call, and what its calls contain.
//!
//! It comes from the environment and not from the command line, which every user of the machine can read: `REHEARSAL_TOKEN` is
//! the token, `REHEARSAL_TOKEN_FILE` the path of a file with it, which belongs to the user alone.

use std::{
    env,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kernel::{
    visible::Visible,
    world::{Token, TokenError},
};
use rustix::{
    fs::{Mode, OFlags, open},
    process::geteuid,
};

/// The environment variable with the token.
pub(crate) const VARIABLE: &str = "REHEARSAL_TOKEN";

/// The environment variable with the path of the token's file.
pub(crate) const FILE_VARIABLE: &str = "REHEARSAL_TOKEN_FILE";

/// Largest file with a token, in bytes.
const FILE_BYTES_MAX: u64 = 1024;

static TOKEN: OnceLock<Option<Token>> = OnceLock::new();

/// A token that cannot be used. No message contains any of it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidToken {
    /// The value of `REHEARSAL_TOKEN` is no token.
    #[error("{VARIABLE}: {0}; make one with `openssl rand -hex 16`")]
    Value(#[source] TokenError),
    /// Both variables are set.
    #[error("{VARIABLE} and {FILE_VARIABLE} are both set; unset one of them")]
    Both,
    /// The file cannot be read.
    #[error("{FILE_VARIABLE}: {path}: {reason}", path = path.visible())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        reason: io::Error,
    },
    /// Other users could read or replace the file.
    #[error("{FILE_VARIABLE}: {path}: {what}", path = .0.visible(), what = .1)]
    Unsafe(PathBuf, &'static str),
    /// The file contains no token.
    #[error("{FILE_VARIABLE}: {path}: {reason}; make one with `openssl rand -hex 16`", path = path.visible())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The mistake in the content.
        #[source]
        reason: TokenError,
    },
}

/// Reads the token of this process from the environment. Without a call, and without a variable, it has none.
///
/// # Errors
///
/// Returns an error if there is a token that cannot be used, or a file that other users could read.
pub fn load() -> Result<(), InvalidToken> {
    let token = from_environment()?;
    // Set already by an earlier call, and the environment is still the same.
    let _ = TOKEN.set(token);
    Ok(())
}

/// The token of this process, if it has one.
pub(crate) fn of_process() -> Option<&'static Token> {
    TOKEN.get().and_then(Option::as_ref)
}

fn from_environment() -> Result<Option<Token>, InvalidToken> {
    match [VARIABLE, FILE_VARIABLE].map(|variable| env::var_os(variable).filter(|value| !value.is_empty())) {
        [None, None] => Ok(None),
        [Some(_), Some(_)] => Err(InvalidToken::Both),
        [Some(value), None] => Token::new(&value.to_string_lossy()).map(Some).map_err(InvalidToken::Value),
        [None, Some(path)] => from_file(Path::new(&path)).map(Some),
    }
}

fn from_file(path: &Path) -> Result<Token, InvalidToken> {
    let unreadable = |reason: io::Error| InvalidToken::Unreadable { path: path.to_owned(), reason };
    // A FIFO is opened at once with NONBLOCK, and rejected below: it would hang until someone writes.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?);
    let found = file.metadata().map_err(unreadable)?;
    let wrong = match found {
        _ if !found.is_file() => Some("it is no file"),
        _ if found.uid() != geteuid().as_raw() => Some("it belongs to another user"),
        _ if found.mode() & 0o77 != 0 => Some("other users can open it; run `chmod 600` on it"),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(InvalidToken::Unsafe(path.to_owned(), wrong));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Token::new(text.trim_end()).map_err(|reason| InvalidToken::File { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_is_the_users_alone_and_contains_one_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let with = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            from_file(&path).map_err(|error| error.to_string())
        };
        assert_eq!(with("0123456789abcdef\n", 0o600).unwrap().reveal(), "0123456789abcdef");
        for mode in [0o640, 0o604, 0o660] {
            assert!(with("0123456789abcdef", mode).unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        for text in ["", "short", "0123456789abcdef 0123456789abcdef", "0123456789abcdef\n0123456789abcdef\n"] {
            let error = with(text, 0o600).unwrap_err();
            assert!(error.contains("16 to 256 characters") && (text.is_empty() || !error.contains(text)), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_rejected_without_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for path in [&fifo, directory.path(), Path::new("/dev/zero")] {
            assert!(matches!(from_file(path), Err(InvalidToken::Unsafe(..))), "{}", path.display());
        }
        assert!(matches!(from_file(&directory.path().join("none")), Err(InvalidToken::Unreadable { .. })));
    }
}
