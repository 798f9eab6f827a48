"""When a backlog will be done: arithmetic on what is left, nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ratelimit import LimitView


def drained_in_s(units: float, limits: Mapping[str, LimitView]) -> float | None:
    """Seconds until so many units have been granted, the slowest limit deciding; ``None`` where nobody can know."""
    if units <= 0:
        return 0.0
    times = [_one(units, view) for view in limits.values()]
    return None if None in times else max((time for time in times if time is not None), default=0.0)


def _one(units: float, view: LimitView) -> float | None:
    left = view.left
    if left is None:
        return None
    if units <= left:
        return 0.0
    if view.kind == "token_bucket":
        return (units - left) / view.refill_per_s if view.refill_per_s else None
    return _quota(units - left, view)


def _quota(lacking: float, view: LimitView) -> float | None:
    """A quota's whole periods: only the first reset's time is known, so a day is taken for each further one."""
    if view.reset_in_s is None or not view.capacity:
        return None
    return view.reset_in_s + 86400.0 * (math.ceil(lacking / view.capacity) - 1)
