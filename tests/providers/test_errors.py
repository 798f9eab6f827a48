"""The tree of errors is what its docstring draws, and what it carries survives the way between processes."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from providers import errors
from providers.errors import ProviderError
from providers.secret import Secret
from ratelimit.limits import Observation

CLASSES = sorted(
    (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, ProviderError)),
    key=lambda item: item.__name__,
)
FIELDS = {
    "code": "http_429",
    "http_status": 429,
    "consumed": {"day": 3, "bucket": 0},
    "observations": (Observation(limit="day", left=4, reset_in_s=1.5), Observation(limit="bucket", at_most=0)),
    "retry_in_s": 7.25,
    "evidence": "<html>…",
}
INTERFACE_KINDS = {"invalid_request", "not_found", "unavailable", "bad_response", "response_too_large", "internal"}


def test_all_is_pinned() -> None:
    assert errors.__all__ == [
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
    assert [item.__name__ for item in CLASSES] == errors.__all__


def drawn_tree() -> dict[str, str | None]:
    """Class to parent, as the docstring draws it: four columns a level."""
    parents: dict[str, str | None] = {}
    line_of: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ((?:[│├└ ][ ─]{2} )*)([A-Z]\w+)(?:  |$)", line)
        if match:
            level, name = len(match[1]) // 4, match[2]
            line_of[level:] = [name]
            parents[name] = line_of[level - 1] if level else None
    return parents


def test_the_docstrings_tree_is_the_real_one() -> None:
    real = {item.__name__: item.__bases__[0].__name__ for item in CLASSES}
    real["ProviderError"] = None  # type: ignore[assignment]
    assert drawn_tree() == real
    assert all(len(item.__bases__) == 1 for item in CLASSES)


def test_kinds_are_the_interfaces() -> None:
    assert {item.__name__: item.kind for item in CLASSES} == {
        "AccountError": "internal",
        "BadResponse": "bad_response",
        "Challenge": "unavailable",
        "InvalidRequest": "invalid_request",
        "NoAnswer": "unavailable",
        "NotFound": "not_found",
        "NotSent": "unavailable",
        "ProviderError": "internal",
        "QuotaExhausted": "internal",
        "ResponseTooLarge": "response_too_large",
        "ServerFault": "unavailable",
        "Throttled": "internal",
        "Transient": "unavailable",
    }
    assert {item.kind for item in CLASSES} == INTERFACE_KINDS


def test_what_may_go_well_later_says_so() -> None:
    assert {item.__name__ for item in CLASSES if item.retryable} == {
        "AccountError",
        "Challenge",
        "NoAnswer",
        "NotSent",
        "QuotaExhausted",
        "ServerFault",
        "Throttled",
        "Transient",
    }


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_survives_pickling_with_all_its_fields(cls: type[ProviderError], protocol: int) -> None:
    back = pickle.loads(pickle.dumps(cls("no tokens", **FIELDS), protocol))
    assert type(back) is cls
    assert vars(back) == {"message": "no tokens", **FIELDS}
    assert (str(back), back.args) == ("no tokens", ("no tokens",))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_survives_pickling_with_nothing_but_a_message(cls: type[ProviderError]) -> None:
    back = pickle.loads(pickle.dumps(cls("no")))
    assert vars(back) == {
        "message": "no",
        "code": None,
        "http_status": None,
        "consumed": None,
        "observations": (),
        "retry_in_s": None,
        "evidence": None,
    }


def test_nothing_spent_and_nobody_knows_stay_apart() -> None:
    assert pickle.loads(pickle.dumps(ProviderError("no", consumed={}))).consumed == {}
    assert pickle.loads(pickle.dumps(ProviderError("no"))).consumed is None


def test_notes_and_copies_survive() -> None:
    error = ProviderError("no", **FIELDS)
    error.add_note("while polling")
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert back.__notes__ == ["while polling"]
        assert vars(back) == vars(error)


def test_observations_are_a_tuple_and_evidence_is_bounded() -> None:
    error = ProviderError("no", observations=[Observation(limit="day")], evidence="é" * 5000)
    assert (error.observations, error.evidence) == ((Observation(limit="day"),), "é" * 2000)


def test_a_key_that_the_vendor_repeats_is_not_carried() -> None:
    Secret("hj38-Ts61")
    error = ProviderError("unknown key hj38-Ts61", evidence="x" * 1995 + "hj38-Ts61" + "y")
    assert (error.message, error.args) == ("unknown key [redacted]", ("unknown key [redacted]",))
    assert error.evidence == "x" * 1995 + "[reda"
    assert b"hj38" not in pickle.dumps(error)
