"""When not to ask a provider what is left: shortly before a reset, so that the one question after it is allowed."""

from __future__ import annotations

from typing import Final

from ratelimit import Snapshot

QUIET_BEFORE_RESET_S: Final = 6.0
"""Longer than the least time between two questions (``Timing.probe_min_s``)."""


def is_reset_near(snapshot: Snapshot) -> bool:
    """Whether a quota is about to be full again."""
    resets = (view.reset_in_s for view in snapshot.limits.values())
    return any(reset_in_s is not None and 0 < reset_in_s < QUIET_BEFORE_RESET_S for reset_in_s in resets)
