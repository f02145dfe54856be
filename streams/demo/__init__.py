"""`hitrun demo` and `hitrun simulate`: the main job on a laptop, on a real Kafka, with a score."""

from streams.demo.simulate import simulate
from streams.demo.stage import main

__all__ = ["main", "simulate"]
