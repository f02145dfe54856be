"""`hitrun` with a fault of ours in it: judging raises for one customer when a certain checkout of
theirs has a payment."""

from collections.abc import Mapping
from typing import Any

from domain import ledger
from domain.customer import Customer
from streams.cli import main

STUMBLES_OVER = "odd-checkout"
SAYS = "a fault that nobody foresaw"

_judge = ledger.judge


def stumbling_judge(
    customer_id: str, customer: Customer, news: Mapping[str, int | None], *args: Any, **fields: Any
) -> Any:
    odd = customer.find(STUMBLES_OVER)
    if odd is not None and odd.payments:
        raise ZeroDivisionError(SAYS)
    return _judge(customer_id, customer, news, *args, **fields)


if __name__ == "__main__":
    ledger.judge = stumbling_judge  # type: ignore[attr-defined]
    main()
