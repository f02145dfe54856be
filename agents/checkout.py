"""The checkout agent: what buyers confirmed, changed and called off."""

from __future__ import annotations

from collections.abc import Sequence

from agents import intake
from domain.ledger import Ledger
from schemas.record import Record


def feed(ledger: Ledger, records: Sequence[Record]) -> intake.Fed:
    """Applies a batch of the checkout topic to the customers of its lane; see intake."""
    return intake.feed(ledger, "checkout", records)
