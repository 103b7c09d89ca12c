//! Where a store is, as scenario files name it.

use std::fmt;

use serde_json::{Value, json};

use crate::settings::{
    problem::Problem,
    toml_writer::string,
    value::{Codec, Item, wrong_type},
};

/// The port of a Redis whose URL has none.
const PORT: u16 = 6_379;

/// The last database of a Redis, unless it is configured to have more.
const DATABASE_MAX: u32 = 15;

/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 512;

/// The start of the URL of a Redis.
const SCHEME: &str = "redis://";

/// The place of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A key-value server of this project, which the run starts.
    Builtin,
    /// A Redis. In a simulation a key-value server of this project stands in for it.
    Redis {
        /// The user that the client logs in as; `None` is Redis's default user.
        user: Option<String>,
        /// The name or the address of its host.
        host: String,
        /// Its port.
        port: u16,
        /// The number of its database, from 0.
        database: u32,
    },
}

impl StoreAddress {
    /// Reads an address: `builtin`, or `redis://[USER@]HOST[:PORT][/DB]`.
    ///
    /// # Errors
    ///
    /// Returns what is wrong, and the remedy, for people.
    ///
    /// ```
    /// use kernel::store::StoreAddress;
    ///
    /// let address = StoreAddress::parse("redis://cache.example:6380/2")?;
    /// assert_eq!(address.to_string(), "redis://cache.example:6380/2");
    /// assert!(StoreAddress::parse("redis://:secret@localhost").is_err(), "a password is no part of a file");
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "builtin" {
            return Ok(Self::Builtin);
        }
        let Some(rest) = text.strip_prefix(SCHEME).filter(|_| text.len() <= URL_BYTES_MAX) else {
            return Err(if text.starts_with("rediss://") {
                "TLS to a store is not supported; write redis://HOST:PORT, or leave `store` out".to_owned()
            } else {
                format!(
                    "{text:?} is no store; write redis://HOST:PORT or builtin, or leave `store` out for the client's memory"
                )
            });
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['?', '#']) {
            return Err(format!("{text:?} is no URL of a store; write redis://[USER@]HOST[:PORT][/DB]"));
        }
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { Some(0) } else { digits(database) };
        let Some(database) = database.filter(|database| *database <= DATABASE_MAX) else {
            return Err(format!(
                "{text:?} has no database of a Redis behind the last `/`; they are 0 to {DATABASE_MAX}"
            ));
        };
        let (user, host_and_port) = match place.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err(
                    "a password is no part of a file, which others can read; set REHEARSAL_STORE_PASSWORD instead"
                        .to_owned(),
                );
            }
            Some((user, place)) => (Some(user.to_owned()).filter(|user| !user.is_empty()), place),
            None => (None, place),
        };
        let Some((host, port)) = host_and_port_of(host_and_port) else {
            return Err(format!(
                "{text:?} has no host, or a port that is none; write redis://HOST:PORT, such as redis://127.0.0.1:6379"
            ));
        };
        Ok(Self::Redis { user, host, port, database })
    }
}

/// Returns the host and the port of `HOST[:PORT]`; an IPv6 address is in brackets.
fn host_and_port_of(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => u16::try_from(digits(port)?).ok().filter(|port| *port > 0)?,
        None if port.is_empty() => PORT,
        None => return None,
    };
    let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte));
    (!host.is_empty() && is_host).then(|| (host.to_owned(), port))
}

/// Returns the number of up to six digits.
fn digits(text: &str) -> Option<u32> {
    let is_number = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Redis { user, host, port, database } = self else { return f.write_str("builtin") };
        f.write_str(SCHEME)?;
        if let Some(user) = user {
            write!(f, "{user}@")?;
        }
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        if *database > 0 { write!(f, "/{database}") } else { Ok(()) }
    }
}

impl Codec for StoreAddress {
    type Target = Self;
    type Limits = ();

    fn type_name() -> String {
        "store".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Self, Problem> {
        match item.get_ref().as_str() {
            Some(text) => Self::parse(text).map_err(|message| Problem::at(item.span(), message)),
            None => wrong_type(item, "a store, such as \"redis://127.0.0.1:6379\" or \"builtin\""),
        }
    }

    fn written(value: &Self) -> Option<String> {
        Some(string(&value.to_string()))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": "^(builtin|redis://[!-~]+)$" })
    }

    fn limits_text((): &()) -> Option<String> {
        Some("`builtin`, or `redis://[USER@]HOST[:PORT][/DB]`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read() {
        for text in ["builtin", "redis://127.0.0.1:6379", "redis://me@cache.example:1/15", "redis://[::1]:6380"] {
            assert_eq!(StoreAddress::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(StoreAddress::parse("redis://cache").unwrap().to_string(), "redis://cache:6379");
        assert_eq!(StoreAddress::parse("redis://cache:7/").unwrap().to_string(), "redis://cache:7");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_remedy() {
        for (text, remedy) in [
            ("", "redis://HOST:PORT or builtin"),
            ("memory", "leave `store` out"),
            ("http://a:1", "redis://HOST:PORT or builtin"),
            ("rediss://a:1", "TLS to a store is not supported"),
            ("redis://", "has no host"),
            ("redis://a:0", "a port that is none"),
            ("redis://a:65536", "a port that is none"),
            ("redis://a:1/16", "0 to 15"),
            ("redis://a:1/x", "0 to 15"),
            ("redis://:secret@a", "REHEARSAL_STORE_PASSWORD"),
            ("redis://me:secret@a", "REHEARSAL_STORE_PASSWORD"),
            ("redis://a b", "is no URL"),
            ("redis://a?timeout=1", "is no URL"),
            ("redis://[::1", "has no host"),
        ] {
            let message = StoreAddress::parse(text).unwrap_err();
            assert!(message.contains(remedy), "{text:?}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
