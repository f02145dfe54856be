"""`hitrun` with a fault of ours in it (tests.support.stumbling) and with the moments at which it
can be killed (tests.support.moments)."""

from domain import ledger
from tests.support.moments import run
from tests.support.stumbling import stumbling_judge

if __name__ == "__main__":
    ledger.judge = stumbling_judge  # type: ignore[attr-defined]
    run()
