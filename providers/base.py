"""What an adapter declares. Read this before writing one; ``asinscope.py`` is the example to follow.

A provider is described by pure code: it builds requests and reads answers. Somebody else sends them (``http.py``),
asks the limiter, and decides what happens to a message.

An operation runs in steps. For each step the fleet asks :meth:`Operation.claim` what the next request will cost,
reserves that, lets :meth:`Operation.build` make the request, sends it, and hands the answer to
:meth:`Operation.read`, which says :class:`Done` or :class:`More`, or raises one of ``errors.py``. Between two steps
the message is given back with its ``progress``; nothing of it stays in a worker.
"""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from providers.errors import BadResponse, Challenge
from providers.secret import scrub
from ratelimit.limits import AccountLimits, Claim, Observation

MAX_DEPTH: Final = 100
"""How deep an answer may be nested; pydantic's serializer ends at 255."""


class Request(BaseModel):
    """Base of all request models: JSON types as they are, no additional field, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


RequestT = TypeVar("RequestT", bound=Request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request, without host and without key. ``deadline_s`` bounds it whole, to the answer's last byte."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    json: Any = None
    deadline_s: float = 30.0
    max_bytes: int = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole HTTP answer. Header names are lower case. Its ``repr`` shows the status alone: vendors echo keys."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises :class:`~providers.errors.Challenge` for an HTML page, :class:`~providers.errors.BadResponse` for
        anything else that is no JSON object.
        """
        if self.is_page:
            raise Challenge("a page for people came instead of JSON", http_status=self.status, evidence=self.evidence)
        try:
            document = _writable(json.loads(self.body))
        except (ValueError, RecursionError) as error:
            raise BadResponse(
                f"the answer is no JSON ({type(error).__name__})", http_status=self.status, evidence=self.evidence
            ) from None
        if not isinstance(document, dict):
            raise BadResponse("the answer is no JSON object", http_status=self.status, evidence=self.evidence)
        return document

    @property
    def is_page(self) -> bool:
        """Whether this is HTML, by its type or its first characters."""
        start = self.body[:200].removeprefix(codecs.BOM_UTF8).lstrip().lower()
        content_type = self.headers.get("content-type", "").lower()
        return "text/html" in content_type or start.startswith((b"<!doctype html", b"<html"))

    @property
    def evidence(self) -> str:
        """The beginning of the body as text, at most 2,000 characters, scrubbed of keys (before the cut)."""
        return scrub(self.body[:16_000].decode("utf-8", "replace"))[:2000]

    @property
    def retry_after_s(self) -> float | None:
        """The header ``Retry-After``, at most an hour; ``None`` where it is missing or no number of seconds."""
        text = self.headers.get("retry-after", "").strip()
        return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None


def _writable(value: Any, depth: int = 0) -> Any:
    """``value`` as any JSON library can write it again. Raises :class:`ValueError` where it is nested too deep.

    Half a surrogate pair (a title cut in the middle of an emoji) is legal in JSON but cannot be written as UTF-8.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_writable(entry, depth + 1) for entry in value]
    if isinstance(value, dict):
        return {_writable(name): _writable(entry, depth + 1) for name, entry in value.items()}
    return value


Progress = Mapping[str, Any]
"""What a message carries from one step to the next: JSON, kept by the fleet, empty at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The operation is complete. ``data`` goes into the result.

    ``consumed``: units spent per limit, 0 for none; a limit that is not named counts as wholly spent.
    """

    data: Mapping[str, Any]
    consumed: Mapping[str, int] = field(default_factory=dict)
    observations: Sequence[Observation] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Another step is needed, not before ``after_s`` seconds. ``consumed`` as in :class:`Done`."""

    progress: Progress
    after_s: float = 0.0
    consumed: Mapping[str, int] = field(default_factory=dict)
    observations: Sequence[Observation] = ()
    refresh: bool = False
    """Whether what is left should be asked for again: the answer did not say."""


class Operation(ABC, Generic[RequestT]):
    """One thing a provider can be asked for. Pure: no state of its own, no I/O."""

    name: ClassVar[str]
    request_model: type[RequestT]
    free: ClassVar[bool] = False

    @abstractmethod
    def claim(self, request: RequestT, progress: Progress) -> Claim | None:
        """What the next step needs of the account's limits; ``None`` where it needs nothing."""

    @abstractmethod
    def build(self, request: RequestT, progress: Progress, units: int) -> Call:
        """The next step's request. ``units``: what was granted, where the claim is divisible."""

    @abstractmethod
    def read(self, request: RequestT, progress: Progress, units: int, reply: Reply) -> Done | More:
        """Understand the answer to :meth:`build`'s request. Raises :class:`~providers.errors.ProviderError`."""

    def pack(self, arguments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The same work in the fewest requests; for producers that have more than fits into one. Unchecked input."""
        return [dict(entry) for entry in arguments]


@dataclass(frozen=True, slots=True)
class QueryKey:
    """The API key travels as a query parameter of this name."""

    parameter: str


class Provider(ABC):
    """A vendor. ``unit`` is what it sells, in the singular (``"token"``)."""

    name: ClassVar[str]
    unit: ClassVar[str]
    base_url: ClassVar[str]
    credential: ClassVar[QueryKey]
    operations: ClassVar[Mapping[str, Operation[Any]]]
    max_attempts: ClassVar[int] = 4

    @abstractmethod
    def limits(self, plan: str | None) -> AccountLimits:
        """The limits of an account on ``plan``. Raises :class:`ValueError` for a plan that does not exist."""

    def probe(self) -> Call | None:
        """The free request that tells what is left, where there is one."""
        return None

    def read_probe(self, reply: Reply) -> Sequence[Observation]:
        """Understand the answer to :meth:`probe`. Raises :class:`~providers.errors.ProviderError`."""
        raise NotImplementedError(f"{self.name} has no probe")
