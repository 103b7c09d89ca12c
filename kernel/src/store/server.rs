//! A key-value server that speaks RESP2: the store of simulations, and of real runs that have no Redis.
//!
//! It knows the commands that a client of a cache uses, and those with which `redis-cli` looks at it. Values expire, and beyond a number
//! or a total size of them the least recently used ones are removed. Nothing is written anywhere: the values end with the process.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::resp::{self, BULK_BYTES_MAX, Value};
use crate::{
    record::AttemptId,
    sync::lock,
    time::Instant,
    world::{BoxStream, Cost, Payer, SharedWorld, compute},
};

/// The name of the time that a command takes, as calibrations have it. Its unit is a command.
pub const COMMAND: &str = "store_command";

/// The most bytes of all values together.
const BYTES_MAX: usize = 4 * BULK_BYTES_MAX;

/// The most parts of a command.
const PARTS_MAX: usize = 16;

/// Number of databases, as a Redis has by default.
const DATABASES: usize = 16;

/// Serves at the address of `world`, until its host ends. It keeps up to `values_max` values.
///
/// # Errors
///
/// Returns an error if the address cannot be used, or if no more connections can be accepted.
pub async fn serve(world: SharedWorld, values_max: usize) -> io::Result<()> {
    let values = Arc::new(Mutex::new(Values::new(values_max)));
    let mut listener = world.listen().await?;
    for number in 0.. {
        let stream = listener.accept().await?;
        let host = world.clone();
        let values = values.clone();
        world.spawn(Box::pin(async move {
            // The peer sees the end of its connection, and knows why.
            let _ = serve_connection(host, values, stream, number).await;
        }));
    }
    Ok(())
}

async fn serve_connection(
    world: SharedWorld,
    values: Arc<Mutex<Values>>,
    mut stream: BoxStream,
    number: u64,
) -> io::Result<()> {
    let mut arrived = BytesMut::new();
    let mut session = Session { database: 0, commands: 0 };
    loop {
        let command = match resp::take(&mut arrived, PARTS_MAX) {
            Ok(None) => {
                let chunk = poll_fn(|cx| stream.poll_read_chunk(cx)).await?;
                if chunk.is_empty() {
                    return Ok(());
                }
                arrived.extend_from_slice(&chunk);
                continue;
            }
            Ok(Some(Value::List(parts))) if !parts.is_empty() => parts,
            Ok(Some(_)) => return write(&mut stream, b"-ERR a command is a list of bulk strings\r\n"[..].into()).await,
            Err(error) => return write(&mut stream, format!("-ERR {error}\r\n").into()).await,
        };
        session.commands += 1;
        if world.has_time_of(COMMAND) {
            let attempt = AttemptId::of_request(number, session.commands);
            let cost = Cost { payer: Payer::Server, what: COMMAND, units: 1, attempt, nth: 0 };
            compute(&*world, cost, || ()).await;
        }
        let answer = session.answer(&mut lock(&values), &command, world.now());
        write(&mut stream, answer).await?;
    }
}

async fn write(stream: &mut BoxStream, mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        poll_fn(|cx| stream.poll_write_chunk(cx, &mut bytes)).await?;
    }
    Ok(())
}

/// The state that the commands of a connection have set.
struct Session {
    database: usize,
    commands: u32,
}

