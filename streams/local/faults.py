"""What goes wrong with a local Kafka, told to a person."""


class LocalKafkaError(Exception):
    """Print the message and end: it says what is wrong and what to do about it."""
