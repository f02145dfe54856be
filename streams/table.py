"""The customers' table as Faust knows it: a read-only view of the lanes' records.

Only a lane writes the changelog, inside its transaction; a write through the table would be
outside of it, so it raises.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import faust
from faust.stores.memory import Store

NAME = "customers"
"""With Faust's naming the changelog is `<group>-customers-changelog`."""


class LanesView(Store):
    """A store without data of its own: customer_id bytes -> record bytes, over all lanes."""

    @property
    def data(self) -> Mapping[bytes, bytes]:
        return ChainMap(*(dict(x.ledger.records) for x in self.app.tables.lanes.values()))

    @data.setter
    def data(self, value: Any) -> None:
        """Faust's store makes itself an empty dict at first; there is nothing to keep."""


class ReadOnlyTable(faust.Table):
    """See the module."""

    def _new_store(self) -> LanesView:
        return LanesView(
            "view://", self.app, self, table_name=self.name, key_type=bytes, value_type=bytes
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        self.on_key_set(key, value)

    def __delitem__(self, key: Any) -> None:
        self.on_key_del(key)

    def on_key_set(self, key: Any, value: Any) -> None:
        raise TypeError("the customers' table is a view: only a lane writes, in its transaction")

    def on_key_del(self, key: Any) -> None:
        raise TypeError("the customers' table is a view: only a lane writes, in its transaction")
