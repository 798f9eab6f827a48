"""What can go wrong between a client and a vendor, declared as data, and the choice of the requests it goes wrong for.

How a fault looks on the wire is :mod:`providers.sandbox.wire`'s part.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

Kind = Literal[
    "status",  # `status`, `body` and `headers` as given
    "latency",  # the answer is right but takes `seconds`, instead of the general latency
    "reset",  # TCP RST instead of an answer
    "close",  # the connection ends without a byte
    "html",  # a challenge page, with `status` 200 or 503
    "broken_json",  # the body ends in the middle, and its length says so
    "truncated",  # the body ends before the length that was announced
    "wrong_content_type",  # text/plain
    "huge",  # valid JSON of `size_bytes`
    "nested",  # `depth` brackets, each inside the other
    "drip",  # headers at once, then one byte of the body each `interval_s`
    "drip_headers",  # one byte of the headers each `interval_s`, then the body at once
    "hang",  # nothing, until the client gives up
]
KINDS: tuple[str, ...] = get_args(Kind)
SILENT_KINDS = frozenset({"reset", "close", "hang"})
"""Kinds that send no status line at all."""

_DEFAULT_STATUS = {"status": 500}
_Seconds = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=False))
class Fault:
    """One thing that goes wrong, and for which requests.

    Which requests: those to ``on`` (a path or a pattern such as ``/jobs/*``; ``None``: the paths the vendor meters).
    Of these the first ``skip`` are spared; then each one is hit, or each ``every``-th, or each with ``probability``
    (from a generator seeded with ``seed``), until ``times`` are hit (``None``: no end).

    ``when="before"``: the request never reaches the vendor, nothing is counted. ``"after"``: it is answered and
    charged, and then goes wrong. For ``latency`` it says on which side of the wait the tokens are counted.

    ``status`` is what the answer starts with (default 500 for kind ``status``, else the vendor's own or 200);
    ``body`` is text or a JSON value; ``seconds`` is a wait or (mean, jitter) of a uniformly distributed one.
    Raises ``pydantic.ValidationError`` (a ``ValueError``) for what makes no sense.
    """

    kind: Kind
    on: str | None = None
    times: Annotated[int, Field(ge=1)] | None = 1
    skip: Annotated[int, Field(ge=0)] = 0
    every: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: int = 0
    when: Literal["before", "after"] = "before"
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    body: str | dict[str, Any] | list[Any] | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    seconds: _Seconds | tuple[_Seconds, _Seconds] = 1.0
    size_bytes: Annotated[int, Field(ge=2)] = 64 * 1024 * 1024
    depth: Annotated[int, Field(ge=1)] = 1_000_000
    interval_s: _Seconds = 1.0

    @property
    def hides_request(self) -> bool:
        """Whether the vendor never gets to see the request."""
        return self.when == "before" and self.kind != "latency"

    def status_on_wire(self, vendor_status: int | None) -> int:
        """Return the status the client is sent, 0 for none, where the vendor itself decided ``vendor_status``."""
        if self.kind in SILENT_KINDS:
            return 0
        return self.status or _DEFAULT_STATUS.get(self.kind) or vendor_status or 200


FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(list[Fault])
"""Reads a JSON list of faults."""


def draw_s(rng: random.Random, mean_s: float, jitter_s: float) -> float:
    """Return a wait of ``mean_s`` plus or minus up to ``jitter_s`` seconds, uniformly distributed, never below 0."""
    return max(0.0, mean_s + rng.uniform(-jitter_s, jitter_s)) if jitter_s else mean_s


class _Standing:
    """A fault and how far it has got."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._rng = random.Random(fault.seed)
        self._seen = 0
        self._hits = 0

    def hits(self) -> bool:
        """Count one request of its paths and say whether it is hit."""
        fault = self.fault
        if fault.times is not None and self._hits >= fault.times:
            return False
        self._seen += 1
        number = self._seen - fault.skip
        if number <= 0 or (fault.every is not None and number % fault.every):
            return False
        if fault.probability is not None and self._rng.random() >= fault.probability:
            return False
        self._hits += 1
        return True

    def wait_s(self) -> float:
        seconds = self.fault.seconds
        return draw_s(self._rng, *seconds) if isinstance(seconds, tuple) else seconds


class Faults:
    """The faults that stand at the moment, in order: the first that hits a request is played.

    A request that an earlier fault hits is not counted by the later ones.
    """

    def __init__(self, lock: threading.RLock, metered_paths: Iterable[str]) -> None:
        self._lock = lock
        self._metered_paths = frozenset(metered_paths)
        self._standing: tuple[_Standing, ...] = ()

    def replace(self, faults: Iterable[Fault]) -> None:
        """Let exactly ``faults`` stand, each from its beginning."""
        with self._lock:
            self._standing = tuple(_Standing(fault) for fault in faults)

    def add(self, fault: Fault) -> None:
        """Let ``fault`` stand behind those that do."""
        with self._lock:
            self._standing += (_Standing(fault),)

    def pick(self, path: str) -> tuple[Fault, float] | None:
        """Return the fault that hits this request to ``path`` and its wait in seconds (kind ``latency``)."""
        with self._lock:
            for standing in self._standing:
                if self._concerns(standing.fault, path) and standing.hits():
                    return standing.fault, standing.wait_s()
        return None

    def _concerns(self, fault: Fault, path: str) -> bool:
        return path in self._metered_paths if fault.on is None else fnmatchcase(path, fault.on)
