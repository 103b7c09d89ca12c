//! What hostile peers do, kind by kind.

use std::{
    io::{self, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, call, frame, header, message,
};

#[expect(clippy::disallowed_types, reason = "a client that is not ours")]
type Socket = std::net::TcpStream;

/// Time between two bytes of a peer that is slow on purpose.
const TRICKLE: Duration = Duration::from_millis(200);

/// A connection to the server, until the attacks are over.
pub(crate) struct Victim<'a> {
    pub(crate) socket: Socket,
    pub(crate) over: &'a AtomicBool,
    /// Floods pause between two writes, so that they do not take the processor time of other tests.
    pub(crate) is_paced: bool,
}

impl Victim<'_> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.over.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.socket.write_all(bytes)
    }

    /// Sends the same bytes until the server closes the connection, 16 KiB at a time.
    fn flood(&mut self, bytes: &[u8]) -> io::Result<()> {
        let many = bytes.repeat(16 * 1024 / bytes.len() + 1);
        loop {
            self.send(&many)?;
            if self.is_paced {
                crate::child::pause();
            }
        }
    }

    /// Sends byte by byte.
    fn trickle(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            self.send(&[*byte])?;
            self.wait()?;
        }
        Ok(())
    }

    /// Keeps the connection without a byte, and reads nothing.
    fn hold(&mut self) -> io::Result<()> {
        while !self.over.load(Ordering::Relaxed) {
            crate::child::pause();
        }
        Ok(())
    }

    /// Waits for the time of [`TRICKLE`], and fails if the server has closed the connection.
    fn wait(&mut self) -> io::Result<()> {
        self.socket.set_read_timeout(Some(TRICKLE))?;
        match self.socket.read(&mut [0; 1024]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            read => read.map(|_| crate::child::pause()),
        }
    }

    /// Begins HTTP/2 with these settings, as names and values.
    fn greet(&mut self, settings: &[(u16, u32)]) -> io::Result<()> {
        let settings = settings
            .iter()
            .flat_map(|(name, value)| name.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<_>>());
        let settings: Vec<u8> = settings.collect();
        self.send(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat())
    }
}

