"""An upstream producer in a process of its own: writes a record (base64 of value and key) in a
transaction and leaves it open until it is killed, or until a line comes in, which commits it.

    python -m tests.support.open_transaction BOOTSTRAP TOPIC VALUE KEY TIMEOUT_MS
"""

import asyncio
import base64
import sys

from aiokafka import AIOKafkaProducer


async def hold(bootstrap: str, topic: str, value: bytes, key: bytes, timeout_ms: int) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=f"upstream-{topic}-{key.decode()}",
        transaction_timeout_ms=timeout_ms,
    )
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, value, key)
            print("written", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        print("committed", flush=True)
    finally:
        await producer.stop()


if __name__ == "__main__":
    where, name, *both, timeout = sys.argv[1:]
    content, owner = map(base64.b64decode, both)
    asyncio.run(hold(where, name, content, owner, int(timeout)))
