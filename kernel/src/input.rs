//! Files that a user names as input: scenarios, service configs, calibrations, documents of run folders.
//!
//! A regular file is read, and so is a pipe, which is what `<(command)` and a `/dev/stdin` behind a `|` are. Everything else
//! is refused: directories, devices such as `/dev/zero`, sockets. Reading is bounded: in bytes, and by the time that a pipe
//! without a writer may keep it waiting.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::OFlags,
};

/// The most bytes of an input that is read as a whole.
pub const BYTES_MAX: u64 = 16 << 20;

/// The time in seconds that a pipe may go without a byte.
const SILENCE_MAX_S: i64 = 5;

/// An input that is being read.
#[derive(Debug)]
pub struct Input {
    file: File,
    is_pipe: bool,
}

impl Input {
    /// Opens the file or pipe at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error if `path` is neither, or the operating system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Looked at first, because opening a device may do something.
        kind(fs::metadata(path)?.file_type())?;
        // Without this flag, opening a pipe waits for its writer.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
        let kind = kind(file.metadata()?.file_type())?;
        Ok(Self { file, is_pipe: kind == Kind::Pipe })
    }
}

/// Opens the regular file at `path`, which may be larger than memory: rows and logs, which are read at several places at once or in
/// several passes. The reader bounds what is in memory.
///
/// # Errors
///
/// Returns an error if `path` is something else, or the operating system refuses.
///
/// ```
/// use kernel::input;
///
/// assert!(input::open_file("../scenarios/crash.toml".as_ref()).is_ok());
/// assert!(input::open_file("/dev/zero".as_ref()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn open_file(path: &Path) -> io::Result<File> {
    let input = Input::open(path)?;
    if input.is_pipe {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe; name a file in its place"));
    }
    Ok(input.file)
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_pipe {
                wait(&self.file)?;
            }
            match self.file.read(buffer) {
                // Another reader of the pipe was faster.
                Err(error) if self.is_pipe && error.kind() == io::ErrorKind::WouldBlock => {}
                // A file of the kernel that has nothing to say, such as its log, is no input.
                read => return read,
            }
        }
    }
}

/// Waits until a pipe has bytes or has ended.
fn wait(pipe: &File) -> io::Result<()> {
    let time = Timespec { tv_sec: SILENCE_MAX_S, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&time)) {
            Ok(0) => {
                let message = format!("nothing has come out of the pipe for {SILENCE_MAX_S} s; name a file instead");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The kinds of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Pipe,
}

fn kind(found: FileType) -> io::Result<Kind> {
    let (error, what) = if found.is_file() {
        return Ok(Kind::Regular);
    } else if found.is_fifo() {
        return Ok(Kind::Pipe);
    } else if found.is_dir() {
        (io::ErrorKind::IsADirectory, "a directory")
    } else if found.is_socket() {
        (io::ErrorKind::InvalidInput, "a socket")
    } else {
        (io::ErrorKind::InvalidInput, "a device")
    };
    Err(io::Error::new(error, format!("it is {what}; name a file in its place")))
}

/// Reads the whole input at `path`, at most [`BYTES_MAX`] bytes.
///
/// # Errors
///
/// Returns an error if the input is longer, is no file and no pipe, or cannot be read. Its message completes "cannot read it:".
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, BYTES_MAX)
}

/// Like [`read`], with another bound on the bytes.
///
/// # Errors
///
/// Returns the errors of [`read`].
pub fn read_within(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let input = Input::open(path)?;
    let length = input.file.metadata()?.len();
    let mut bytes = Vec::new();
    // A file may grow while it is read, and some of the kernel's say that they are empty.
    if length > most || input.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        let message = format!("it has more than {most} bytes, which no such file needs");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Reads the whole input at `path` as UTF-8, at most [`BYTES_MAX`] bytes.
///
/// # Errors
///
/// Returns the errors of [`read`], and one for bytes that are not UTF-8.
///
/// ```
/// use kernel::input;
///
/// assert!(input::read_text("../scenarios/crash.toml".as_ref())?.contains("[[fault]]"));
/// assert!(input::read_text("/dev/zero".as_ref()).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_text(path: &Path) -> io::Result<String> {
    read_text_within(path, BYTES_MAX)
}

/// Like [`read_text`], with another bound on the bytes.
///
/// # Errors
///
/// Returns the errors of [`read_text`].
pub fn read_text_within(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_within(path, most)?).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8 text at byte {position}; save it as UTF-8"))
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, process::Command};

    use super::*;

    fn refused(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn only_files_and_pipes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "content").unwrap();
        assert_eq!(read_text(&file).unwrap(), "content");
        assert_eq!(refused(folder.path()), "it is a directory; name a file in its place");
        for device in ["/dev/zero", "/dev/random", "/dev/null"] {
            assert_eq!(refused(Path::new(device)), "it is a device; name a file in its place");
        }
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(refused(&socket), "it is a socket; name a file in its place");
        assert_eq!(read(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Where a file is needed, it is refused, and not waited for.
        assert_eq!(open_file(&pipe).unwrap_err().to_string(), "it is a pipe; name a file in its place");
        let mut writer =
            Command::new("sh").arg("-c").arg("echo from a pipe > pipe").current_dir(&folder).spawn().unwrap();
        assert_eq!(read_text(&pipe).unwrap(), "from a pipe\n");
        writer.wait().unwrap();
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, [b'x'; 100]).unwrap();
        assert_eq!(read_within(&file, 100).unwrap().len(), 100);
        let error = read_within(&file, 99).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 99 bytes, which no such file needs");
        // A file without content takes no space, however long it is.
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused(&file), format!("it has more than {BYTES_MAX} bytes, which no such file needs"));
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"ab\xff").unwrap();
        assert_eq!(read_text(&file).unwrap_err().to_string(), "not UTF-8 text at byte 2; save it as UTF-8");
    }
}
