"""Messages parked until a time, durably and outside the broker's queues.

What is parked here costs no worker memory and no attempt. The pump of any node brings it back to the head of the list
it came from. It is pushed before it is forgotten: a pump that dies in between brings it back twice, and the inbox
drops the second copy. It comes back under a new delivery tag.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final, cast

from redis import Redis

from ratelimit.scripts import source

PUMP_LEASE_MS: Final = 10_000


class DeferralStore:
    """Parked messages of one provider. A message is ``list NUL bytes as its producer wrote them``, keyed by its id."""

    def __init__(self, redis: Redis, provider: str) -> None:
        self._redis = redis
        tag = f"{{tidegate:deferred:{provider}}}"
        self._due_key, self._message_key = f"{tag}:due", f"{tag}:messages"
        self._park = redis.register_script(source("park", "workers"))
        self._due = redis.register_script(source("due", "workers"))
        self._unpark = redis.register_script(source("unpark", "workers"))

    def park(self, message_id: str, record: bytes, in_s: float) -> None:
        """Park a message for ``in_s`` seconds. Parking an id again replaces it."""
        keys = [self._due_key, self._message_key]
        self._park(keys=keys, args=[message_id, max(0, round(in_s * 1000)), record])

    def bring_back(self, broker: Redis, at_most: int = 200) -> int:
        """Push what is due to the head of its list. Returns how many."""
        keys = [self._due_key, self._message_key]
        due = cast("list[Any]", self._due(keys=keys, args=[PUMP_LEASE_MS, at_most]))
        for message_id, record, handed_out in zip(due[::3], due[1::3], due[2::3], strict=True):
            name, _, message = record.partition(b"\0")
            broker.rpush(name.decode(), _with_a_new_tag(message))
            self._unpark(keys=keys, args=[message_id, handed_out])
        return len(due) // 3

    def forget(self, message_id: str) -> None:
        """The message has its result: a copy of it that waits here must not come back."""
        with self._redis.pipeline() as pipe:
            pipe.zrem(self._due_key, message_id)
            pipe.hdel(self._message_key, message_id)
            pipe.execute()

    def count(self) -> int:
        """How many messages are parked."""
        return self._redis.zcard(self._due_key)


def _with_a_new_tag(message: bytes) -> bytes:
    """The same message under a delivery tag of its own.

    The node that parked it acknowledges the old tag a moment later: that must not be taken for this delivery's.
    """
    payload = json.loads(message)
    payload["properties"]["delivery_tag"] = str(uuid.uuid4())
    return json.dumps(payload).encode()
