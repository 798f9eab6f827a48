"""The two limits of ASINScope, to the token, on a stepped clock."""

from __future__ import annotations

import threading
from collections import Counter
from fractions import Fraction

import pytest
from sandbox_calls import KEY, Clock, asins, lookup, tokens

from providers.sandbox.asinscope import PLANS, AsinscopePlan, AsinscopeSandbox

DAILY = {"error": "The daily requests limit has been reached."}


@pytest.mark.parametrize(("plan", "daily", "capacity", "rate"), [("basic", 1_000, 60, 10), ("pro", 10_000, 120, 60)])
def test_as_b41_to_b44_plans(clock: Clock, plan: str, daily: int, capacity: int, rate: int) -> None:
    sandbox = AsinscopeSandbox(plan, keys={KEY: "active"}, clock=clock)
    assert PLANS[plan].codes_per_request == 10
    assert tokens(sandbox).body == {
        "dailyTokensLeft": daily,
        "dailyTokensLimit": daily,
        "minutelyTokensLeft": capacity,
        "minutelyBucketCapacity": capacity,
        "tokensPerMinute": rate,
        "msBeforeNextDailyReset": 86_400_000,
    }


def test_as_b11_b15_b16_b18_a_call_costs_one_token_per_code(pro: AsinscopeSandbox) -> None:
    body = lookup(pro, asin=asins(7)).body
    assert (body["consumedTokens"], body["dailyTokensLeft"], body["bucketSize"]) == (7, 9_993, 113)


def test_as_b46_ten_single_lookups_cost_what_one_of_ten_does(clock: Clock) -> None:
    one, ten = (AsinscopeSandbox("pro", keys={KEY: "active"}, clock=clock) for _ in range(2))
    lookup(one, asin=asins(10))
    for number in range(10):
        lookup(ten, asin=asins(1, number))
    assert tokens(one) == tokens(ten)
    assert tokens(one).body["minutelyTokensLeft"] == 110


def test_trap_3_basic_seventh_batch_of_ten_meets_an_empty_bucket(basic: AsinscopeSandbox) -> None:
    replies = [lookup(basic, asin=asins(10)) for _ in range(7)]
    assert [reply.status for reply in replies] == [200] * 6 + [429]
    assert replies[6].body == {"error": "Not enough tokens in the bucket. Restore rate: 10 / min"}


@pytest.mark.parametrize(("plan", "wait_s"), [("basic", 60.0), ("pro", 10.0)])
def test_as_b43_empty_to_a_batch_of_ten(clock: Clock, plan: str, wait_s: float) -> None:
    sandbox = AsinscopeSandbox(plan, keys={KEY: "active"}, clock=clock)
    sandbox.set_left(bucket=0)
    clock.step(wait_s - 0.001)
    assert tokens(sandbox).body["minutelyTokensLeft"] == 9
    assert lookup(sandbox, asin=asins(10)).status == 429
    clock.step(0.001)
    assert lookup(sandbox, asin=asins(10)).body["bucketSize"] == 0


@pytest.mark.parametrize(("plan", "capacity", "full_s"), [("basic", 60, 360.0), ("pro", 120, 120.0)])
def test_as_b43_empty_to_full_and_no_further(clock: Clock, plan: str, capacity: int, full_s: float) -> None:
    sandbox = AsinscopeSandbox(plan, keys={KEY: "active"}, clock=clock)
    sandbox.set_left(bucket=0)
    clock.step(full_s - 0.001)
    assert tokens(sandbox).body["minutelyTokensLeft"] == capacity - 1
    clock.step(0.001)
    assert tokens(sandbox).body["minutelyTokensLeft"] == capacity
    clock.step(3_600.0)
    assert tokens(sandbox).body["minutelyTokensLeft"] == capacity


@pytest.mark.parametrize(("plan", "day_s"), [("basic", 94 * 60.0), ("pro", 164 * 60.0 + 40.0)])
def test_a_full_day_at_full_speed_lasts_as_long_as_the_sheet_computes(clock: Clock, plan: str, day_s: float) -> None:
    sandbox = AsinscopeSandbox(plan, keys={KEY: "active"}, clock=clock)
    started_s, granted = clock.now_s, 0
    while tokens(sandbox).body["dailyTokensLeft"]:
        if lookup(sandbox, asin=asins(1)).status == 200:
            granted += 1
        else:
            clock.step(1.0)
    assert (granted, clock.now_s - started_s) == (PLANS[plan].daily_tokens, day_s)


