"""The tables of the profile, at every edge: one before, at it, one after."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.customer import (
    LISTED_BUCKETS,
    NEVER_MS,
    NOTHING_SAID,
    Announced,
    Bucket,
    Checkout,
    Customer,
    Past,
    Standing,
    decode,
    encode,
)
from domain.past import age, fold
from domain.policy import DEFAULT_POLICY
from domain.profile import (
    NOTHING_KNOWN,
    TRAITS,
    Profile,
    code_of,
    next_look_day,
    profile,
    purchases_of,
)
from schemas.events import Item
from tests.unit.domain_builders import DAY, T0, Shop, checkout_of, confirmed, payment, said

DAY0 = T0 // DAY
YEAR_MS = 365 * DAY


def purchase(day: int, **data: Any) -> Checkout:
    """Confirmed on the day so many after DAY0, and paid."""
    name = data.pop("name", f"k{day}")
    items = tuple(Item(category) for category in data.pop("categories", ()))
    if items:
        data["items"] = items
    checkout = checkout_of(confirmed(name, at=T0 + day * DAY, **data), checkout=name)
    checkout.standing = Standing.PAID
    return checkout


def on(day: int, *checkouts: Checkout, past: Past | None = None) -> Profile:
    return profile(checkouts, past, now_ms=T0 + day * DAY, policy=DEFAULT_POLICY)


def traits(told: Profile) -> dict[str, bool | None]:
    return dict(zip(TRAITS, told.traits, strict=True))


def bought_on(*days: int, **data: Any) -> list[Checkout]:
    return [purchase(day, name=f"k{n}", **data) for n, day in enumerate(days)]


FITTING: dict[str, Any] = {
    "channel": "app",
    "arrived_by": "search",
    "categories": ("shoes",),
    "discount_minor": 0,
}
"""Of a purchase by the buyer who never returns: with few purchases five traits of six are true."""


def test_without_purchases_nothing_is_known() -> None:
    assert on(0) == NOTHING_KNOWN
    assert NOTHING_KNOWN.code == 0 == NOTHING_SAID.profile
    unpaid = purchase(0)
    unpaid.standing = Standing.UNPAID
    assert on(0, unpaid) == NOTHING_KNOWN


@pytest.mark.parametrize(
    ("day", "days", "history"),
    [
        (0, [0], "new"),
        (89, [0], "new"),
        (90, [0], "one_time"),
        (91, [0], "one_time"),
        (364, [0], "one_time"),
        (365, [0], "none"),
        (89, [0, 10, 20], "new"),
        (90, [0, 10, 20], "irregular"),
        (20, [0, 0, 0, 0], "regular"),
        (90, [0, 0, 0, 0], "regular"),
        (91, [0, 0, 0, 0], "irregular"),
        (270, [0, 90, 180, 270], "regular"),
        (271, [0, 90, 180, 271], "irregular"),
        (271, [0, 91, 181, 271], "irregular"),
        (300, [0, 91, 181, 271, 300], "regular"),
        (364, [0, 90, 180, 274], "irregular"),
        (364, [0, 90, 180, 270], "irregular"),
        (360, [0, 90, 180, 270], "regular"),
        (365, [0, 100, 200, 290, 365], "irregular"),
        (363, [0, 80, 160, 240, 320], "regular"),
        (-5, [0], "new"),
    ],
)
def test_history(day: int, days: list[int], history: str) -> None:
    assert on(day, *bought_on(*days)).history == history


@pytest.mark.parametrize(
    ("days", "kind"),
    [([0] * 5, "unclassified"), ([0] * 6, "loyal"), ([0] * 7, "loyal")],
)
def test_loyal_from_six_regular_purchases(days: list[int], kind: str) -> None:
    assert on(0, *bought_on(*days)).kind == kind
    assert on(91, *bought_on(*days)).kind == "unclassified"


def test_loyal_counts_a_year() -> None:
    steady = bought_on(0, 73, 146, 219, 292, 364)
    assert on(364, *steady).kind == "loyal"
    assert on(365, *steady).kind == "unclassified"
    assert on(365, *steady).history == "regular"


@pytest.mark.parametrize(
    ("discounts", "kind"),
    [
        ([5, 5], "unclassified"),
        ([5, 5, 5], "discount"),
        ([5, 5, 0], "discount"),
        ([5, 0, 0], "unclassified"),
        ([5, 5, 5, 0, 0], "discount"),
        ([5, 5, 0, 0], "unclassified"),
        ([5, 5, None], "unclassified"),
        ([5, 5, 5, None, None, None], "discount"),
    ],
)
def test_discount_from_three_that_say_it_and_sixty_percent(
    discounts: list[int | None], kind: str
) -> None:
    bought = [purchase(0, name=f"k{n}", discount_minor=d) for n, d in enumerate(discounts)]
    told = on(91, *bought)
    assert told.kind == kind
    said = [d for d in discounts if d is not None]
    assert traits(told)["not_discount_driven"] is (sum(map(bool, said)) / len(said) < 0.6)


@pytest.mark.parametrize(
    ("categories", "kind", "one"),
    [
        ([("shoes",)] * 2, "unclassified", True),
        ([("shoes",)] * 3, "specific_need", True),
        ([("shoes",), (), ()], "specific_need", True),
        ([("shoes",), ("shoes",), ("hats",)], "unclassified", False),
        ([(), (), ()], "unclassified", None),
        ([("shoes", "hats"), (), ()], "unclassified", False),
        ([tuple(f"c{n}" for n in range(9))] * 3, "unclassified", False),
    ],
)
def test_specific_need_from_three_of_one_category(
    categories: list[tuple[str, ...]], kind: str, *, one: bool | None
) -> None:
    told = on(0, *(purchase(0, name=f"k{n}", categories=c) for n, c in enumerate(categories)))
    assert told.kind == kind
    assert traits(told)["one_category"] is one


@pytest.mark.parametrize(
    ("days", "few"),
    [
        ([0], True),
        ([0] * 5, True),
        ([0] * 6, False),
        ([0, 89], True),
        ([0, 90], True),
        ([0, 91], False),
    ],
)
def test_few_purchases_are_five_within_ninety_days(days: list[int], *, few: bool) -> None:
    assert traits(on(days[-1], *bought_on(*days)))["few_purchases"] is few


@pytest.mark.parametrize(
    ("data", "trait", "told"),
    [
        ([{}], "online_only", None),
        ([{"channel": "app"}, {"channel": "online"}, {}], "online_only", True),
        ([{"channel": "app"}, {"channel": "store"}], "online_only", False),
        ([{}], "came_by_search", None),
        ([{"arrived_by": "unknown"}], "came_by_search", None),
        ([{"arrived_by": "search"}, {"arrived_by": "ad"}], "came_by_search", True),
        ([{"arrived_by": "ad"}, {"arrived_by": "search"}], "came_by_search", False),
        ([{}], "ships_elsewhere", None),
        ([{"ships_to": "own"}, {"gift": True}], "ships_elsewhere", True),
        ([{"ships_to": "other"}, {"ships_to": "own"}], "ships_elsewhere", True),
        ([{"ships_to": "own"}, {"gift": False}], "ships_elsewhere", False),
        ([{}], "not_discount_driven", None),
        ([{"discount_minor": 0}], "not_discount_driven", True),
        ([{"discount_minor": 1}], "not_discount_driven", False),
    ],
)
def test_traits_are_true_false_or_not_told(
    data: list[dict[str, Any]], trait: str, *, told: bool | None
) -> None:
    bought = [purchase(n, **each) for n, each in enumerate(data)]
    assert traits(on(9, *bought))[trait] is told


@pytest.mark.parametrize(
    ("day", "days", "told"),
    [
        (0, [0], "likely"),
        (89, [0], "likely"),
        (90, [0], "confirmed"),
        (90, [0, 90], "confirmed"),
        (91, [0, 91], "no"),
        (89, [0] * 6, "likely"),
    ],
)
def test_short_lived_with_four_traits_or_more(day: int, days: list[int], told: str) -> None:
    assert on(day, *bought_on(*days, **FITTING)).short_lived == told


def test_three_traits_are_not_enough() -> None:
    three = {name: value for name, value in FITTING.items() if name in ("channel", "arrived_by")}
    assert on(89, *bought_on(0, **three)).short_lived == "unknown"
    assert on(90, *bought_on(0, **three)).short_lived == "no"
    assert on(90, *bought_on(0, **three, discount_minor=0)).short_lived == "confirmed"


def test_strategies() -> None:
    soft = ("soft_sell", "share_tips", "grow_reasons_to_buy")
    assert on(0, *bought_on(0, **FITTING)).strategy == soft
    assert on(90, *bought_on(0, **FITTING)).strategy == soft
    assert on(0, *bought_on(*[0] * 6)).strategy == ("reward_loyalty",)
    assert on(91, *bought_on(0, 0, 0, discount_minor=9)).strategy == ("announce_promotions",)
    one_category = bought_on(0, 0, 0, categories=("shoes",))
    assert on(0, *one_category).strategy == ("recommend_in_category",)
    assert on(90, *bought_on(0)).strategy == ("ask_and_win_back",)
    assert on(0, *bought_on(0)).strategy == ("inform",)


@pytest.mark.parametrize("folded", range(7))
def test_what_is_forgotten_counts_like_what_is_not(folded: int) -> None:
    bought = [
        purchase(0, **FITTING),
        purchase(40, channel="store", gift=True, name="k1"),
        purchase(90, **FITTING, name="k2"),
        purchase(180, categories=("a name longer than sixteen characters",), name="k3"),
        purchase(270, discount_minor=5, name="k4"),
        purchase(271, discount_minor=5, name="k5"),
    ]
    past: Past | None = None
    for checkout in bought[:folded]:
        assert checkout.confirmed is not None
        past = fold(past, checkout, checkout.confirmed, history_ms=YEAR_MS)
    before = encode(Customer(past=past), 0)
    for day in (271, 361, 362, 364, 365, 405):
        assert on(day, *bought[folded:], past=past) == on(day, *bought)
    assert encode(Customer(past=past), 0) == before, "looking changes nothing"


def test_after_a_gap_of_a_year_it_all_begins_anew() -> None:
    assert on(365, *bought_on(0, 364)).history == "irregular"
    assert on(365, *bought_on(0, 365)).history == "new"


def test_the_oldest_is_remembered_while_one_within_a_year_of_it_may_be_bought() -> None:
    first, later = purchase(0), purchase(364, name="later")
    assert first.confirmed is not None
    past = fold(None, first, first.confirmed, history_ms=YEAR_MS)
    later.standing = Standing.OPEN
    at: dict[str, int] = {"now_ms": (DAY0 + 365) * DAY, "history_ms": YEAR_MS}
    assert on(365, later, past=past) == NOTHING_KNOWN
    assert age(past, [later], **at) is past
    later.standing = Standing.PAID
    assert on(365, later, past=past).history == "irregular"
    assert age(past, [purchase(365, name="too late")], **at) is None
    assert age(past, [], **at) is None


def test_purchases_forgotten_together_are_forgotten_in_their_order() -> None:
    shop = Shop(now=0)
    for day in (0, 365, 364):
        name, at = f"k{day}", T0 + day * DAY
        shop.tell(confirmed(name, at=at), payment("paid", at=at, checkout=name))
    (changed,) = said(shop.at(T0 + 400 * DAY), "changed")
    assert (changed["history"], changed["traits"]["few_purchases"]) == ("irregular", False)


def test_looks_come_when_something_can_change_and_never_without_purchases() -> None:
    def looks(*days: int, on_day: int = 0) -> int:
        bought = bought_on(*days)
        seen = purchases_of(bought, None, now_ms=T0 + on_day * DAY, policy=DEFAULT_POLICY)
        return next_look_day(seen, DEFAULT_POLICY) - DAY0

    assert next_look_day(None, DEFAULT_POLICY) == -1
    assert looks(0) == 90
    assert looks(0, on_day=89) == 90
    assert looks(0, on_day=90) == 365
    assert looks(0, 5, on_day=90) == 370
    assert looks(0, 90, 180, 270, on_day=270) == 361
    assert looks(0, 90, 180, 270, on_day=361) == 365


def test_codes_tell_profiles_apart_and_unknown_words_are_like_none() -> None:
    told = [on(d, *bought_on(*days, **FITTING)) for d, days in ((0, [0]), (90, [0]), (91, [0] * 6))]
    assert len({p.code for p in [*told, NOTHING_KNOWN]}) == 4
    assert max(p.code for p in told) < 2**32
    assert code_of("wandering", "unclassified", "unknown", {}) == -1


# at rest


def test_a_record_of_0_1_is_read_and_its_profile_was_never_said() -> None:
    customer = Customer(announced=Announced(3, 1, "none"), past=Past([Bucket(DAY0, 1)]))
    former = encode(customer, 5)
    read = decode(former)
    assert (read.look_day, read.announced) == (0, Announced(3, 1, "none", 0))


@pytest.mark.parametrize("days", [1, LISTED_BUCKETS, LISTED_BUCKETS + 1, 365])
def test_buckets_packed_or_not_are_read_as_they_were(days: int) -> None:
    chance = random.Random(days)
    buckets = [
        Bucket(DAY0 + 2 * n, chance.randint(1, 9), chance.randint(0, 1)) for n in range(days)
    ]
    customer = Customer(past=Past(buckets, purchases=days))
    value = encode(customer, 5)
    read = decode(value)
    assert read == customer
    assert encode(read, 5) == value


def test_a_hundred_thousand_purchases_stay_under_two_kilobytes() -> None:
    chance = random.Random(1)
    past: Past | None = None
    for number in range(100_000):
        checkout = purchase(
            chance.randrange(365),
            name=f"3f1c9a52-0000-4000-8000-{number:012}",
            channel="app",
            arrived_by="search",
            categories=(f"category of a rather long name {chance.randrange(20)}",),
            discount_minor=chance.choice([None, 0, 5]),
        )
        assert checkout.confirmed is not None
        past = fold(past, checkout, checkout.confirmed, history_ms=YEAR_MS)
    assert past is not None and len(past.buckets) == 365
    customer = Customer(past=past, announced=Announced(10**6, 9, "require_prepayment", 2**31))
    customer.reminded_ms, customer.folded_until_ms = [T0] * 3, T0
    assert len(encode(customer, NEVER_MS)) < 2_000


def test_ten_years_of_purchases_stay_under_two_kilobytes() -> None:
    shop, told = Shop(), []
    for week in range(10 * 52):
        at = T0 + 7 * week * DAY
        name = f"3f1c9a52-0000-4000-8000-{week:012}"
        told += shop.tell(confirmed(name, at=at), payment("paid", at=at, checkout=name), now=at)
    # the first, the fourth, the sixth, and the first week after the 90th day: not with each
    assert [(o["history"], o["kind"], o["short_lived"]) for o in said(told, "changed")] == [
        ("new", "unclassified", "unknown"),
        ("regular", "unclassified", "unknown"),
        ("regular", "loyal", "unknown"),
        ("regular", "loyal", "no"),
    ]
    shop.at(at + 31 * DAY)
    value = shop.changelog[b"c1"]
    assert value is not None and len(value) < 1_000
    customer = decode(value)
    assert customer.past is not None and customer.past.purchases == 520
    assert not customer.checkouts


def test_a_packed_record_tells_an_older_worker_one_bucket_of_all() -> None:
    past = Past([Bucket(DAY0 + n, 2, 1, 1) for n in range(LISTED_BUCKETS + 1)])
    value = encode(Customer(past=past), 0)
    assert decode(value).past == past
    assert past.packed == b""
    assert replace(past).buckets[0] == Bucket(DAY0, 2, 1, 1)
