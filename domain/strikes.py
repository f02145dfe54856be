"""Strikes and advice of a customer on one UTC day.

Days are whole UTC days since 1970 (`ms // DAY_MS`). A strike of day s counts on the days
s .. s + window - 1, so on day d those of (d - window, d] count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from domain.customer import BOUGHT, DAY_MS, Checkout, Past, Standing
from domain.policy import Policy, StrikePolicy

Action = Literal["none", "require_prepayment", "human_review"]


class Figures(Struct, frozen=True, gc=False):
    """What outputs say of a customer."""

    strikes: int
    checkouts: int
    unpaid_share: float
    """strikes / checkouts, rounded to 4 digits; 0 without checkouts."""
    action: Action


def leaves_day(dated_ms: int, *, cod: bool, policy: Policy) -> int:
    """The first day on which a strike of that date no longer counts."""
    window = policy.strikes.cod_window_days if cod else policy.strikes.window_days
    return dated_ms // DAY_MS + window


def figures(
    checkouts: Iterable[Checkout], past: Past | None, *, day: int, policy: Policy
) -> Figures:
    """The figures at `day`, by the standings last judged."""
    oldest = day - policy.strikes.window_days  # exclusive
    strikes = bought = 0
    for checkout in checkouts:
        if checkout.standing is Standing.UNPAID:
            if checkout.dated_ms is not None and (
                checkout.dated_ms // DAY_MS <= day < checkout.leaves_day
            ):
                strikes += 1
        elif checkout.standing in BOUGHT and checkout.confirmed is not None:
            bought += oldest < checkout.confirmed.at_ms // DAY_MS <= day
    if past is not None:
        bought += sum(b.purchases for b in past.buckets if oldest < b.day <= day)
    total = strikes + bought
    share = round(strikes / total, 4) if total else 0.0
    return Figures(strikes, total, share, _action(strikes, share, policy.strikes))


def _action(strikes: int, share: float, policy: StrikePolicy) -> Action:
    if strikes >= policy.human_review_at and share >= policy.human_review_unpaid_share:
        return "human_review"
    return "require_prepayment" if strikes >= policy.require_prepayment_at else "none"
