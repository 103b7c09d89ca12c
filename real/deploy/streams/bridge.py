"""Writes the messages of a topic to files as they come, a line each: a file a second, which appears when it is whole.

usage: bridge.py BROKER TOPIC FOLDER
"""

import os
import sys

from kafka import KafkaConsumer, TopicPartition


def main():
    broker, topic, folder = sys.argv[1:]
    consumer = KafkaConsumer(bootstrap_servers=broker)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    number = 0
    while True:
        messages = consumer.poll(timeout_ms=1_000, max_records=20_000)
        lines = [message.value + b"\n" for of_partition in messages.values() for message in of_partition]
        if lines:
            # Flink leaves out files whose names begin with a dot.
            hidden = os.path.join(folder, f".{number}")
            with open(hidden, "wb") as file:
                file.writelines(lines)
            os.rename(hidden, os.path.join(folder, f"{number:06}.json"))
            number += 1


main()
