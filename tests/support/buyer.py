"""The naive reading of the profile: all purchases in a list, every figure counted anew.

Part of the oracle: shares no code with `domain/`. `buyer(cases, now, policy)` is what a customer
event must say of the buyer at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.support.oracle import Case, Policy
from tests.support.reading import DAY

NOBODY: dict[str, Any] = {
    "history": "none",
    "kind": "unclassified",
    "short_lived": "unknown",
    "traits": {
        "few_purchases": None,
        "online_only": None,
        "came_by_search": None,
        "one_category": None,
        "ships_elsewhere": None,
        "not_discount_driven": None,
    },
    "strategy": ["inform"],
}
"""Nothing is known: what stands as long as no customer event says otherwise."""


@dataclass
class Purchase:
    """One of them, with what its confirmed event said."""

    at: int
    id: str
    data: dict[str, Any]

    @property
    def day(self) -> int:
        return self.at // DAY

    @property
    def categories(self) -> set[str]:
        items = self.data.get("items", [])
        return {i["category"] for i in items if i.get("category") and not i.get("accessory")}


def purchases(cases: dict[str, Case], today: int, policy: Policy) -> list[Purchase]:
    """In their order. What was before a gap of 365 days, or as long ago, is forgotten."""
    kept = policy["retention"]["history"] // DAY
    found = sorted(
        (
            Purchase(case.confirmed_at, case.id, case.data)
            for case in cases.values()
            if case.name in ("paid", "presumed_paid")
        ),
        key=lambda p: (p.at, p.id),
    )
    if found and found[-1].day <= today - kept:
        return []
    for n in range(len(found) - 1, 0, -1):
        if found[n].day - found[n - 1].day >= kept:
            return found[n:]
    return found


def buyer(cases: dict[str, Case], now: int, policy: Policy) -> dict[str, Any]:
    """history, kind, short_lived, traits and strategy."""
    rules, today = policy["profile"], now // DAY
    bought = purchases(cases, today, policy)
    if not bought:
        return NOBODY
    days = [p.day for p in bought]
    age_of_first = today - days[0]
    new_for, gap = rules["new_for"] // DAY, rules["regular_gap"] // DAY
    year = [p for p in bought if p.day > today - policy["retention"]["history"] // DAY]
    said_discount = [p.data["discount_minor"] > 0 for p in year if "discount_minor" in p.data]
    much_discounted = (
        sum(said_discount) / len(said_discount) >= rules["discount_share"]
        if said_discount
        else None
    )

    last = [*days[-rules["regular_purchases"] :], max(today, days[-1])]
    gaps = [b - a for a, b in pairwise(last)]
    if age_of_first < new_for and len(bought) < rules["regular_purchases"]:
        history = "new"
    elif age_of_first >= new_for and len(bought) == 1:
        history = "one_time"
    elif len(year) >= rules["regular_purchases"] and max(gaps) <= gap:
        history = "regular"
    else:
        history = "irregular"

    categories = set().union(*(p.categories for p in bought))
    kind = "unclassified"
    if history == "regular" and len(year) >= rules["loyal_purchases"]:
        kind = "loyal"
    elif len(said_discount) >= rules["kind_purchases"] and much_discounted:
        kind = "discount"
    elif len(year) >= rules["kind_purchases"] and len(categories) == 1:
        kind = "specific_need"

    channels = [p.data["channel"] for p in bought if "channel" in p.data]
    sent = [
        p.data.get("ships_to") == "other" or p.data.get("gift") is True
        for p in bought
        if "ships_to" in p.data or "gift" in p.data
    ]
    came_by = bought[0].data.get("arrived_by", "unknown")
    spread = days[-1] - days[0]
    traits = {
        "few_purchases": len(bought) < rules["loyal_purchases"] and spread <= new_for,
        "online_only": all(c in ("online", "app") for c in channels) if channels else None,
        "came_by_search": None if came_by == "unknown" else came_by == "search",
        "one_category": len(categories) == 1 if categories else None,
        "ships_elsewhere": any(sent) if sent else None,
        "not_discount_driven": None if much_discounted is None else not much_discounted,
    }
    enough = list(traits.values()).count(True) >= rules["short_lived_traits"]
    if age_of_first < new_for:
        short_lived = "likely" if enough else "unknown"
    else:
        short_lived = "confirmed" if enough and spread <= new_for else "no"
    return {
        "history": history,
        "kind": kind,
        "short_lived": short_lived,
        "traits": traits,
        "strategy": strategy(short_lived, kind, history),
    }


def strategy(short_lived: str, kind: str, history: str) -> list[str]:
    """It follows from the rest, whoever said that."""
    if short_lived in ("likely", "confirmed"):
        return ["soft_sell", "share_tips", "grow_reasons_to_buy"]
    by_kind = {
        "loyal": "reward_loyalty",
        "discount": "announce_promotions",
        "specific_need": "recommend_in_category",
    }
    if kind in by_kind:
        return [by_kind[kind]]
    return ["ask_and_win_back" if history == "one_time" else "inform"]


def turning_days(cases: dict[str, Case], policy: Policy) -> list[int]:
    """Every UTC day on which a profile could turn by itself."""
    lengths = {
        policy["profile"]["new_for"] // DAY,
        policy["profile"]["regular_gap"] // DAY + 1,
        policy["retention"]["history"] // DAY,
    }
    return [
        case.confirmed_at // DAY + length
        for case in cases.values()
        if case.name in ("paid", "presumed_paid")
        for length in lengths
    ]


def said_of(data: dict[str, Any]) -> dict[str, Any]:
    """The profile in a customer event's data."""
    return {name: data.get(name) for name in NOBODY}