def test_as_q15_fractions_are_kept_and_reports_are_floored(basic: AsinscopeSandbox, clock: Clock) -> None:
    basic.set_left(bucket=0)
    lefts = []
    for _ in range(120):  # 0.1 s at 10 a minute is a sixtieth of a token
        clock.step(0.1)
        lefts.append(tokens(basic).body["minutelyTokensLeft"])
    assert lefts == [Fraction(step, 60) // 1 for step in range(1, 121)]


def test_as_q15_a_spend_keeps_the_fraction(basic: AsinscopeSandbox, clock: Clock) -> None:
    basic.set_left(bucket=3)
    clock.step(5.0)  # 3 and 5/6
    assert lookup(basic, asin=asins(3)).body["bucketSize"] == 0
    clock.step(1.0)
    assert tokens(basic).body["minutelyTokensLeft"] == 1


def test_as_q4_bucket_is_all_or_nothing(pro: AsinscopeSandbox) -> None:
    pro.set_left(bucket=5)
    assert lookup(pro, asin=asins(10)).status == 429
    assert (pro.left()["day"], pro.left()["bucket"]) == (10_000, 5)
    assert lookup(pro, asin=asins(5)).status == 200


def test_as_q5_day_is_all_or_nothing(pro: AsinscopeSandbox) -> None:
    pro.set_left(day=5)
    assert (lookup(pro, asin=asins(10)).status, pro.left()["day"], pro.left()["bucket"]) == (429, 5, 120)
    assert lookup(pro, asin=asins(5)).body["dailyTokensLeft"] == 0


def test_as_b45_b52_b53_b59_each_limit_alone_refuses_and_the_text_tells_which(pro: AsinscopeSandbox) -> None:
    pro.set_left(day=0)
    assert lookup(pro, asin=asins(1)).body == DAILY
    pro.set_left(day=10, bucket=0)
    assert lookup(pro, asin=asins(1)).body == {"error": "Not enough tokens in the bucket. Restore rate: 60 / min"}


def test_the_day_is_checked_before_the_bucket(pro: AsinscopeSandbox) -> None:
    pro.set_left(day=0, bucket=0)
    assert lookup(pro, asin=asins(1)).body == DAILY


def test_as_b17_b40_b47_daily_reset_is_a_moving_boundary_told_in_ms(clock: Clock) -> None:
    sandbox = AsinscopeSandbox("pro", keys={KEY: "active"}, clock=clock, day_left_s=82_524.143)
    lookup(sandbox, asin=asins(10))
    assert lookup(sandbox, asin=asins(1)).body["msBeforeNextDailyToken"] == 82_524_143
    assert tokens(sandbox).body["msBeforeNextDailyReset"] == 82_524_143
    clock.step(82_524.142)
    assert (sandbox.left()["day"], sandbox.left()["ms_to_reset"]) == (9_989, 1)
    clock.step(0.001)
    assert (sandbox.left()["day"], sandbox.left()["ms_to_reset"]) == (10_000, 86_400_000)


def test_as_b47_several_days_may_pass_between_two_calls(clock: Clock) -> None:
    plan = AsinscopePlan(bucket_capacity=10, tokens_per_minute=60, daily_tokens=20, day_s=100.0)
    sandbox = AsinscopeSandbox(plan, keys={KEY: "active"}, clock=clock, day_left_s=40.0)
    lookup(sandbox, asin=asins(10))
    clock.step(40.0 + 250.0)
    assert sandbox.left() == {"day": 20, "bucket": 10, "ms_to_reset": 50_000}


def test_as_b32_b49_asking_for_tokens_moves_nothing(pro: AsinscopeSandbox) -> None:
    lookup(pro, asin=asins(1))
    replies = [tokens(pro) for _ in range(50)]
    assert {(reply.body["dailyTokensLeft"], reply.body["minutelyTokensLeft"]) for reply in replies} == {(9_999, 119)}
    assert pro.ledger.consumed() == 1


def test_as_q8_tokens_answers_while_exhausted(pro: AsinscopeSandbox) -> None:
    pro.set_left(day=0, bucket=0)
    assert tokens(pro).status == 200


def test_as_b48_no_rate_limit_header(pro: AsinscopeSandbox) -> None:
    pro.set_left(bucket=1)
    assert [lookup(pro, asin=asins(1)).headers, lookup(pro, asin=asins(1)).headers, tokens(pro).headers] == [
        {},
        {},
        {},
    ]


def test_as_q14_keys_share_one_account(clock: Clock) -> None:
    sandbox = AsinscopeSandbox("pro", keys={"one": "active", "two": "active"}, clock=clock)
    lookup(sandbox, key="one", asin=asins(10))
    assert lookup(sandbox, key="two", asin=asins(10)).body["bucketSize"] == 100


def test_spend_takes_what_is_there(pro: AsinscopeSandbox) -> None:
    assert (pro.spend(100), pro.spend(100), pro.spend(1)) == (100, 20, 0)
    assert (pro.left()["day"], pro.left()["bucket"]) == (9_880, 0)
    assert pro.ledger.entries() == ()
    assert pro.summary()["spent_elsewhere_tokens"] == 120


def test_set_plan_keeps_what_was_used(basic: AsinscopeSandbox, clock: Clock) -> None:
    lookup(basic, asin=asins(10))
    basic.set_plan("pro")
    assert (basic.left()["day"], basic.left()["bucket"]) == (9_990, 50)
    clock.step(1.0)
    assert basic.left()["bucket"] == 51
    basic.set_left(bucket=120)
    basic.set_plan("basic")
    assert (basic.left()["day"], basic.left()["bucket"]) == (990, 60)


def test_set_left_is_bounded(pro: AsinscopeSandbox) -> None:
    pro.set_left(bucket=500)
    assert pro.left()["bucket"] == 120
    with pytest.raises(ValueError, match="0 or more"):
        pro.set_left(day=-1)
    with pytest.raises(ValueError, match="0 or more"):
        pro.spend(-1)


def test_plans_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no plan 'gold'"):
        AsinscopeSandbox("gold")
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        AsinscopePlan(bucket_capacity=-1, tokens_per_minute=1, daily_tokens=1)


def test_one_hundred_threads_get_exactly_the_twelve_batches_that_are_there(pro: AsinscopeSandbox) -> None:
    statuses: Counter[int] = Counter()
    gate = threading.Barrier(100)

    def ask() -> None:
        gate.wait()
        lookup(pro, asin=asins(10))

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = pro.ledger.by_status()
    assert statuses == {200: 12, 429: 88}
    assert pro.ledger.consumed() == 120
