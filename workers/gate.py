"""Which queues this node takes messages from just now.

Set by the waiting room; read by the transport before each fetch, and told to it when one opens. A closed queue keeps
its consumer, so a message that arrives all the same is served, workers keep showing the queue, and nothing has to be
told to the broker.
"""

from __future__ import annotations

from collections.abc import Callable


class Gate:
    """The closed queues of one process, each with the reason, for people."""

    def __init__(self) -> None:
        self._closed: dict[str, str] = {}
        self.on_open: Callable[[str], None] | None = None

    def is_open(self, queue: str) -> bool:
        """Whether messages of this queue may be fetched."""
        return queue not in self._closed

    def close(self, queue: str, why: str) -> None:
        """Fetch nothing more from this queue. Idempotent; the newest reason stays."""
        self._closed[queue] = why

    def open(self, queue: str) -> None:
        """Fetch again, at once. Idempotent."""
        if self._closed.pop(queue, None) is not None and self.on_open is not None:
            self.on_open(queue)

    def why(self, queue: str) -> str | None:
        """Why the queue is closed; ``None`` where it is open."""
        return self._closed.get(queue)


GATE = Gate()
