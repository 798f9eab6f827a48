"""Which requests a fault hits, and how latency is split: pure, no network."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from sandbox_calls import KEY, LOOKUP, asins

from providers.sandbox.asinscope import AsinscopeSandbox
from providers.sandbox.faults import FAULTS, KINDS, Fault, Faults, draw_s
from providers.sandbox.vendor import Call, Latency, Script

CALL = Call("GET", LOOKUP, {"key": [KEY], "asin": [asins(4)]})


def hits(count: int, *faults: Fault, path: str = LOOKUP) -> list[str | None]:
    standing = Faults(threading.RLock(), [LOOKUP])
    standing.replace(faults)
    picked = [standing.pick(path) for _ in range(count)]
    return [pick[0].kind if pick else None for pick in picked]


def test_times_and_skip() -> None:
    assert hits(4, Fault("reset")) == ["reset", None, None, None]
    assert hits(5, Fault("reset", skip=1, times=2)) == [None, "reset", "reset", None, None]
    assert hits(3, Fault("reset", times=None)) == ["reset"] * 3


def test_every() -> None:
    assert hits(7, Fault("close", every=3, times=None)) == [None, None, "close", None, None, "close", None]
    assert hits(5, Fault("close", every=2, skip=1)) == [None, None, "close", None, None]


def test_probability_follows_its_seed() -> None:
    rng = random.Random(7)
    expected = ["hang" if rng.random() < 0.3 else None for _ in range(50)]
    assert hits(50, Fault("hang", probability=0.3, seed=7, times=None)) == expected
    assert 0 < expected.count("hang") < 50


def test_first_match_wins_and_hides_the_request_from_the_rest() -> None:
    faults = (Fault("reset", times=2), Fault("close", skip=1, times=None))
    assert hits(5, *faults) == ["reset", "reset", None, "close", "close"]


def test_on_is_the_metered_paths_or_a_pattern() -> None:
    assert hits(1, Fault("hang"), path="/account/tokens") == [None]
    assert hits(1, Fault("hang", on="/account/tokens"), path="/account/tokens") == ["hang"]
    assert hits(1, Fault("hang", on="/account/*"), path="/account/tokens") == ["hang"]
    assert hits(1, Fault("hang", on="*")) == ["hang"]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "earthquake"},
        {"kind": "reset", "times": 0},
        {"kind": "reset", "probability": 1.5},
        {"kind": "reset", "when": "during"},
        {"kind": "status", "status": 99},
        {"kind": "latency", "seconds": -1},
        {"kind": "reset", "tymes": 2},
        {},
    ],
)
def test_faults_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"validation error|required"):
        FAULTS.validate_python([fields])


def test_faults_are_read_from_json() -> None:
    text = '[{"kind": "latency", "seconds": [2, 0.5], "times": null}, {"kind": "status", "status": 503}]'
    assert FAULTS.validate_json(text) == [Fault("latency", seconds=(2.0, 0.5), times=None), Fault("status", status=503)]


@pytest.mark.parametrize("kind", KINDS)
def test_before_counts_nothing_and_after_charges(pro: AsinscopeSandbox, kind: Any) -> None:
    pro.serve(CALL, Script(fault=Fault(kind)))
    pro.serve(CALL, Script(fault=Fault(kind, when="after")))
    before, after = pro.ledger.entries()
    reaches_the_vendor = kind == "latency"  # only its tokens are counted late
    assert (before.counted, before.vendor_status) == (reaches_the_vendor, 200 if reaches_the_vendor else None)
    assert (after.counted, after.vendor_status, after.cost, after.fault) == (True, 200, 4, kind)
    assert before.asked == after.asked == tuple(asins(4).split(","))
    assert pro.ledger.consumed() == (8 if reaches_the_vendor else 4)


def test_status_in_the_ledger_is_the_one_on_the_wire(pro: AsinscopeSandbox) -> None:
    for fault in (Fault("reset"), Fault("status"), Fault("status", status=429), Fault("html", status=503)):
        pro.serve(CALL, Script(fault=fault))
    pro.set_left(bucket=0)
    for fault in (Fault("close", when="after"), Fault("truncated", when="after")):
        pro.serve(CALL, Script(fault=fault))
    assert [entry.status for entry in pro.ledger.entries()] == [0, 500, 429, 503, 0, 429]
    assert pro.ledger.broken_limits() == list(pro.ledger.entries()[4:])


@pytest.mark.parametrize(("count_at", "before_s"), [("start", 0.0), ("middle", 1.0), ("end", 2.0)])
def test_latency_is_split_at_the_moment_of_counting(pro: AsinscopeSandbox, count_at: Any, before_s: float) -> None:
    pro.set_latency(Latency(2.0, count_at=count_at))
    assert pro.script(LOOKUP) == Script(before_s, 2.0 - before_s)


def test_latency_jitter_is_uniform_around_the_mean() -> None:
    sandbox = AsinscopeSandbox(latency=Latency(0.05, 0.02), seed=3)
    drawn = [sandbox.script("/account/tokens").latency_s for _ in range(200)]
    rng = random.Random(3)
    assert drawn == [0.05 + rng.uniform(-0.02, 0.02) for _ in range(200)]
    assert draw_s(random.Random(1), 0.0, 0.0) == 0.0
    assert min(draw_s(rng, 0.01, 1.0) for _ in range(50)) == 0.0


def test_latency_fault_replaces_the_general_latency(pro: AsinscopeSandbox) -> None:
    pro.set_latency(Latency(1.0))
    late, later = Fault("latency", seconds=5), Fault("latency", seconds=7, when="after")
    reset = Fault("reset")
    pro.faults.replace([late, later, reset])
    assert [pro.script(LOOKUP) for _ in range(4)] == [
        Script(5.0, 0.0, late),
        Script(0.0, 7.0, later),
        Script(0.0, 1.0, reset),
        Script(0.0, 1.0),
    ]


def test_latency_fault_with_jitter_follows_its_seed(pro: AsinscopeSandbox) -> None:
    pro.faults.add(Fault("latency", seconds=(2.0, 0.5), seed=9))
    assert pro.script(LOOKUP).latency_s == 2.0 + random.Random(9).uniform(-0.5, 0.5)


@pytest.mark.parametrize("wrong", [{"mean_s": -1.0}, {"jitter_s": -1.0}, {"count_at": "never"}])
def test_latency_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="latency needs"):
        Latency(**wrong)
