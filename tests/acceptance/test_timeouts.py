"""A request that hangs: given up after its deadline, tried again, and its message held by its node all the while."""

from __future__ import annotations

from fleet import LOOKUP, Fleet, until


def test_a_request_that_hangs_is_given_up_and_sent_again(hung_message: tuple[Fleet, str]) -> None:
    """Thirty seconds, far longer than a message may be held without being renewed."""
    fleet, task_id = hung_message
    result = fleet.result_of(task_id, 50)
    assert (result["status"], result["attempts"], result["deferrals"]) == ("ok", 2, 1)
    assert [(entry.path, entry.fault) for entry in fleet.lookups()] == [(LOOKUP, "hang"), (LOOKUP, None)]
    first, second = fleet.lookups()
    assert second.at_s - first.at_s >= 29
    until(lambda: fleet.left_over() == {})
    assert fleet.tracebacks() == ""
