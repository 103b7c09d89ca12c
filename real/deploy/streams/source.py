"""A source of Spark Structured Streaming that reads a topic of Kafka by kafka-python, so that no connector for the JVM is needed."""

from kafka import KafkaConsumer, TopicPartition
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition


class Topic(DataSource):
    """Messages of a topic, from its beginning. Options: `broker`, which is HOST:PORT, and `topic`."""

    @classmethod
    def name(cls):
        return "kafka_topic"

    def schema(self):
        return "key string, value string"

    def streamReader(self, schema):
        return TopicReader(self.options["broker"], self.options["topic"])


class Range(InputPartition):
    """The messages of a partition from an offset to before another one."""

    def __init__(self, partition, start, end):
        self.partition, self.start, self.end = partition, start, end


class TopicReader(DataSourceStreamReader):
    def __init__(self, broker, topic):
        self.broker, self.topic = broker, topic

    def consumer(self):
        return KafkaConsumer(bootstrap_servers=self.broker, fetch_max_wait_ms=100)

    def initialOffset(self):
        consumer = self.consumer()
        found = consumer.beginning_offsets(self.partitions_of(consumer))
        consumer.close()
        return {str(partition.partition): offset for partition, offset in found.items()}

    def latestOffset(self, start=None, limit=None):
        """The offsets behind the last messages. tansu says where its last batch begins, so that this is looked for from there."""
        consumer = self.consumer()
        partitions = self.partitions_of(consumer)
        consumer.assign(partitions)
        for partition, offset in consumer.end_offsets(partitions).items():
            consumer.seek(partition, offset)
        for _ in partitions:
            consumer.poll(timeout_ms=200)
        offsets = {str(partition.partition): consumer.position(partition) for partition in partitions}
        consumer.close()
        return offsets

    def partitions_of(self, consumer):
        return [TopicPartition(self.topic, number) for number in consumer.partitions_for_topic(self.topic)]

    def partitions(self, start, end):
        return [Range(int(number), start.get(number, 0), offset) for number, offset in end.items()]

    def read(self, messages):
        if messages.start >= messages.end:
            return
        consumer = self.consumer()
        partition = TopicPartition(self.topic, messages.partition)
        consumer.assign([partition])
        consumer.seek(partition, messages.start)
        while consumer.position(partition) < messages.end:
            for message in consumer.poll(timeout_ms=1_000).get(partition, []):
                if message.offset < messages.end:
                    yield message.key.decode(), message.value.decode()
        consumer.close()
