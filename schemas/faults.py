"""What can be wrong with an input record, and what is simply none of ours."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Reason = Literal["malformed", "invalid", "key", "future", "limit", "internal"]
"""Why a record is a dead letter, in the order of the error table: of several faults the first
is named. malformed: no CloudEvents 1.0 object in UTF-8 JSON. invalid: a field missing, of the wrong
type or out of range. key: no key, another than customer_id, or the wrong partition. future: dated
after its append time and the tolerance. limit: a cap. internal: an exception of ours."""

SkipReason = Literal[
    "tombstone",
    "unknown_type",
    "too_old",
    "too_late",
    "ignored_customer",
    "erased",
    "not_yet",
]
"""Why a record is passed over and counted. tombstone: null value. unknown_type: another event on
our topic. too_old: dated too long before now. too_late: first told when it would be forgotten
already. ignored_customer: named in the policy. erased: dated before its customer's erasure.
not_yet: read and checked, but nothing acts on it yet."""

WRONG_PARTITION: Final = "wrong partition"
"""How the detail of a `key` fault begins when the key is right and its partition is not: a broken
partitioner, of which fewer are borne than of single odd records."""


class RejectRecord(Exception):
    """This record goes to the dead letters. The ids are there when they could be read, however
    broken the rest: then its checkout is held."""

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


class Skip(Struct, frozen=True):
    """This record is passed over and counted."""

    reason: SkipReason


TOMBSTONE: Final = Skip("tombstone")
UNKNOWN_TYPE: Final = Skip("unknown_type")
