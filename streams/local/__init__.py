"""A real Apache Kafka on a laptop, without Docker: a JVM from a wheel, jars by lock and sha256.

For the demo, the tests and `hitrun broker`; never for production (one machine holds everything).
"""

from streams.local.cluster import LocalKafka
from streams.local.faults import LocalKafkaError

__all__ = ["LocalKafka", "LocalKafkaError"]
