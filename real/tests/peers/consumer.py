"""Creates a topic, or prints its messages, by kafka-python.

usage: consumer.py BROKER TOPIC create PARTITIONS
       consumer.py BROKER TOPIC read COUNT   prints messages until there are as many, or none comes for five seconds
       consumer.py BROKER TOPIC follow       prints messages until it is killed

A line has the partition, the offset, the key and the value of a message, with tabs between them.
"""

import sys
import time

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

PATIENCE_MS = 5_000


def create(broker, topic, partitions):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics([NewTopic(topic, partitions, 1)])
    while topic not in admin.list_topics():
        time.sleep(0.05)
    admin.close()


def messages(broker, topic, patience_ms):
    consumer = KafkaConsumer(bootstrap_servers=broker, consumer_timeout_ms=patience_ms, fetch_max_wait_ms=100)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    yield from consumer
    consumer.close()


def show(message):
    sys.stdout.buffer.write(b"%d\t%d\t%s\t%s\n" % (message.partition, message.offset, message.key, message.value))


def main():
    broker, topic, command, *words = sys.argv[1:]
    if command == "create":
        create(broker, topic, int(words[0]))
    elif command == "read":
        count = int(words[0])
        for number, message in enumerate(messages(broker, topic, PATIENCE_MS), start=1):
            show(message)
            if number == count:
                return
    else:
        for message in messages(broker, topic, float("inf")):
            show(message)
            sys.stdout.flush()


main()
