"""A clock that only moves when told to, and short ways to call a sandbox without a network."""

from __future__ import annotations

import time
from collections.abc import Callable

from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.vendor import Reply

KEY = "test-key"
LOOKUP = "/products/lookup"
TOKENS = "/account/tokens"


class Clock:
    """Seconds that pass by ``step`` alone."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def step(self, seconds: float) -> None:
        self.now_s += seconds


def asins(count: int, start: int = 0) -> str:
    return ",".join(f"B0{number:08d}" for number in range(start, start + count))


def lookup(sandbox: AsinscopeSandbox, key: str | None = KEY, **parameters: str) -> Reply:
    query = {name: [value] for name, value in parameters.items()}
    if key is not None:
        query["key"] = [key]
    return sandbox.handle("GET", LOOKUP, query)


def tokens(sandbox: AsinscopeSandbox, key: str | None = KEY) -> Reply:
    return sandbox.handle("GET", TOKENS, {} if key is None else {"key": [key]})


def wait_until(effect: Callable[[], object], within_s: float = 60.0) -> None:
    """Return as soon as ``effect`` is there; fail if it is not within ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not effect():
        assert time.monotonic() < deadline, "the effect did not come"
        time.sleep(0.005)
