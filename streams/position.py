"""A lane's position: the changelog record that says where its state stands.

It is written in the same transaction as the records it speaks of, so state and position cannot
disagree. Its key begins with a zero byte, which no customer's can.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from domain.frontier import FrontierState
from schemas.topics import Stream

KEY = b"\0position"
VERSION = 1

LETTER_WINDOW = 10_000
LETTER_SHARE = 2_000
LETTER_MISPLACED = 20
"""A broken producer: more than 20 % dead letters, or 20 records on wrong partitions, among
10,000 records of an input."""


class Letters(Struct):
    """Dead letters among the current 10,000 records of one input: a broken producer shows here,
    and a restart halts again because it is kept."""

    records: int = 0
    dead: int = 0
    misplaced: int = 0

    @property
    def broken(self) -> bool:
        """Whether its producer must be."""
        return self.dead > LETTER_SHARE or self.misplaced >= LETTER_MISPLACED


class Position(Struct):
    """See the module. `next` is the next offset to read, by stream."""

    version: int = VERSION
    next: dict[Stream, int] = {}
    frontier: FrontierState = FrontierState()
    policy: str = ""
    cluster: str = ""
    partitions: int = 0
    letters: dict[Stream, Letters] = {}
    count: int = 0
    checksum: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Position)


def encode(position: Position) -> bytes:
    """The value of the changelog record."""
    return _ENCODER.encode(position)


def decode(value: bytes) -> Position:
    """Raises msgspec.DecodeError for what is no position of this or an earlier version."""
    return _DECODER.decode(value)
