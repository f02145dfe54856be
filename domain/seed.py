"""What the verdict and customer topics said, read back (rebuild)."""

from __future__ import annotations

from domain.intake import SeededAdvice, SeededVerdict


def seeded_verdict(value: bytes | None) -> SeededVerdict | None:
    return None


def seeded_advice(value: bytes | None) -> SeededAdvice | None:
    return None
