"""What stays of a purchase when its checkout is forgotten: day buckets and a few firsts.

Enough for the strikes' `checkouts` figure and for the profile; bounded by the days kept.
"""

from __future__ import annotations

from bisect import bisect_left

from domain.customer import DAY_MS, Bucket, Checkout, Past
from domain.facts import MAX_CATEGORIES, Buying, Confirmed

_ONLINE = frozenset({"online", "app"})
_NOTHING_TOLD = Buying()


def fold(past: Past | None, checkout: Checkout, confirmed: Confirmed) -> Past:
    """Adds a purchase (paid or presumed paid) that is about to be forgotten. The order of folding
    does not matter."""
    past = past or Past()
    buying = confirmed.buying or _NOTHING_TOLD
    day = confirmed.at_ms // DAY_MS
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
        categories = sorted({*past.categories, *buying.categories})
        past.many = past.many or len(categories) > MAX_CATEGORIES
        past.categories = categories[:MAX_CATEGORIES]
    return past


def _bucket(past: Past, day: int) -> Bucket:
    buckets = past.buckets
    index = bisect_left(buckets, day, key=lambda bucket: bucket.day)
    if index == len(buckets) or buckets[index].day != day:
        buckets.insert(index, Bucket(day))
    return buckets[index]


def age(past: Past, *, now_ms: int, history_ms: int) -> Past | None:
    """Drops the buckets whose day began `history_ms` ago or earlier; None when none is left."""
    buckets = past.buckets
    while buckets and past_due_ms(buckets[0], history_ms) <= now_ms:
        del buckets[0]
    return past if buckets else None


def past_due_ms(bucket: Bucket, history_ms: int) -> int:
    """When a bucket is dropped."""
    return bucket.day * DAY_MS + history_ms