impl Session {
    /// Carries out a command, `now`, and returns the answer.
    fn answer(&mut self, values: &mut Values, command: &[Bytes], now: Instant) -> Bytes {
        let name = command[0].to_ascii_uppercase();
        let key = |index: usize| (self.database, command[index].clone());
        match (&name[..], &command[1..]) {
            (b"GET", [_]) => bulk(values.get(&key(1), now)),
            (b"SET", [_, value, options @ ..]) => match expiry(options) {
                Some(lasts) => {
                    values.set(key(1), value, now, lasts);
                    text("OK")
                }
                None => error("syntax error"),
            },
            (b"DEL", [_, ..]) => {
                let keys = (1..command.len()).map(key).collect::<Vec<_>>();
                whole(keys.iter().filter(|key| values.remove(key, now)).count() as i64)
            }
            (b"EXISTS", [_]) => whole(i64::from(values.get(&key(1), now).is_some())),
            (b"PTTL", [_]) => whole(values.time_left(&key(1), now)),
            (b"KEYS", [pattern]) => match pattern.strip_suffix(b"*") {
                Some(prefix) if !prefix.contains(&b'*') => list(&values.keys(self.database, prefix, now)),
                _ => error("a pattern is a prefix and `*`"),
            },
            (b"DBSIZE", []) => whole(values.keys(self.database, b"", now).len() as i64),
            (b"FLUSHDB", _) => {
                values.clear(self.database);
                text("OK")
            }
            (b"SELECT", [database]) => match std::str::from_utf8(database).ok().and_then(|text| text.parse().ok()) {
                Some(database) if database < DATABASES => {
                    self.database = database;
                    text("OK")
                }
                _ => error("DB index is out of range"),
            },
            // It has no users: any password is right.
            (b"AUTH", [_] | [_, _]) => text("OK"),
            (b"PING", []) => text("PONG"),
            // What redis-cli asks first.
            (b"COMMAND", _) => list(&[]),
            _ => error("unknown command, or a wrong number of its arguments"),
        }
    }
}

/// Returns the time after which a value of these options expires, `Some(None)` if it does not; `None` if they are wrong.
fn expiry(options: &[Bytes]) -> Option<Option<Duration>> {
    let [unit, number] = options else { return options.is_empty().then_some(None) };
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number > 0)?;
    match &unit.to_ascii_uppercase()[..] {
        b"PX" => Some(Some(Duration::from_millis(number))),
        b"EX" => Some(Some(Duration::from_secs(number))),
        _ => None,
    }
}

fn text(text: &str) -> Bytes {
    format!("+{text}\r\n").into()
}

fn error(text: &str) -> Bytes {
    format!("-ERR {text}\r\n").into()
}

fn whole(number: i64) -> Bytes {
    format!(":{number}\r\n").into()
}

fn bulk(value: Option<Bytes>) -> Bytes {
    let Some(value) = value else { return Bytes::from_static(b"$-1\r\n") };
    let mut answer = BytesMut::with_capacity(value.len() + 24);
    resp::put_bulk(&mut answer, &value);
    answer.freeze()
}

fn list(items: &[Bytes]) -> Bytes {
    let mut answer = BytesMut::from(format!("*{}\r\n", items.len()).as_bytes());
    items.iter().for_each(|item| resp::put_bulk(&mut answer, item));
    answer.freeze()
}

type Key = (usize, Bytes);

/// The values, by database and key.
struct Values {
    values: BTreeMap<Key, Stored>,
    /// The keys by their last use.
    uses: BTreeMap<u64, Key>,
    next_use: u64,
    bytes: usize,
    values_max: usize,
}

struct Stored {
    value: Bytes,
    expires: Instant,
    used: u64,
}

impl Values {
    fn new(values_max: usize) -> Self {
        Self { values: BTreeMap::new(), uses: BTreeMap::new(), next_use: 0, bytes: 0, values_max }
    }

    fn get(&mut self, key: &Key, now: Instant) -> Option<Bytes> {
        let stored = self.values.get_mut(key)?;
        if stored.expires <= now {
            self.take(key);
            return None;
        }
        self.next_use += 1;
        self.uses.remove(&stored.used);
        stored.used = self.next_use;
        self.uses.insert(stored.used, key.clone());
        Some(stored.value.clone())
    }

    fn set(&mut self, (database, name): Key, value: &Bytes, now: Instant, lasts: Option<Duration>) {
        // Copies of their own: the key and the value are parts of what arrived together.
        let [name, value] = [&name, value].map(|bytes| Bytes::copy_from_slice(bytes));
        let key = (database, name);
        self.take(&key);
        self.next_use += 1;
        self.bytes += value.len();
        self.uses.insert(self.next_use, key.clone());
        let expires = lasts.map_or(Instant::NEVER, |lasts| now + lasts);
        self.values.insert(key, Stored { value, expires, used: self.next_use });
        while self.values.len() > self.values_max || self.bytes > BYTES_MAX {
            let Some(least) = self.uses.first_key_value().map(|(_, key)| key.clone()) else { return };
            self.take(&least);
        }
    }

