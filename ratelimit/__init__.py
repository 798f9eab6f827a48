"""A distributed limiter for accounts that are metered elsewhere.

A library of its own: it knows Redis and time, nothing of HTTP, Celery or any provider. Start with
:class:`~ratelimit.limiter.Limiter` and the declarations in :mod:`ratelimit.limits`.
"""

from ratelimit.limiter import Limiter
from ratelimit.limits import (
    AccountLimits,
    Claim,
    Denied,
    Granted,
    Limit,
    LimitView,
    Mark,
    Observation,
    Quota,
    Reason,
    Snapshot,
    TokenBucket,
)

__all__ = [
    "AccountLimits",
    "Claim",
    "Denied",
    "Granted",
    "Limit",
    "LimitView",
    "Limiter",
    "Mark",
    "Observation",
    "Quota",
    "Reason",
    "Snapshot",
    "TokenBucket",
]
