"""Which kind of buyer this looks like: a function for each table, the first match wins.

Two published descriptions are behind it (docs/profile.md). It is told from purchases alone, paid
and presumed paid ones, never feeds a verdict, and what nobody told stays None: nothing is guessed.
Days are whole UTC days since 1970; every duration is of whole days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from domain.customer import DAY_MS, Checkout, Past
from domain.past import bought
from domain.policy import Policy, ProfilePolicy
from schemas.outputs import History, Kind, ShortLived, Strategy

# The order of these is stored (`Profile.code`): append only, the first of each is "nothing known".
_HISTORIES: Final = ("none", "new", "one_time", "regular", "irregular")
_KINDS: Final = ("unclassified", "loyal", "discount", "specific_need")
_SHORT_LIVED: Final = ("unknown", "likely", "confirmed", "no")
TRAITS: Final = (
    "few_purchases",
    "online_only",
    "came_by_search",
    "one_category",
    "ships_elsewhere",
    "not_discount_driven",
)
_TOLD: Final = (None, True, False)


class Purchases(Struct, frozen=True, gc=False):
    """A customer's purchases as seen on one UTC day."""

    day: int
    whole: Past
    """All of them, since the last gap of as long as purchases are kept."""
    first_day: int
    last_day: int
    recent: int
    """Those of the days that are kept (365 d)."""
    told: int
    """How many of those said whether they were discounted."""
    discounted: int

    @property
    def total(self) -> int:
        """All of them, also those of days that are no longer kept."""
        return self.whole.purchases


class Profile(Struct, frozen=True, gc=False):
    """What `hitrun.customer.changed` says of a buyer, besides strikes and advice."""

    history: History = "none"
    kind: Kind = "unclassified"
    short_lived: ShortLived = "unknown"
    traits: tuple[bool | None, ...] = (None,) * len(TRAITS)
    """In the order of TRAITS; None: nobody told."""
    strategy: tuple[Strategy, ...] = ("inform",)

    @property
    def code(self) -> int:
        """A number that stands for it: 0 when nothing is known. The strategy follows from the
        rest."""
        return _code(self.history, self.kind, self.short_lived, self.traits)


NOTHING_KNOWN: Final = Profile()


def profile(
    checkouts: Iterable[Checkout], past: Past | None, *, now_ms: int, policy: Policy
) -> Profile:
    """The profile at `now_ms`, by the standings last judged."""
    purchases = purchases_of(checkouts, past, now_ms=now_ms, policy=policy)
    return NOTHING_KNOWN if purchases is None else profile_of(purchases, policy.profile)


def profile_of(purchases: Purchases, policy: ProfilePolicy) -> Profile:
    """The profile that these purchases make."""
    history = history_of(purchases, policy)
    kind = kind_of(purchases, history, policy)
    traits = traits_of(purchases, policy)
    short_lived = short_lived_of(purchases, traits, policy)
    strategy = strategy_of(short_lived, kind, history)
    return Profile(history, kind, short_lived, traits, strategy)


def history_of(purchases: Purchases, policy: ProfilePolicy) -> History:
    """How long, and how steadily. A purchase is new until the day `new_for` after it (exclusive);
    a gap of exactly `regular_gap` is none."""
    is_new = purchases.day < purchases.first_day + policy.new_for_days
    if is_new and purchases.total < policy.regular_purchases:
        return "new"
    if purchases.total == 1 and not is_new:
        return "one_time"
    if purchases.recent >= policy.regular_purchases and _is_steady(purchases, policy):
        return "regular"
    return "irregular"


def _is_steady(purchases: Purchases, policy: ProfilePolicy) -> bool:
    """No gap longer than `regular_gap` among the last `regular_purchases`, nor since."""
    later, left = purchases.day, policy.regular_purchases
    for bucket in reversed(purchases.whole.buckets):
        if later - bucket.day > policy.regular_gap_days:
            return False
        later, left = bucket.day, left - bucket.purchases
        if left <= 0:
            break
    return True


def kind_of(purchases: Purchases, history: History, policy: ProfilePolicy) -> Kind:
    """By what they buy. `impulsive` and `wandering` need browsing, which nobody tells: never
    said. Discounts and categories count where they were told."""
    if history == "regular" and purchases.recent >= policy.loyal_purchases:
        return "loyal"
    if purchases.told >= policy.kind_purchases and _discounted_share(purchases) >= (
        policy.discount_share
    ):
        return "discount"
    if purchases.recent >= policy.kind_purchases and _one_category(purchases) is True:
        return "specific_need"
    return "unclassified"