    /// Removes a value. Returns whether there was one that had not expired.
    fn remove(&mut self, key: &Key, now: Instant) -> bool {
        self.take(key).is_some_and(|stored| stored.expires > now)
    }

    fn take(&mut self, key: &Key) -> Option<Stored> {
        let stored = self.values.remove(key)?;
        self.uses.remove(&stored.used);
        self.bytes -= stored.value.len();
        Some(stored)
    }

    /// Returns the milliseconds until a value expires: -1 if it does not, and -2 if there is none.
    fn time_left(&mut self, key: &Key, now: Instant) -> i64 {
        match self.get(key, now).and_then(|_| self.values.get(key)) {
            None => -2,
            Some(stored) if stored.expires == Instant::NEVER => -1,
            Some(stored) => i64::try_from(stored.expires.since(now).as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn keys(&self, database: usize, prefix: &[u8], now: Instant) -> Vec<Bytes> {
        let of_database = self.values.range((database, Bytes::new())..(database + 1, Bytes::new()));
        let there = of_database.filter(|((_, key), stored)| stored.expires > now && key.starts_with(prefix));
        there.map(|((_, key), _)| key.clone()).collect()
    }

    fn clear(&mut self, database: usize) {
        let keys: Vec<_> = self.values.keys().filter(|key| key.0 == database).cloned().collect();
        keys.iter().for_each(|key| drop(self.take(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn ask(session: &mut Session, values: &mut Values, command: &str, now: Instant) -> String {
        let parts: Vec<Bytes> = command.split(' ').map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
        String::from_utf8(session.answer(values, &parts, now).to_vec())
            .unwrap()
            .replace("\r\n", " ")
            .trim_end()
            .to_owned()
    }

    #[test]
    fn values_are_kept_by_database_until_they_expire() {
        let (mut session, mut values) = (Session { database: 0, commands: 0 }, Values::new(9));
        let mut asked = |command, now| ask(&mut session, &mut values, command, at(now));
        assert_eq!(asked("get a", 0), "$-1");
        assert_eq!(asked("SET a 1 PX 2000", 0), "+OK");
        assert_eq!(asked("SET b 22", 0), "+OK");
        assert_eq!([asked("GET a", 1), asked("PTTL a", 1), asked("PTTL b", 1)], ["$1 1", ":1000", ":-1"]);
        assert_eq!([asked("GET a", 2), asked("PTTL a", 2), asked("KEYS *", 2)], ["$-1", ":-2", "*1 $1 b"]);
        assert_eq!([asked("SELECT 3", 2), asked("GET b", 2), asked("DBSIZE", 2)], ["+OK", "$-1", ":0"]);
        assert_eq!([asked("SELECT 0", 2), asked("DEL b a", 2), asked("EXISTS b", 2)], ["+OK", ":1", ":0"]);
        for wrong in ["SET a", "SET a 1 PX", "SET a 1 PX 0", "SET a 1 NX 5", "SELECT 16", "GET", "INCR a", "KEYS a?"] {
            assert!(asked(wrong, 2).starts_with("-ERR"), "{wrong}");
        }
        assert_eq!([asked("PING", 2), asked("AUTH me secret", 2), asked("COMMAND DOCS", 2)], ["+PONG", "+OK", "*0"]);
    }

    #[test]
    fn the_least_recently_used_values_make_room() {
        let (mut session, mut values) = (Session { database: 0, commands: 0 }, Values::new(2));
        for command in ["SET a 1", "SET b 2", "GET a", "SET c 3"] {
            ask(&mut session, &mut values, command, at(0));
        }
        assert_eq!(ask(&mut session, &mut values, "KEYS *", at(0)), "*2 $1 a $1 c");
        let large = Bytes::from(vec![0; BULK_BYTES_MAX]);
        let mut values = Values::new(100);
        (0..6).for_each(|key: u8| values.set((0, vec![key].into()), &large, at(0), None));
        assert!(values.bytes <= BYTES_MAX && values.values.len() == 4 && values.uses.len() == 4);
    }
}
