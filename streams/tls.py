"""TLS connections that end when we end them.

asyncio and uvloop, asked to close one, wait up to 30 s for the other side's goodbye (close_notify).
A broker that is just answering does not say it, so stopping a consumer with a fetch under way, as
every takeover does, took half a minute. Waiting for it is not demanded (RFC 8446, 6.1): nothing we
need can come any more. This can go when aiokafka passes `ssl_shutdown_timeout`.
"""

from __future__ import annotations

import contextlib
import ssl


class EndsAtOnce(ssl.SSLObject):
    """Says goodbye and waits for none; to be a context's `sslobject_class`."""

    def unwrap(self) -> None:
        """Called in a loop until it raises no more; then the connection is closed."""
        # Want read: the other's goodbye is not there; other errors: its last answer is.
        with contextlib.suppress(ssl.SSLError):
            super().unwrap()
