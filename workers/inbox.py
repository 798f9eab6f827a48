"""What is known of each message id: finished, being worked on, or waiting with what it carries.

One small hash per id, in the slot of the result stream, so that publishing and remembering are one script. The same
id is the same message: a second copy of a finished one is dropped, a second copy of one in work waits aside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from redis import Redis

from providers.base import Progress
from ratelimit.scripts import source
from workers.documents import ResultDocument

RECORD_KEPT_S: Final = 45 * 86400.0
"""How long the record of a waiting message is kept after its last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What a message carries from one run to the next.

    ``attempts``: requests that were answered or failed, waiting not counted; ``faults``: how many of them failed in a
    row just now; ``consumed``: units paid for so far.
    """

    attempts: int = 0
    faults: int = 0
    deferrals: int = 0
    started_at: str = ""
    consumed: int = 0
    progress: Progress = field(default_factory=dict)

    def with_(self, **changes: Any) -> Carried:
        """A copy with some fields changed."""
        return replace(self, **changes)


FINISHED: Final = "finished"
BUSY: Final = "busy"


class Inbox:
    """Records of message ids, and the result stream beside them. Times in seconds; one instance serves threads."""

    def __init__(self, redis: Redis, stream: str, *, owned_s: float, done_s: float) -> None:
        self._redis = redis
        self._stream = stream
        self._owned_ms = round(owned_s * 1000)
        self._done_ms = round(done_s * 1000)
        self._open = redis.register_script(source("open", "workers"))
        self._keep = redis.register_script(source("keep", "workers"))
        self._release = redis.register_script(source("release", "workers"))
        self._publish = redis.register_script(source("publish", "workers"))

    def open(self, message_id: str, owner: str) -> Carried | str:
        """Take the message for this delivery. :data:`FINISHED`, :data:`BUSY`, or what it carries."""
        reply = cast("list[Any]", self._open(keys=[self._key(message_id)], args=[owner, self._owned_ms]))
        if reply[0] == 0:
            return FINISHED
        if reply[0] == 1:
            return BUSY
        attempts, deferrals, started, packed = (item.decode() for item in reply[1:])
        extra = json.loads(packed) if packed else {}
        return Carried(
            attempts=int(attempts),
            deferrals=int(deferrals),
            started_at=started,
            faults=extra.get("faults", 0),
            consumed=extra.get("consumed", 0),
            progress=extra.get("progress", {}),
        )

    def keep(self, owners: Mapping[str, str]) -> int:
        """Renew ownerships (message id to owner). Returns how many are still ours."""
        kept = 0
        for message_id, owner in owners.items():
            kept += cast("int", self._keep(keys=[self._key(message_id)], args=[self._owned_ms, owner]))
        return kept

    def release(self, message_id: str, owner: str, carried: Carried) -> bool:
        """Let go of a message that waits somewhere else now. ``False`` where it was not ours any more."""
        packed = ""
        if carried.progress or carried.consumed or carried.faults:
            packed = json.dumps({"progress": carried.progress, "consumed": carried.consumed, "faults": carried.faults})
        arguments: Sequence[Any] = [
            owner,
            carried.attempts,
            carried.deferrals,
            carried.started_at,
            packed,
            round(RECORD_KEPT_S * 1000),
        ]
        return bool(self._release(keys=[self._key(message_id)], args=arguments))

    def publish(self, document: ResultDocument) -> bool:
        """Add the result to the stream, once per message id. ``False`` where it had one before."""
        fields = [part for pair in document.fields().items() for part in pair]
        keys = [self._stream, self._key(document.task_id)]
        return bool(self._publish(keys=keys, args=[self._done_ms, *fields]))

    def _key(self, message_id: str) -> str:
        return f"{{{self._stream}}}:message:{message_id}"
