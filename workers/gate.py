"""Which queues this node takes messages from just now.

Set by the waiting room, read by the transport before each fetch. A closed queue keeps its consumer, so a message that
arrives all the same is served, workers keep showing the queue, and nothing has to be told to the broker.
"""

from __future__ import annotations


class Gate:
    """The closed queues of one process, each with the reason, for people."""

    def __init__(self) -> None:
        self._closed: dict[str, str] = {}

    def is_open(self, queue: str) -> bool:
        """Whether messages of this queue may be fetched."""
        return queue not in self._closed

    def close(self, queue: str, why: str) -> None:
        """Fetch nothing more from this queue. Idempotent; the newest reason stays."""
        self._closed[queue] = why

    def open(self, queue: str) -> None:
        """Fetch again. Idempotent."""
        self._closed.pop(queue, None)

    def why(self, queue: str) -> str | None:
        """Why the queue is closed; ``None`` where it is open."""
        return self._closed.get(queue)


GATE = Gate()
