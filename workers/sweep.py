"""Puts back what died with its node: messages fetched but never recorded, and messages that nobody renews."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, cast

from redis import Redis

from ratelimit.scripts import source
from workers.transport import UNACKED, UNACKED_INDEX, in_flight_key


class Sweep:
    """One node's sweep over the broker. All nodes sweep; each step is atomic, so they do not disturb each other."""

    def __init__(
        self,
        broker: Redis,
        lists: Iterable[str],
        *,
        visibility_s: float,
        in_flight_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._lists = tuple(lists)
        self._visibility_s = visibility_s
        self._in_flight_s = in_flight_s
        self._clock = clock
        self._seen: dict[tuple[str, bytes], float] = {}
        self._lapse = broker.register_script(source("lapse", "workers"))
        self._renew = broker.register_script(source("renew", "workers"))
        self._put_back = broker.register_script(source("put_back", "workers"))

    def renew(self, tags: Iterable[str]) -> None:
        """Say that this node still holds these messages."""
        held = list(tags)
        if held:
            self._renew(keys=[UNACKED_INDEX], args=held)

    def lapsed(self) -> int:
        """Put back messages whose node stopped renewing them. Returns how many."""
        return cast("int", self._lapse(keys=[UNACKED, UNACKED_INDEX], args=[self._visibility_s, 100]))

    def stuck(self) -> int:
        """Put back messages that have stood in an in-flight list for some seconds. Returns how many."""
        put_back, now = 0, self._clock()
        standing: dict[tuple[str, bytes], float] = {}
        for name in self._lists:
            for message in cast("list[Any]", self._broker.lrange(in_flight_key(name), 0, 999)):
                since = self._seen.get((name, message), now)
                if now - since < self._in_flight_s:
                    standing[name, message] = since
                elif self._put_back(keys=[in_flight_key(name), name], args=[message]):
                    put_back += 1
        self._seen = standing
        return put_back
