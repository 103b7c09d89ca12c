//! Standard output of a process of a run, as a queue that never delays it.
//!
//! A report goes straight into the pipe to the orchestrator: a process that is killed after that has sent it. Only while the
//! pipe is full, as the orchestrator is stopped or waits for its disk, reports wait here, and a thread sends them on.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use kernel::sync::{ignore_poison, lock};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat},
    io::Errno,
};

/// Bytes that may wait: a minute of some hundred requests per second. Beyond that, each sender waits, too.
const BYTES_MAX: usize = 64 << 20;

/// A queue in front of a pipe.
#[derive(Debug)]
pub(crate) struct Outbox<P> {
    pipe: P,
    waiting: Mutex<VecDeque<u8>>,
    /// Notified when bytes wait.
    filled: Condvar,
    /// Notified when bytes have been sent.
    emptied: Condvar,
}

impl<P: AsFd + Send + Sync + 'static> Outbox<P> {
    /// Starts the thread of a queue in front of `pipe`, which does not block from now on.
    pub(crate) fn start(pipe: P) -> io::Result<Arc<Self>> {
        // The setting belongs to all holders of a file, such as the shell of a terminal. A pipe is this process's alone.
        if FileType::from_raw_mode(fstat(&pipe)?.st_mode) == FileType::Fifo {
            fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?;
        }
        let waiting = Mutex::default();
        let outbox = Arc::new(Self { pipe, waiting, filled: Condvar::new(), emptied: Condvar::new() });
        let queue = outbox.clone();
        thread::Builder::new().name("reports".to_owned()).spawn(move || queue.send_waiting())?;
        Ok(outbox)
    }

    /// Sends bytes behind all earlier ones.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.is_empty();
        waiting.extend(bytes);
        if is_first {
            self.write(&mut waiting);
        }
        if !waiting.is_empty() {
            self.filled.notify_one();
        }
        while waiting.len() > BYTES_MAX {
            waiting = self.wait_for(&self.emptied, waiting);
        }
    }

    /// Waits until nothing waits any more.
    pub(crate) fn flush(&self) {
        let mut waiting = lock(&self.waiting);
        while !waiting.is_empty() {
            waiting = self.wait_for(&self.emptied, waiting);
        }
    }

    fn wait_for<'a>(&self, change: &Condvar, waiting: MutexGuard<'a, VecDeque<u8>>) -> MutexGuard<'a, VecDeque<u8>> {
        ignore_poison(change.wait(waiting))
    }

    /// Writes what the pipe takes now.
    fn write(&self, waiting: &mut VecDeque<u8>) {
        while !waiting.is_empty() {
            match rustix::io::write(&self.pipe, waiting.as_slices().0) {
                Ok(count) => drop(waiting.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The orchestrator has ended, and the operating system is about to kill this process.
                Err(_) => waiting.clear(),
            }
        }
        self.emptied.notify_all();
    }

    fn send_waiting(&self) {
        loop {
            let mut waiting = lock(&self.waiting);
            while waiting.is_empty() {
                waiting = self.wait_for(&self.filled, waiting);
            }
            drop(waiting);
            // Not under the lock: reports come meanwhile. An error, if any, is found by the write.
            let _ = poll(&mut [PollFd::new(&self.pipe, PollFlags::OUT)], None);
            let mut waiting = lock(&self.waiting);
            self.write(&mut waiting);
            self.emptied.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_full_pipe_delays_no_sender_and_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        let outbox = Outbox::start(writer).unwrap();
        // No pipe is that large, and as long as nothing reads, a sender that waits would wait for ever.
        let lines: Vec<String> = (0..200_000).map(|line| format!("line {line}\n")).collect();
        lines.iter().for_each(|line| outbox.send(line.as_bytes()));
        let all = lines.concat();
        let mut read = vec![0; all.len()];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(read, all.as_bytes());
        outbox.flush();
        outbox.send(b"more\n");
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"more\n");
    }

    #[test]
    fn without_a_reader_nothing_waits() {
        let (reader, writer) = io::pipe().unwrap();
        let outbox = Outbox::start(writer).unwrap();
        drop(reader);
        outbox.send(b"to nowhere\n");
        outbox.flush();
    }
}
