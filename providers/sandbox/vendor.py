"""What every vendor's sandbox is made of. A vendor adds how it reads a request, what it answers and what is left.

A sandbox is pure: no network, no sleeping, time from an injected clock. :mod:`providers.sandbox.server` puts it on a
port and plays latency and faults.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Literal

from providers.sandbox.faults import Fault, Faults, draw_s
from providers.sandbox.ledger import Entry, Ledger, fingerprint

Json = Any
"""A JSON value as :mod:`json` reads it."""


class KeyState(StrEnum):
    """What the vendor thinks of a key."""

    ACTIVE = "active"
    NO_SUBSCRIPTION = "no_subscription"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Call:
    """One request; ``query`` has every value of each parameter, in order, decoded; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is put on the wire: ``body`` is a JSON value (an object, in ASINScope's case)."""

    status: int
    body: Json
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a request asks for, whether or not it is granted: codes as sent, their cost in tokens, the key."""

    codes: tuple[str, ...]
    cost: int
    key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, and whether the request's cost was taken for it."""

    reply: Reply
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an answer takes, in seconds, uniformly ``mean_s`` ± ``jitter_s``, and when the tokens are counted."""

    mean_s: float = 0.0
    jitter_s: float = 0.0
    count_at: Literal["start", "middle", "end"] = "start"

    def __post_init__(self) -> None:
        if self.mean_s < 0 or self.jitter_s < 0 or self.count_at not in ("start", "middle", "end"):
            raise ValueError(f"latency needs seconds from 0 and start, middle or end, got {self}")


@dataclass(frozen=True, slots=True)
class Script:
    """How one request will go: waits in seconds on both sides of the counting, and the fault played, if any."""

    before_s: float = 0.0
    after_s: float = 0.0
    fault: Fault | None = None

    @property
    def latency_s(self) -> float:
        """The whole wait, in seconds."""
        return self.before_s + self.after_s


_PLAIN = Script()
_SHARE_BEFORE_COUNTING = {"start": 0.0, "middle": 0.5, "end": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """What the command line says about any vendor. ``plan`` is a name or a mapping of the plan's own fields."""

    keys: tuple[str, ...]
    plan: Json = None
    day_s: float | None = None
    day_left_s: float | None = None
    latency: Latency = field(default_factory=Latency)


class VendorSandbox(ABC):
    """One account of a vendor, with any number of keys that share it. Safe to use from any thread.

    ``keys`` maps each key to its state; only fingerprints are kept. ``clock`` returns seconds.
    """

    name: ClassVar[str]
    metered_paths: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        keys: Mapping[str, KeyState | str],
        clock: Callable[[], float] = time.monotonic,
        latency: Latency | None = None,
        seed: int = 0,
    ) -> None:
        self.lock = threading.RLock()
        self.ledger = Ledger(self.lock)
        self.faults = Faults(self.lock, self.metered_paths)
        self._clock = clock
        self._keys = {fingerprint(key): KeyState(state) for key, state in keys.items()}
        self._latency = latency or Latency()
        self._rng = random.Random(seed)

    def handle(
        self,
        method: str,
        path: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """Count, answer and record one request, at once and without faults."""
        return self.serve(Call(method, path, query, headers or {}, body), _PLAIN)

    def script(self, path: str) -> Script:
        """Draw how the next request to ``path`` will go."""
        with self.lock:
            picked = self.faults.pick(path)
            if picked is not None and picked[0].kind == "latency":
                fault, wait_s = picked
                return Script(wait_s, 0.0, fault) if fault.when == "before" else Script(0.0, wait_s, fault)
            wait_s = draw_s(self._rng, self._latency.mean_s, self._latency.jitter_s)
            if picked is None and not wait_s:
                return _PLAIN
            before_s = wait_s * _SHARE_BEFORE_COUNTING[self._latency.count_at]
            return Script(before_s, wait_s - before_s, picked[0] if picked else None)

    def serve(self, call: Call, script: Script) -> Reply:
        """Do the vendor's part of one request and record it: the waits and the fault's looks are the server's.

        For a request that a fault keeps from the vendor nothing is counted and the reply is an empty stand-in.
        """
        with self.lock:
            now_s = self._clock()
            self._advance(now_s)
            ask = self._read(call)
            hidden = script.fault is not None and script.fault.hides_request
            answer = None if hidden else self._answer(call, ask, now_s)
            self.ledger.append(self._entry(call, ask, script, answer, now_s))
            return Reply(200, {}) if answer is None else answer.reply

    def _entry(self, call: Call, ask: Ask, script: Script, answer: Answer | None, now_s: float) -> Entry:
        vendor_status = None if answer is None else answer.reply.status
        fault = script.fault
        day_left, bucket_left = self._left()
        return Entry(
            at_s=now_s,
            path=call.path,
            status=fault.status_on_wire(vendor_status) if fault else vendor_status or 0,
            vendor_status=vendor_status,
            asked=ask.codes,
            cost=ask.cost,
            counted=answer is not None and answer.counted,
            day_left=day_left,
            bucket_left=bucket_left,
            fault=fault.kind if fault else None,
            latency_s=script.latency_s,
            key_fingerprint=fingerprint(ask.key),
        )

    def set_key(self, key: str, state: KeyState | str) -> None:
        """Give ``key`` a state, known before or not. Raises ``ValueError`` for an unknown state."""
        with self.lock:
            self._keys[fingerprint(key)] = KeyState(state)

    def set_latency(self, latency: Latency) -> None:
        """Let the requests that arrive from now on take ``latency``."""
        with self.lock:
            self._latency = latency

    def _key_state(self, key: str) -> KeyState:
        """A key never seen is as good as a revoked one."""
        return self._keys.get(fingerprint(key), KeyState.REVOKED)

    def summary(self) -> dict[str, Json]:
        """Return the counts so far, by path and status, and what is left in tokens."""
        with self.lock:
            entries = self.ledger.entries()
            paths = sorted({entry.path for entry in entries})
            return {
                "provider": self.name,
                "requests": len(entries),
                "by_status": dict(self.ledger.by_status()),
                "by_path": {path: dict(self.ledger.by_status(path)) for path in paths},
                "consumed_tokens": self.ledger.consumed(),
                "broken_limits": len(self.ledger.broken_limits()),
                "left": self.left(),
            }

    def controls(self) -> Mapping[str, Callable[[Json], Json]]:
        """Return what ``POST /_sandbox/<name>`` does, by name: from a JSON value to one.

        A control raises ``KeyError``, ``TypeError`` or ``ValueError`` for what it does not understand. A vendor adds
        its own controls to these.
        """
        return {"key": self._control_key, "latency": self._control_latency}

    def _control_key(self, wanted: Json) -> Json:
        key, state = str(wanted["key"]), KeyState(wanted["state"])
        self.set_key(key, state)
        return {"key_fingerprint": fingerprint(key), "state": state}

    def _control_latency(self, wanted: Json) -> Json:
        latency = Latency(**wanted)
        self.set_latency(latency)
        return asdict(latency)

    @abstractmethod
    def left(self) -> dict[str, Json]:
        """Return what the account has left now, by limit."""

    @abstractmethod
    def _advance(self, now_s: float) -> None:
        """Bring the account's limits up to ``now_s``."""

    @abstractmethod
    def _left(self) -> tuple[int | None, int | None]:
        """Return whole tokens left of the day and in the bucket, as of the last ``_advance``."""

    @abstractmethod
    def _read(self, call: Call) -> Ask:
        """Return what ``call`` asks for; never fails, however malformed the call is."""

    @abstractmethod
    def _answer(self, call: Call, ask: Ask, now_s: float) -> Answer:
        """Decide, count and answer one request, the lock held and the limits brought up to ``now_s``."""
