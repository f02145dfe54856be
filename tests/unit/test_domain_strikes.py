"""Strikes and advice of a day, and what is left of purchases that were forgotten."""

from __future__ import annotations

import pytest

from domain.customer import DAY_MS, Bucket, Checkout, Past, Standing
from domain.past import age, fold
from domain.policy import DEFAULT_POLICY
from domain.strikes import Figures, figures, leaves_day
from schemas.events import Item
from tests.unit.domain_builders import DAY, T0, checkout_of, confirmed

DAY0 = T0 // DAY


def strike(day: int = DAY0, *, cod: bool = False, name: str = "k") -> Checkout:
    dated = day * DAY_MS
    leaves = leaves_day(dated, cod=cod, policy=DEFAULT_POLICY)
    return Checkout(name, standing=Standing.UNPAID, dated_ms=dated, leaves_day=leaves)


def bought(day: int = DAY0) -> Checkout:
    checkout = checkout_of(confirmed(at=day * DAY_MS))
    checkout.standing = Standing.PAID
    return checkout


def at(*checkouts: Checkout, day: int = DAY0, past: Past | None = None) -> Figures:
    return figures(checkouts, past, day=day, policy=DEFAULT_POLICY)


@pytest.mark.parametrize(("after", "count"), [(-1, 0), (0, 1), (89, 1), (90, 0), (91, 0)])
def test_a_strike_counts_for_ninety_days(after: int, count: int) -> None:
    assert at(strike(), day=DAY0 + after).strikes == count


@pytest.mark.parametrize(("after", "count"), [(59, 1), (60, 0)])
def test_a_refused_delivery_counts_for_sixty_days(after: int, count: int) -> None:
    assert at(strike(cod=True), day=DAY0 + after).strikes == count


@pytest.mark.parametrize(("after", "count"), [(-1, 0), (0, 1), (89, 1), (90, 0)])
def test_purchases_count_by_the_day_they_were_confirmed(after: int, count: int) -> None:
    past = Past([Bucket(DAY0, 1)])
    assert at(bought(), day=DAY0 + after).checkouts == count
    assert at(day=DAY0 + after, past=past).checkouts == count


@pytest.mark.parametrize(
    ("strikes", "purchases", "action"),
    [
        (0, 0, "none"),
        (1, 0, "none"),
        (2, 0, "require_prepayment"),
        (3, 1, "human_review"),
        (3, 3, "human_review"),
        (3, 4, "require_prepayment"),
        (3, 37, "require_prepayment"),
    ],
)
def test_advice(strikes: int, purchases: int, action: str) -> None:
    told = at(*[strike()] * strikes, *[bought()] * purchases)
    assert (told.strikes, told.checkouts, told.action) == (strikes, strikes + purchases, action)


def test_the_share_is_rounded_to_four_digits() -> None:
    assert at(strike(), bought(), bought()).unpaid_share == 0.3333
    assert at().unpaid_share == 0.0


def test_what_is_folded_keeps_what_a_profile_asks_for_in_any_order() -> None:
    told = [
        checkout_of(
            confirmed(
                "k1",
                channel="app",
                arrived_by="search",
                ships_to="own",
                discount_minor=5,
                items=(Item("shoes"), Item("socks", accessory=True)),
            ),
            checkout="k1",
        ),
        checkout_of(
            confirmed("k2", at=T0 + 2 * DAY, channel="store", gift=True, discount_minor=0),
            checkout="k2",
        ),
        checkout_of(confirmed("k3", at=T0 + 2 * DAY), checkout="k3"),
    ]

    def folded(checkouts: list[Checkout]) -> Past | None:
        past = None
        for checkout in checkouts:
            assert checkout.confirmed is not None
            past = fold(past, checkout, checkout.confirmed)
        return past

    past = folded(told)
    assert past == folded(told[::-1])
    assert past is not None
    assert past.buckets == [Bucket(DAY0, 1, 1, 1), Bucket(DAY0 + 2, 2, 0, 1)]
    assert (past.first, past.first_channel, past.first_arrived_by) == ((T0, "k1"), "app", "search")
    assert (past.last_day, past.purchases) == (DAY0 + 2, 3)
    assert (past.categories, past.many) == (["shoes"], False)
    assert (past.online_only, past.elsewhere) == (False, True)


def test_at_most_eight_categories_are_kept_and_then_many() -> None:
    items = tuple(Item(f"category{i}") for i in range(9))
    for count, many in ((8, False), (9, True)):
        checkout = checkout_of(confirmed(items=items[:count]))
        assert checkout.confirmed is not None
        past = fold(None, checkout, checkout.confirmed)
        assert (len(past.categories), past.many) == (8, many)


@pytest.mark.parametrize(("after", "kept"), [(-1, True), (0, False), (1, False)])
def test_a_bucket_lasts_a_year(after: int, *, kept: bool) -> None:
    past = Past([Bucket(DAY0, 1)])
    left = age(past, now_ms=(DAY0 + 365) * DAY_MS + after, history_ms=365 * DAY_MS)
    assert (left is not None) is kept
