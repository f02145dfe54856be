"""What can be wrong with a record, named after what becomes of it."""

from __future__ import annotations

from typing import Literal

Reason = Literal["malformed", "invalid", "key", "future", "limit", "internal"]
"""Of several faults of a record the first in this order is named."""

SkipReason = Literal[
    "tombstone", "unknown_type", "too_old", "ignored_customer", "erased", "not_yet"
]
"""Records that are no fault and none of ours: counted, never stored. `not_yet`: a command this
version does not carry out (erase, incident)."""


class RejectRecord(Exception):
    """The record goes to the dead letters of its topic.

    `customer_id` and `checkout_id` are set when they could be read, however broken the rest is:
    the checkout is then held, so that nobody is accused for an event we could not use.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        customer_id: str | None = None,
        checkout_id: str | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Reason = reason
        self.detail = detail
        self.customer_id = customer_id
        self.checkout_id = checkout_id


class SkipRecord(Exception):
    """The record is passed over and counted."""

    def __init__(self, reason: SkipReason) -> None:
        super().__init__(reason)
        self.reason: SkipReason = reason