def _discounted_share(purchases: Purchases) -> float:
    """Of the purchases that said whether they were; divided, so that 3 of 5 is the 0.6 of a
    policy to the last bit."""
    return purchases.discounted / purchases.told


def _one_category(purchases: Purchases) -> bool | None:
    categories = purchases.whole.categories
    return len(categories) == 1 and not purchases.whole.many if categories else None


def traits_of(purchases: Purchases, policy: ProfilePolicy) -> tuple[bool | None, ...]:
    """The six signs of the buyer who comes once, or a few times within 90 days, and never again;
    in the order of TRAITS."""
    whole, by = purchases.whole, purchases.whole.first_arrived_by
    few = purchases.total < policy.loyal_purchases and _within_first(purchases, policy)
    return (
        few,
        whole.online_only,
        None if by is None or by == "unknown" else by == "search",
        _one_category(purchases),
        whole.elsewhere,
        _discounted_share(purchases) < policy.discount_share if purchases.told else None,
    )


def _within_first(purchases: Purchases, policy: ProfilePolicy) -> bool:
    """None later than `new_for` after the first (inclusive)."""
    return purchases.last_day <= purchases.first_day + policy.new_for_days


def short_lived_of(
    purchases: Purchases, traits: tuple[bool | None, ...], policy: ProfilePolicy
) -> ShortLived:
    """Whether this is that buyer: a guess while the first purchase is new, then known."""
    fits = sum(trait is True for trait in traits) >= policy.short_lived_traits
    if purchases.day < purchases.first_day + policy.new_for_days:
        return "likely" if fits else "unknown"
    return "confirmed" if fits and _within_first(purchases, policy) else "no"


def strategy_of(short_lived: ShortLived, kind: Kind, history: History) -> tuple[Strategy, ...]:
    """How to treat them. No discounts for the short-lived: they don't move these buyers."""
    if short_lived in ("likely", "confirmed"):
        return ("soft_sell", "share_tips", "grow_reasons_to_buy")
    if kind == "loyal":
        return ("reward_loyalty",)
    if kind == "discount":
        return ("announce_promotions",)
    if kind == "specific_need":
        return ("recommend_in_category",)
    return ("ask_and_win_back",) if history == "one_time" else ("inform",)


def purchases_of(
    checkouts: Iterable[Checkout], past: Past | None, *, now_ms: int, policy: Policy
) -> Purchases | None:
    """All purchases on the day of `now_ms`; None when there are none, or the newest was as long
    ago as purchases are kept. Those dated after `now_ms` count at once."""
    history_ms = policy.retention.history_ms
    whole = bought(checkouts, past, history_ms=history_ms)
    day, kept = now_ms // DAY_MS, history_ms // DAY_MS
    if whole is None or whole.first is None or whole.last_day + kept <= day:
        return None
    recent = told = discounted = 0
    for bucket in whole.buckets:
        if bucket.day + kept > day:
            recent += bucket.purchases
            told += bucket.told
            discounted += bucket.discounted
    first_day = whole.first[0] // DAY_MS
    return Purchases(day, whole, first_day, whole.last_day, recent, told, discounted)


def next_look_day(purchases: Purchases | None, policy: Policy) -> int:
    """The next UTC day on which the profile may change although no purchase came or went; -1:
    there is none. The first is no longer new, the last is too long ago, the oldest leaves."""
    if purchases is None:
        return -1
    rules, kept = policy.profile, policy.retention.history_ms // DAY_MS
    days = [purchases.last_day + kept, purchases.first_day + rules.new_for_days]
    if purchases.recent >= rules.regular_purchases:
        days.append(purchases.last_day + rules.regular_gap_days + 1)
    if purchases.told or purchases.recent >= min(rules.regular_purchases, rules.kind_purchases):
        oldest = (b.day + kept for b in purchases.whole.buckets)
        days.append(next(day for day in oldest if day > purchases.day))
    return min([day for day in days if day > purchases.day])


def code_of(history: str, kind: str, short_lived: str, traits: Mapping[str, bool | None]) -> int:
    """The number of what was said; -1 for words that this version does not know."""
    return _code(history, kind, short_lived, tuple(map(traits.get, TRAITS)))


@lru_cache(maxsize=4096)  # few profiles are common, and this is asked with every look
def _code(history: str, kind: str, short_lived: str, traits: tuple[bool | None, ...]) -> int:
    try:
        code = _HISTORIES.index(history)
        code = code << 4 | _KINDS.index(kind)
        code = code << 3 | _SHORT_LIVED.index(short_lived)
    except ValueError:
        return -1
    for trait in traits:
        code = code << 2 | _TOLD.index(trait)
    return code
