"""What stays of a purchase when its checkout is forgotten: day buckets and a few firsts.

Enough for the strikes' `checkouts` figure and for the profile; bounded by the days kept. `bought`
folds what is not forgotten yet in the same way, so that forgetting changes no profile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from copy import copy

from msgspec.structs import replace

from domain.customer import BOUGHT, DAY_MS, Bucket, Checkout, Past, category_key
from domain.facts import MAX_CATEGORIES, Buying, Confirmed

_ONLINE = frozenset({"online", "app"})
_NOTHING_TOLD = Buying()


def fold(past: Past | None, checkout: Checkout, confirmed: Confirmed, *, history_ms: int) -> Past:
    """Adds a purchase (paid or presumed paid). The order of folding does not matter, but for a
    gap of `history_ms` or more between two purchases: what was before it is forgotten."""
    day, gap = confirmed.at_ms // DAY_MS, history_ms // DAY_MS
    if past is None or day >= past.last_day + gap:
        past = Past()
    elif past.first is not None and day <= past.first[0] // DAY_MS - gap:
        return past
    buying = confirmed.buying or _NOTHING_TOLD
    bucket = _bucket(past, day)
    bucket.purchases += 1
    bucket.discounted += buying.discounted is True
    bucket.told += buying.discounted is not None
    past.purchases += 1
    past.last_day = max(past.last_day, day)
    first = (confirmed.at_ms, checkout.checkout_id)
    if past.first is None or first < past.first:
        past.first = first
        past.first_channel, past.first_arrived_by = buying.channel, buying.arrived_by
    if buying.channel is not None:
        past.online_only = past.online_only is not False and buying.channel in _ONLINE
    if buying.elsewhere is not None:
        past.elsewhere = past.elsewhere is True or buying.elsewhere
    if buying.categories:
        told = map(category_key, (*past.categories, *buying.categories))
        categories = sorted(set(told))
        past.many = past.many or len(categories) > MAX_CATEGORIES
        past.categories = categories[:MAX_CATEGORIES]
    return past


def _bucket(past: Past, day: int) -> Bucket:
    buckets = past.buckets
    index = bisect_left(buckets, day, key=lambda bucket: bucket.day)
    if index == len(buckets) or buckets[index].day != day:
        buckets.insert(index, Bucket(day))
    return buckets[index]


def bought(checkouts: Iterable[Checkout], past: Past | None, *, history_ms: int) -> Past | None:
    """All purchases, forgotten ones and others, as if they were folded; None: there are none.
    Changes nothing."""
    live = [
        (c.confirmed.at_ms, c.checkout_id, c, c.confirmed)
        for c in checkouts
        if c.standing in BOUGHT and c.confirmed is not None
    ]
    if not live:
        return past
    live.sort(key=lambda entry: entry[:2])
    whole = None if past is None else replace(past, buckets=[copy(b) for b in past.buckets])
    for _, _, checkout, confirmed in live:
        whole = fold(whole, checkout, confirmed, history_ms=history_ms)
    return whole


def age(past: Past, checkouts: Iterable[Checkout], *, now_ms: int, history_ms: int) -> Past | None:
    """Drops the buckets whose day began `history_ms` ago or earlier; None when none is left. The
    newest stays as long as a checkout of less than `history_ms` later is known: it may be, or
    become, the purchase by which the older ones are remembered."""
    buckets = past.buckets
    while len(buckets) > 1 and past_due_ms(buckets[0], history_ms) <= now_ms:
        del buckets[0]
    if past_due_ms(buckets[0], history_ms) > now_ms:
        return past
    end_ms = past.last_day * DAY_MS + history_ms
    kept = any(c.confirmed is not None and c.confirmed.at_ms < end_ms for c in checkouts)
    return past if kept else None


def past_due_ms(bucket: Bucket, history_ms: int) -> int:
    """When a bucket no longer counts."""
    return bucket.day * DAY_MS + history_ms
