//! A connection to a topic, by rskafka.

use std::{fmt, time::Duration};

use futures_util::future::try_join_all;
use rskafka::{
    BackoffConfig,
    client::{
        ClientBuilder,
        error::{Error, ProtocolError},
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};

use super::target::Target;

/// The name of this program at a broker, in its logs and quotas.
const CLIENT: &str = "rehearsal";

/// The partitions of a topic, each with a connection to its leader.
#[derive(Debug)]
pub(super) struct Topic {
    partitions: Vec<PartitionClient>,
}

/// Why messages are not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// No connection to a broker, or none any more.
    Unreachable(String),
    /// The topic does not exist.
    NoTopic,
    /// No answer in time.
    Silent(Duration),
    /// The broker refuses as many bytes.
    TooLarge(String),
    /// The broker refuses messages.
    Refused(String),
}

impl Topic {
    /// Connects to the leaders of all partitions of the topic. What fails is not tried again here.
    pub(super) async fn open(target: &Target) -> Result<Self, Problem> {
        // rskafka tries again for as long as this allows, and says nothing meanwhile.
        let once = BackoffConfig { deadline: Some(Duration::ZERO), ..BackoffConfig::default() };
        let builder = ClientBuilder::new(vec![target.broker.clone()]).client_id(CLIENT).backoff_config(once);
        let client = builder.build().await.map_err(Problem::from_error)?;
        // Of all topics: a broker may create one that is asked for by its name.
        let topics = client.list_topics().await.map_err(Problem::from_error)?;
        let topic = topics.into_iter().find(|topic| topic.name == target.topic).ok_or(Problem::NoTopic)?;
        let handling = UnknownTopicHandling::Error;
        let clients =
            topic.partitions.into_iter().map(|partition| client.partition_client(&target.topic, partition, handling));
        let partitions = try_join_all(clients).await.map_err(Problem::from_error)?;
        if partitions.is_empty() { Err(Problem::NoTopic) } else { Ok(Self { partitions }) }
    }

    /// Returns the number of partitions.
    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Sends messages to a partition, and waits until the broker has acknowledged all of them.
    pub(super) async fn send(&self, partition: usize, messages: Vec<Record>) -> Result<(), Problem> {
        let sent = self.partitions[partition].produce(messages, Compression::NoCompression).await;
        sent.map(|_| ()).map_err(Problem::from_error)
    }
}

impl Problem {
    fn from_error(error: Error) -> Self {
        match &error {
            Error::ServerError { protocol_error: ProtocolError::UnknownTopicOrPartition, .. } => Self::NoTopic,
            Error::ServerError {
                protocol_error: error @ (ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge),
                ..
            } => Self::TooLarge(error.to_string()),
            Error::ServerError { protocol_error, .. } => Self::Refused(protocol_error.to_string()),
            _ => {
                // The tries that it was not allowed come first in the text.
                let text = error.to_string();
                let reason = text.rsplit_once("Source: ").map_or(&*text, |(_, reason)| reason);
                Self::Unreachable(reason.replace('\n', " "))
            }
        }
    }

    /// Returns whether the other one has the same remedy.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns what is wrong and what would be right, for messages to this topic.
    pub(super) fn remedy(&self, target: &Target) -> String {
        let Target { broker, topic } = target;
        match self {
            Self::NoTopic => format!(
                "{self} `{topic}`; create it, as with `kafka-topics.sh --bootstrap-server {broker} --create --topic {topic} \
                 --partitions 4`"
            ),
            Self::Unreachable(_) => format!("{self}; start a broker at {broker}, or name another in --events"),
            Self::TooLarge(_) => format!("{self}; raise `max.message.bytes` of the topic `{topic}`"),
            Self::Silent(_) | Self::Refused(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => f.write_str(reason),
            Self::NoTopic => f.write_str("the broker has no topic"),
            Self::Silent(time) => write!(f, "the broker does not answer within {} s", time.as_secs()),
            Self::TooLarge(reason) | Self::Refused(reason) => write!(f, "the broker refuses them: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rskafka::client::error::RequestContext;

    use super::*;

    #[test]
    fn errors_of_a_broker_have_their_remedies() {
        let target: Target = "kafka://127.0.0.1:9092/rows".parse().unwrap();
        let problem = |protocol_error| {
            let request = RequestContext::Partition("rows".to_owned(), 0);
            let error =
                Error::ServerError { protocol_error, error_message: None, request, response: None, is_virtual: false };
            Problem::from_error(error)
        };
        for too_large in [ProtocolError::MessageTooLarge, ProtocolError::RecordListTooLarge] {
            let problem = problem(too_large);
            assert!(matches!(problem, Problem::TooLarge(_)), "{problem}");
            assert!(problem.remedy(&target).ends_with("raise `max.message.bytes` of the topic `rows`"), "{problem}");
        }
        assert_eq!(problem(ProtocolError::UnknownTopicOrPartition), Problem::NoTopic);
        assert!(matches!(problem(ProtocolError::TopicAuthorizationFailed), Problem::Refused(_)));
    }
}
