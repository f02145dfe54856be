"""What all tests share: the hypothesis profile; the Kafka is in integration/conftest.py."""

import os

from hypothesis import HealthCheck, settings

# Failures are found again by their printed blob, not by a data base beside the sources.
settings.register_profile(
    "default",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

pytest_plugins = ["tests.support.fixtures"]
