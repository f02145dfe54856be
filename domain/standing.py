"""The decision table: where a checkout stands at `now`.

`standing_of` is the table itself, top to bottom, first match wins; each line names its row.
The words it uses are explained in `case.py`. `standings_of` asks it about all checkouts of a
customer, after finding out what those of one cart are to each other.
"""

from __future__ import annotations

from bisect import bisect_left
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


class Cart(Struct, frozen=True, gc=False):
    """What rows 5 and 10 ask about the checkouts of one cart. One confirmed more than `within_ms`
    from a checkout is none of its cart. A checkout may be asked about itself: whoever gets to row
    5 was not bought, and no strike is earlier than itself."""

    within_ms: int
    bought: list[int]
    """When those paid or presumed paid were confirmed, ascending."""
    strikes: list[tuple[int, str, int]] = []
    """Date, checkout_id and confirmation of those that would be strikes by rows 1-9, overturned
    or not, ascending."""

    def was_bought(self, case: Case) -> bool:
        """Another checkout of the cart was bought."""
        bought, at_ms = self.bought, case.confirmed.at_ms
        nearest = bisect_left(bought, at_ms - self.within_ms)
        return nearest < len(bought) and bought[nearest] <= at_ms + self.within_ms

    def struck_before(self, case: Case, dated_ms: int) -> bool:
        """Another one would be a strike with an earlier date (ties: smaller checkout_id)."""
        mine, at_ms = (dated_ms, case.checkout.checkout_id), case.confirmed.at_ms
        for strike_ms, checkout_id, other_ms in self.strikes:
            if (strike_ms, checkout_id) >= mine:
                return False
            if abs(other_ms - at_ms) <= self.within_ms:
                return True
        return False


def standing_of(  # noqa: C901 - the table must be read in one piece
    case: Case, *, now_ms: int, policy: Policy, cart: Cart | None = None
) -> Judgement:
    """The standing of `case` at `now_ms` (reaching a moment is enough: `now >= moment`)."""
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
    if (cart is not None and cart.was_bought(case)) or (forgotten is not None and forgotten.bought):
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
    if (cart is not None and cart.struck_before(case, verdict_ms)) or (
        forgotten is not None
        and forgotten.strike is not None
        and forgotten.strike < (verdict_ms, case.checkout.checkout_id)
    ):
        return Judgement(Standing.SUPERSEDED, "10", verdict_ms)
    # 11 a person decided
    if case.checkout.overturned is not None:
        return Judgement(Standing.OVERTURNED, "11", verdict_ms)
    # 12
    return Judgement(Standing.UNPAID, "12", verdict_ms)


def standings_of(cases: Sequence[Case], *, now_ms: int, policy: Policy) -> list[Judgement]:
    """The standings of a customer's checkouts, in their order. Of every cart that one of them
    names all must be there."""
    judged = [standing_of(case, now_ms=now_ms, policy=policy) for case in cases]
    carts: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        if case.confirmed.cart_id is not None:
            carts.setdefault(case.confirmed.cart_id, []).append(index)
    for indexes in carts.values():
        if len(indexes) > 1:
            _judge_cart(cases, judged, indexes, now_ms=now_ms, policy=policy)
    return judged


def _judge_cart(
    cases: Sequence[Case],
    judged: list[Judgement],
    indexes: list[int],
    *,
    now_ms: int,
    policy: Policy,
) -> None:
    """Judges the checkouts at `indexes`, until now `judged` each alone, as one cart: first what
    was bought is known, by that what would be strikes, by that where all stand. The table is asked
    at most twice more about each, however many they are."""
    within_ms = policy.verdict.superseded_within_ms
    bought = sorted(cases[i].confirmed.at_ms for i in indexes if judged[i].standing in BOUGHT)
    if bought:
        cart = Cart(within_ms, bought)
        for i in indexes:
            judged[i] = standing_of(cases[i], now_ms=now_ms, policy=policy, cart=cart)
    strikes = sorted(
        (dated_ms, cases[i].checkout.checkout_id, cases[i].confirmed.at_ms)
        for i in indexes
        if (dated_ms := judged[i].dated_ms) is not None
    )
    if len(strikes) > 1:
        cart = Cart(within_ms, bought, strikes)
        for i in indexes:
            judged[i] = standing_of(cases[i], now_ms=now_ms, policy=policy, cart=cart)
