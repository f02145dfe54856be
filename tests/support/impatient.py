"""`hitrun`, but it gives a Kafka that answers nothing up after seconds, so that tests of it are
short."""

from streams import lanes
from streams.cli import main

KAFKA_GONE_S = 4.0

if __name__ == "__main__":
    lanes.KAFKA_GONE_S = KAFKA_GONE_S
    main()
