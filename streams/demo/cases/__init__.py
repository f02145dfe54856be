"""The cases a checkout can play, with their shares: each plays its records and says the truth.

A case's docstring is its name on the screen and in the score, its function's name the one of
`hitrun simulate --share`. What is told late is told clearly late, and nothing lies near an edge, so
that a slow machine does not blur the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streams.demo.cases import accused, paid, spared
from streams.demo.play import Buyer

Case = Callable[[Buyer], None]

CASES: Final[tuple[tuple[Case, int], ...]] = (
    (accused.refused, 15),
    (accused.timed_out, 20),
    (accused.expired, 20),
    (accused.hit_and_run, 100),
    (paid.paid, 420),
    (accused.told_late, 30),
    (accused.paid_after, 30),
    (paid.told_three_times, 30),
    (paid.out_of_order, 20),
    (paid.payment_first, 20),
    (paid.free_of_charge, 10),
    (paid.paid_between, 30),
    (paid.two_halves, 15),
    (spared.half, 15),
    (paid.refunded, 15),
    (paid.refund_first, 5),
    (paid.denied_then_paid, 5),
    (accused.denied, 5),
    (paid.other_method_paid, 15),
    (accused.other_method_unpaid, 10),
    (paid.one_order_cancelled, 10),
    (accused.rest_unpaid, 5),
    (accused.serial, 8),
    (accused.wrong_pin, 10),
    (spared.issuer, 20),
    (spared.buyer_cancels, 20),
    (spared.seller_cancels, 10),
    (accused.cancelled_too_late, 5),
    (accused.seller_cancels_late, 10),
    (spared.shipped, 10),
    (accused.shipped_late, 5),
    (accused.overturned, 10),
    (spared.bought_again, 10),
    (accused.bought_again_late, 7),
    (accused.clicked_twice, 7),
    (accused.cod_chosen_late, 5),
    (spared.foreign, 5),
    (spared.from_the_future, 3),
    (spared.amount_in_words, 3),
    (spared.without_key, 3),
    (paid.delivered, 20),
    (spared.lost_by_courier, 5),
    (spared.never_came, 5),
)
"""The cases and their weights: about per mille. The quickest verdicts come first, because each
case is played once in this order before chance decides."""


def words(case: Case) -> str:
    """A case's name for people."""
    return (case.__doc__ or case.__name__).strip()
