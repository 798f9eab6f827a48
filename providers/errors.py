"""Everything that can go wrong with a provider, and what it means for the message and for the account.

::

    ProviderError
    ├── InvalidRequest        the provider refuses these arguments       message: failed at once
    ├── NotFound              a normal negative answer                   message: a result that says so
    ├── Throttled             too much, just now                         message: waits, no attempt counted
    ├── QuotaExhausted        nothing left until a reset                 message: waits, no attempt counted
    ├── AccountError          bad key, no subscription, unpaid           message: stays queued; account: parked
    ├── Transient             may go well next time                      message: bounded attempts with backoff
    │   ├── NotSent           no connection: nothing reached the provider
    │   ├── NoAnswer          sent, but cut off or too slow: it may have been counted
    │   ├── ServerFault       a 5xx
    │   └── Challenge         a page for people (HTML) where an answer should be
    └── BadResponse           the answer does not fit the provider's documented form
        └── ResponseTooLarge  more bytes than we are willing to read

All of them survive pickling and carry no URL, no header and no key, not even where the provider's own words hold one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from providers.secret import scrub
from ratelimit.limits import Observation

__all__ = [
    "AccountError",
    "BadResponse",
    "Challenge",
    "InvalidRequest",
    "NoAnswer",
    "NotFound",
    "NotSent",
    "ProviderError",
    "QuotaExhausted",
    "ResponseTooLarge",
    "ServerFault",
    "Throttled",
    "Transient",
]


class ProviderError(Exception):
    """What every class of the tree carries.

    - ``code``: the provider's own code, or ours in the same style; ``http_status``: where there was an answer
    - ``consumed``: units spent per limit; ``{}`` for nothing, ``None`` where nobody knows (taken as wholly spent)
    - ``observations``: what the answer said about limits
    - ``retry_in_s``: the provider's own advice when to come back
    - ``evidence``: the beginning of an unreadable body, for inspection (at most 2,000 characters)
    """

    kind: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        consumed: Mapping[str, int] | None = None,
        observations: Sequence[Observation] = (),
        retry_in_s: float | None = None,
        evidence: str | None = None,
    ) -> None:
        self.message = scrub(message)
        super().__init__(self.message)
        self.code = code
        self.http_status = http_status
        self.consumed = consumed
        self.observations = tuple(observations)
        self.retry_in_s = retry_in_s
        self.evidence = None if evidence is None else scrub(evidence)[:2000]

    def __reduce__(self) -> tuple[Any, ...]:
        fields = vars(self)
        own = {name: fields[name] for name in _FIELDS}
        notes = {name: value for name, value in fields.items() if name not in {"message", *_FIELDS}}
        return _rebuild, (type(self), self.message, own), notes or None


_FIELDS: Final = ("code", "http_status", "consumed", "observations", "retry_in_s", "evidence")


def _rebuild(cls: type[ProviderError], message: str, fields: dict[str, Any]) -> ProviderError:
    return cls(message, **fields)


class InvalidRequest(ProviderError):
    """The provider refuses these arguments; sending them again would be refused again."""

    kind = "invalid_request"


class NotFound(ProviderError):
    """A normal negative answer: there is no such thing."""

    kind = "not_found"


class Throttled(ProviderError):
    """Too many units or requests at this moment; the limiter's idea was too high."""

    retryable = True


class QuotaExhausted(ProviderError):
    """Nothing left until a reset."""

    retryable = True


class AccountError(ProviderError):
    """The account as a whole cannot be used until an operator acts."""

    retryable = True


class Transient(ProviderError):
    """A fault that may be gone next time."""

    kind = "unavailable"
    retryable = True


class NotSent(Transient):
    """No connection was made: nothing reached the provider, nothing was spent."""


class NoAnswer(Transient):
    """The request went out and no whole answer came back in time: it may have been counted."""


class ServerFault(Transient):
    """The provider answered 5xx."""


class Challenge(Transient):
    """A page for people came back (a challenge, a maintenance page) instead of an answer."""


class BadResponse(ProviderError):
    """A whole answer that does not have the documented form."""

    kind = "bad_response"


class ResponseTooLarge(BadResponse):
    """An answer with more bytes than are read from any provider."""

    kind = "response_too_large"
