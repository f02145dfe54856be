"""`hitrun demo` and `hitrun simulate`: the main job on a laptop, on a real Kafka, with a score."""
