//! The URL of a topic: `kafka://HOST:PORT/TOPIC`.

use std::{fmt, str::FromStr};

/// The topic of a URL that names none.
const TOPIC: &str = "rehearsal";

/// Longest name of a topic that Kafka takes.
const TOPIC_MAX: usize = 249;

/// The form of a topic's URL, for messages.
const EXAMPLE: &str = "write kafka://HOST:PORT/TOPIC, such as kafka://127.0.0.1:9092/rehearsal";

/// A topic of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port of a broker of the cluster.
    pub(super) broker: String,
    pub(super) topic: String,
}

impl FromStr for Target {
    type Err = String;

    /// Parses the URL of a topic.
    ///
    /// # Errors
    ///
    /// Fails if it is of another kind, has no port, or names what cannot be a topic.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("kafka://") else {
            return Err(format!("only Kafka is spoken; {EXAMPLE}"));
        };
        let (broker, topic) = rest.split_once('/').unwrap_or((rest, ""));
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.map(|(_, port)| port.parse::<u16>()) {
            None => return Err(format!("it has no port; {EXAMPLE}")),
            Some(Ok(1..)) if !broker.contains(['@', ',']) => {}
            Some(_) => return Err(format!("`{broker}` is no HOST:PORT; {EXAMPLE}")),
        }
        let topic = if topic.is_empty() { TOPIC } else { topic };
        let is_name = topic.len() <= TOPIC_MAX && topic != "." && topic != "..";
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !is_name || !topic.bytes().all(is_legal) {
            return Err(format!("`{topic}` is no topic: it has up to {TOPIC_MAX} letters, digits, `.`, `_` and `-`"));
        }
        Ok(Self { broker: broker.to_owned(), topic: topic.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka://{}/{}", self.broker, self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, String> {
        text.parse()
    }

    #[test]
    fn a_url_has_a_port_and_may_have_a_topic() {
        assert_eq!(parse("kafka://127.0.0.1:9092").unwrap().to_string(), "kafka://127.0.0.1:9092/rehearsal");
        assert_eq!(parse("kafka://[::1]:1/a.b_c-d").unwrap().broker, "[::1]:1");
        for (wrong, why) in [
            ("http://127.0.0.1:9092", "only Kafka"),
            ("127.0.0.1:9092", "only Kafka"),
            ("kafka://localhost", "no port"),
            ("kafka://:9092", "no port"),
            ("kafka://localhost:0", "no HOST:PORT"),
            ("kafka://localhost:9092x/topic", "no HOST:PORT"),
            ("kafka://a:1,b:2", "no HOST:PORT"),
            ("kafka://localhost:9092/a/b", "no topic"),
            ("kafka://localhost:9092/..", "no topic"),
        ] {
            assert!(parse(wrong).is_err_and(|message| message.contains(why)), "{wrong}");
        }
    }
}