/// An attack. It returns when the server has closed the connection, or when the attacks are over.
pub(crate) type Attack = fn(&mut Victim<'_>) -> io::Result<()>;

/// All kinds of attacks.
pub(crate) const ATTACKS: [(&str, Attack); 24] = [
    ("connects and says nothing", |victim| victim.hold()),
    // With something unread, a socket is not closed but reset.
    ("connects and resets", |victim| victim.socket.peek(&mut [0]).map(drop)),
    ("half a preface", half_a_preface),
    ("a preface byte by byte", |victim| victim.trickle(PREFACE)),
    ("garbage without end", |victim| victim.flood(&[0xa5; 1000])),
    ("HTTP/1.1 headers byte by byte", |victim| victim.trickle(&b"GET / HTTP/1.1\r\nx: ".repeat(100))),
    ("a handshake and nothing more", |victim| victim.greet(&[]).and_then(|()| victim.hold())),
    ("half-closes after the handshake", half_closed),
    ("PING without end", |victim| flood(victim, &frame(PING, 0, 0, &[0; 8]))),
    ("SETTINGS without end", |victim| flood(victim, &frame(SETTINGS, 0, 0, &[]))),
    ("acknowledgements without end", |victim| flood(victim, &frame(SETTINGS, ACK, 0, &[]))),
    ("PRIORITY without end", |victim| flood(victim, &frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]))),
    ("unknown frames without end", |victim| flood(victim, &frame(0xee, 0, 0, &[0; 100]))),
    ("WINDOW_UPDATE without end", |victim| flood(victim, &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
    ("streams that are reset at once", rapid_reset),
    ("100,000 streams that stay open", open_streams),
    ("CONTINUATION without end", endless_headers),
    ("headers byte by byte", slow_headers),
    ("headers of a megabyte", large_headers),
    ("a thousand announced messages of 16 MB", |victim| announce(victim, 16 * 1024 * 1024, 1000)),
    ("announced messages of 4 GB", |victim| announce(victim, u32::MAX, 1000)),
    ("a message byte by byte", slow_message),
    ("window 0, and a thousand calls", closed_window),
    ("large answers that are never read", never_reads),
];

fn half_a_preface(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.send(&PREFACE[..12])?;
    victim.hold()
}

fn half_closed(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    victim.socket.shutdown(std::net::Shutdown::Write)?;
    victim.hold()
}

fn flood(victim: &mut Victim<'_>, frame: &[u8]) -> io::Result<()> {
    victim.greet(&[])?;
    victim.flood(frame)
}

/// Numbers of streams of a client, from the first one.
fn streams() -> impl Iterator<Item = u32> {
    (1..i32::MAX as u32).step_by(2)
}

fn rapid_reset(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    for stream in streams() {
        let opened = frame(HEADERS, END_HEADERS, stream, &call("GetData"));
        victim.send(&[opened, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat())?;
        if victim.is_paced && stream % 256 == 1 {
            crate::child::pause();
        }
    }
    Ok(())
}

fn open_streams(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    for stream in streams().take(100_000) {
        victim.send(&frame(HEADERS, END_HEADERS, stream, &call("GetData")))?;
    }
    victim.hold()
}

fn endless_headers(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    victim.send(&frame(HEADERS, 0, 1, &call("GetData")))?;
    victim.flood(&frame(CONTINUATION, 0, 1, &header("x", &"y".repeat(100))))
}

fn slow_headers(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    victim.trickle(&frame(HEADERS, END_HEADERS, 1, &call("GetData").repeat(20)))
}

fn large_headers(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    let large = header("x", &"y".repeat(10_000));
    for stream in streams() {
        victim.send(&frame(HEADERS, 0, stream, &call("GetData")))?;
        for part in 1..=100 {
            let flags = if part == 100 { END_HEADERS } else { 0 };
            victim.send(&frame(CONTINUATION, flags, stream, &large))?;
        }
        if victim.is_paced {
            crate::child::pause();
        }
    }
    Ok(())
}

fn announce(victim: &mut Victim<'_>, length: u32, count: usize) -> io::Result<()> {
    victim.greet(&[])?;
    let start = [&[0][..], &length.to_be_bytes()].concat();
    for stream in streams().take(count) {
        let opened = frame(HEADERS, END_HEADERS, stream, &call("ProcessImage"));
        victim.send(&[opened, frame(DATA, 0, stream, &start)].concat())?;
    }
    victim.hold()
}

fn slow_message(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    victim.send(&frame(HEADERS, END_HEADERS, 1, &call("ProcessImage")))?;
    loop {
        victim.send(&frame(DATA, 0, 1, &[0]))?;
        victim.wait()?;
    }
}

/// A thousand calls whose answers cannot be sent.
fn closed_window(victim: &mut Victim<'_>) -> io::Result<()> {
    const INITIAL_WINDOW: u16 = 4;
    victim.greet(&[(INITIAL_WINDOW, 0)])?;
    for stream in streams().take(1000) {
        let opened = frame(HEADERS, END_HEADERS, stream, &call("GetMetrics"));
        victim.send(&[opened, frame(DATA, END_STREAM, stream, &message(&[]))].concat())?;
    }
    victim.hold()
}

/// Searches of graphs with 20,000 nodes, as long as the server reads the requests. No answer is read.
fn never_reads(victim: &mut Victim<'_>) -> io::Result<()> {
    victim.greet(&[])?;
    // The graph is field 2, with 20,000 nodes as field 1 and as many edges as field 2.
    let search = message(&[0x12, 8, 0x08, 0xa0, 0x9c, 0x01, 0x10, 0xa0, 0x9c, 0x01]);
    for stream in streams().take(20) {
        let opened = frame(HEADERS, END_HEADERS, stream, &call("SearchGraph"));
        victim.send(&[opened, frame(DATA, END_STREAM, stream, &search)].concat())?;
    }
    victim.hold()
}
