"""Money, payment methods, times and spans in words: the same ones wherever people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

METHODS: Final = {
    "cod": "cash on delivery",
    "e_wallet": "e-wallet",
    "qris": "QRIS",
    "virtual_account": "virtual account",
    "bank_transfer": "bank transfer",
    "other": "another way",
}

# fmt: off
_DIGITS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX",
                     "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
# fmt: on
"""Currencies whose minor unit is not a hundredth (ISO 4217): how many digits it has."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def method(name: str) -> str:
    """A payment method for people."""
    return METHODS.get(name, name)


def money(minor: int, currency: str) -> str:
    """150,000 IDR; 12.50 USD; digits after the point only where they are not 0."""
    digits = _DIGITS.get(currency, 2)
    whole, rest = divmod(minor, 10**digits)
    after = f".{rest:0{digits}}" if rest else ""
    return f"{whole:,}{after} {currency}"


def ago(ms: int) -> str:
    """18 s, 5 min, 3 h."""
    seconds = max(0, ms) / 1000
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def span(ms: int) -> str:
    """A length of time without rounding: 4 d, 13 h, 15 min, 1.5 s."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= size and ms % size == 0:
            return f"{ms // size} {unit}"
    return f"{ms / 1000:g} s" if ms < 60_000 else ago(ms)


def count(number: int, thing: str) -> str:
    """1 strike, 2 strikes, no strikes."""
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"


def listed(things: list[str]) -> str:
    """a; a and b; a, b and c."""
    if len(things) < 2:
        return "".join(things)
    return f"{', '.join(things[:-1])} and {things[-1]}"


class Times(Struct, frozen=True):
    """Moments as the buyer's clock shows them, UTC in brackets."""

    zone: ZoneInfo

    def __call__(self, ms: int) -> str:
        """28 Jul 2026 16:00 (09:00 UTC), with the day of UTC where it is another one. Seconds
        only where they are not 0."""
        utc = _EPOCH + timedelta(milliseconds=ms)
        local = utc.astimezone(self.zone)
        clock = "%H:%M:%S" if ms % 60_000 >= 1000 else "%H:%M"
        day = f"{local.day} {local:%b %Y}"
        if local.utcoffset() == timedelta(0):
            return f"{day} {local.strftime(clock)} UTC"
        other = "" if utc.date() == local.date() else f"{utc.day} {utc:%b} "
        return f"{day} {local.strftime(clock)} ({other}{utc.strftime(clock)} UTC)"


def utc_day(day: int) -> str:
    """A UTC day since 1970: 26 Oct 2026."""
    at = _EPOCH + timedelta(days=day)
    return f"{at.day} {at:%b %Y}"


def shown(text: str) -> str:
    """Text of others, safe on a terminal: what could move its cursor is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
