"""The decision table: where a checkout stands at `now`.

`standing_of` is the table itself, top to bottom, first match wins; each line names its row.
The words it uses are explained in `case.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from domain.case import COD, Case
from domain.customer import BOUGHT, Standing
from domain.policy import Policy


class Judgement(Struct, frozen=True, gc=False):
    """Where a checkout stands, by which row of the table."""

    standing: Standing
    rule: str
    dated_ms: int | None = None
    """The date of the strike that it is, or would be."""
    until_ms: int | None = None
    """It stands so only while `now` is before this moment."""


def standing_of(  # noqa: C901 - the table must be read in one piece
    case: Case,
    *,
    now_ms: int,
    policy: Policy,
    cart: Sequence[Case] = (),
    among_strikes: bool = True,
) -> Judgement:
    """The standing of `case` at `now_ms` (reaching a moment is enough: `now >= moment`).

    `cart`: all cases of the customer with the same cart_id; too far away ones are passed over.
    `among_strikes=False` leaves row 10 out: it asks whether the checkout would be a strike.
    """
    if case.method == COD:
        # c1 every order cancelled and none ever refused by the buyer
        if case.all_cancelled and case.refused_ms is None:
            return Judgement(Standing.CANCELLED, "c1")
        # c2 received what was due, or any order delivered or completed, ever
        if case.received >= case.due or case.delivered:
            return Judgement(Standing.PAID, "c2")
        # c3 refused by the buyer: the first refusal counts and nothing later undoes it
        if case.refused_ms is not None:
            if now_ms < case.refused_ms:
                return Judgement(Standing.OPEN, "c3", None, case.refused_ms)
            if case.held:
                return Judgement(Standing.HELD, "c3")
            if case.checkout.overturned is not None:
                return Judgement(Standing.OVERTURNED, "c3", case.refused_ms)
            return Judgement(Standing.UNPAID, "c3", case.refused_ms)
        # c4 refused by somebody else
        if case.refused_by_other:
            return Judgement(Standing.EXCUSED, "c4")
        # c5 nothing was told for too long
        lapses_ms = case.base_ms + policy.verdict.cod_lapses_after_ms
        if now_ms >= lapses_ms:
            return Judgement(Standing.LAPSED, "c5")
        # c6
        return Judgement(Standing.OPEN, "c6", None, lapses_ms)

    verdict_ms = case.verdict_ms
    assert verdict_ms is not None  # every prepaid method has a pay_by
    # 1 every order cancelled excusably, or nothing due although there was
    if (case.all_cancelled and case.all_excusable) or (
        case.due == 0 and case.confirmed.amount_minor > 0
    ):
        return Judgement(Standing.CANCELLED, "1")
    # 2 every order cancelled, the buyer's latest one at or before verdict_at, none for want of pay
    if case.all_cancelled and not case.timed_out and (case.buyer_cancelled_ms or 0) <= verdict_ms:
        return Judgement(Standing.CANCELLED, "2")
    # 3 received what was due
    if case.received >= case.due:
        return Judgement(Standing.PAID, "3")
    # 4 the goods moved: somebody was paid
    if case.moved:
        return Judgement(Standing.PRESUMED_PAID, "4")
    # 5 another checkout of the same cart was bought
    forgotten = case.checkout.forgotten
    neighbours = _neighbours(case, cart, policy) if cart else []
    if (forgotten is not None and forgotten.bought) or any(
        standing_of(other, now_ms=now_ms, policy=policy).standing in BOUGHT for other in neighbours
    ):
        return Judgement(Standing.SUPERSEDED, "5")
    # 6 there is still time
    if now_ms < verdict_ms:
        return Judgement(Standing.OPEN, "6", None, verdict_ms)
    # 7 something was received
    if case.received > 0:
        return Judgement(Standing.PARTLY_PAID, "7")
    # 8 the last attempt failed, and not because of the buyer
    if case.failed_elsewhere:
        return Judgement(Standing.EXCUSED, "8")
    # 9 an event of it could not be read, or speaks of another currency
    if case.held:
        return Judgement(Standing.HELD, "9")
    # 10 another checkout of the same cart would be a strike with an earlier date
    if among_strikes:
        mine = (verdict_ms, case.checkout.checkout_id)
        earlier = [] if forgotten is None or forgotten.strike is None else [forgotten.strike]
        earlier += _strikes(neighbours, cart, now_ms=now_ms, policy=policy)
        if any(strike < mine for strike in earlier):
            return Judgement(Standing.SUPERSEDED, "10", verdict_ms)
    # 11 a person decided
    if case.checkout.overturned is not None:
        return Judgement(Standing.OVERTURNED, "11", verdict_ms)
    # 12
    return Judgement(Standing.UNPAID, "12", verdict_ms)


def _neighbours(case: Case, cart: Sequence[Case], policy: Policy) -> list[Case]:
    """The other checkouts of the cart confirmed within 24 h either side (inclusive)."""
    within_ms, at_ms = policy.verdict.superseded_within_ms, case.confirmed.at_ms
    return [
        other
        for other in cart
        if other.checkout is not case.checkout and abs(other.confirmed.at_ms - at_ms) <= within_ms
    ]


def _strikes(
    neighbours: Sequence[Case], cart: Sequence[Case], *, now_ms: int, policy: Policy
) -> list[tuple[int, str]]:
    """(date, checkout_id) of those that would be strikes, overturned or not."""
    return [
        (judged.dated_ms, other.checkout.checkout_id)
        for other in neighbours
        if (
            judged := standing_of(
                other, now_ms=now_ms, policy=policy, cart=cart, among_strikes=False
            )
        ).dated_ms
        is not None
    ]
