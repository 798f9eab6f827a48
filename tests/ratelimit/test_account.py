"""The account as a whole: closed and opened by people, by what a provider says, by faults in a row."""

from __future__ import annotations

import math

import pytest
from limiter_steps import denied, grant, take, tell

from ratelimit import Quota, Reason

QUOTA = Quota(name="q", limit=1000)
HALF_OPEN = denied(Reason.HALF_OPEN, "account", 0.25)


@pytest.fixture
def limiter(make_limiter):
    made = make_limiter(QUOTA, faults_to_close=3, closed_for_s=(2.0, 5.0))
    tell(made, q=1000)
    return made


def paused(retry_in_s: float):
    return denied(Reason.PAUSED, "account", retry_in_s)


def fail(limiter) -> None:
    limiter.settle(grant(limiter, q=1), fault=True)


class TestPause:
    def test_nothing_is_granted_until_it_ends(self, limiter, clock):
        assert limiter.pause("retry_after", "the provider asked for it", for_s=7.5, half_open=False)
        assert take(limiter, q=1) == paused(7.5)
        clock.step_us(7_499_999)
        assert take(limiter, q=1) == paused(0.000_001)
        clock.step_us(1)
        grant(limiter, q=1)
        grant(limiter, q=1)

    def test_it_shows(self, limiter):
        limiter.pause("account", "HTTP 402", for_s=60)
        seen = limiter.peek()
        assert (seen.paused_for_s, seen.paused_kind, seen.paused_because) == (60.0, "account", "HTTP 402")
        assert (seen.blocked_reason, seen.blocked_by, seen.next_in_s) == (Reason.PAUSED, "account", 60.0)
        limiter.resume("account")
        seen = limiter.peek()
        assert (seen.paused_for_s, seen.paused_kind, seen.paused_because) == (None, None, None)

    @pytest.mark.parametrize("why", ["403", "1e3", "0x1F", "nan", " 12 ", "ÄÖ: «no»"])
    def test_any_text_may_say_why(self, limiter, why):
        limiter.pause("account", why)
        assert limiter.peek().paused_because == why

    def test_without_an_end_it_lasts_for_years(self, limiter):
        limiter.pause("operator", "holidays")
        assert take(limiter, q=1) == paused(10 * 365 * 86400.0)
        assert limiter.pause("operator", "again", for_s=math.inf) is False

    def test_a_longer_one_that_stands_is_left_alone(self, limiter):
        assert limiter.pause("account", "long", for_s=60)
        assert not limiter.pause("retry_after", "short", for_s=59)
        assert not limiter.pause("retry_after", "as long", for_s=60)
        assert take(limiter, q=1) == paused(60)
        assert limiter.pause("retry_after", "longer", for_s=61)
        assert take(limiter, q=1) == paused(61)

    def test_an_operators_is_not_replaced_by_others(self, limiter):
        limiter.pause("operator", "maintenance", for_s=60)
        assert not limiter.pause("account", "bad key", for_s=600)
        assert limiter.pause("operator", "longer", for_s=600)
        assert take(limiter, q=1) == paused(600)

    def test_what_is_in_flight_may_be_settled(self, limiter):
        granted = grant(limiter, q=1)
        limiter.pause("operator", "stop", for_s=60)
        assert limiter.settle(granted)


class TestResume:
    def test_only_what_closed_it_opens_it(self, limiter):
        limiter.pause("account", "bad key")
        assert not limiter.resume("retry_after")
        assert limiter.resume("account")
        assert not limiter.resume("account")
        grant(limiter, q=1)

    @pytest.mark.parametrize("kind", ["account", "retry_after", "operator"])
    def test_an_operator_opens_any(self, limiter, kind):
        limiter.pause(kind, "why")
        assert limiter.resume("operator")
        grant(limiter, q=1)

    def test_nobody_else_opens_an_operators(self, limiter):
        limiter.pause("operator", "why")
        assert not limiter.resume("account")

    def test_one_request_goes_first(self, limiter):
        limiter.pause("account", "bad key")
        limiter.resume("account")
        first = grant(limiter, q=1)
        assert take(limiter, q=1) == HALF_OPEN
        limiter.settle(first)
        grant(limiter, q=1)
        grant(limiter, q=1)


class TestHalfOpen:
    @pytest.fixture
    def opened(self, limiter, clock):
        limiter.pause("account", "unpaid", for_s=1)
        clock.step(1)
        return limiter

    def test_one_at_a_time_until_one_comes_back_well(self, opened):
        for fault in (None, None):
            opened.settle(grant(opened, q=1), fault=fault)
            assert opened.peek().half_open
        first = grant(opened, q=1)
        assert take(opened, q=1) == HALF_OPEN
        assert opened.peek().blocked_reason is Reason.HALF_OPEN
        opened.settle(first)
        assert not opened.peek().half_open
        grant(opened, q=1)
        grant(opened, q=1)

    def test_a_cancelled_one_lets_the_next_try(self, opened):
        opened.cancel(grant(opened, q=1))
        grant(opened, q=1)
        assert take(opened, q=1) == HALF_OPEN

    def test_one_that_nobody_settles_gives_way_when_its_lease_is_over(self, opened, clock):
        grant(opened, q=1)
        clock.step_us(59_999_999)
        assert take(opened, q=1) == HALF_OPEN
        clock.step_us(1)
        grant(opened, q=1)

    def test_what_was_under_way_before_tells_nothing(self, limiter, clock):
        before = [grant(limiter, q=1) for _ in range(2)]
        limiter.pause("account", "unpaid", for_s=1)
        limiter.settle(before[0])
        clock.step(1)
        assert take(limiter, q=1) == HALF_OPEN  # the other is still under way
        limiter.settle(before[1], fault=True)
        assert limiter.peek().half_open
        assert limiter.peek().paused_for_s is None
        grant(limiter, q=1)
        assert take(limiter, q=1) == HALF_OPEN


class TestFaults:
    def test_so_many_in_a_row_close_the_account(self, limiter):
        fail(limiter)
        fail(limiter)
        assert limiter.peek().paused_for_s is None
        fail(limiter)
        assert take(limiter, q=1) == paused(2)
        assert limiter.peek().paused_kind == "faults"

    @pytest.mark.parametrize(("between", "closes"), [(False, False), (None, True)])
    def test_only_a_good_answer_ends_the_row(self, limiter, between, closes):
        fail(limiter)
        fail(limiter)
        limiter.settle(grant(limiter, q=1), fault=between)
        fail(limiter)
        assert (limiter.peek().paused_for_s is not None) is closes

    def test_each_closing_is_twice_as_long_up_to_the_longest(self, limiter, clock):
        for _ in range(3):
            fail(limiter)
        for closed_for_s in (2, 4, 5, 5):
            assert take(limiter, q=1) == paused(closed_for_s)
            clock.step(closed_for_s)
            first = grant(limiter, q=1)
            assert take(limiter, q=1) == HALF_OPEN
            limiter.settle(first, fault=True)  # one fault is enough now

    def test_a_good_one_starts_it_all_over(self, limiter, clock):
        for _ in range(3):
            fail(limiter)
        clock.step(2)
        fail(limiter)
        clock.step(4)
        limiter.settle(grant(limiter, q=1))
        fail(limiter)
        fail(limiter)
        assert limiter.peek().paused_for_s is None
        fail(limiter)
        assert take(limiter, q=1) == paused(2)

    def test_what_was_in_flight_neither_opens_nor_lengthens_a_closing(self, limiter, clock):
        before = [grant(limiter, q=1) for _ in range(6)]
        for granted in before[:5]:
            limiter.settle(granted, fault=True)
        assert take(limiter, q=1) == paused(2)
        limiter.settle(before[5])
        assert take(limiter, q=1) == paused(2)
        clock.step(2)
        grant(limiter, q=1)
        assert take(limiter, q=1) == HALF_OPEN

    def test_it_can_be_turned_off(self, make_limiter):
        limiter = make_limiter(QUOTA, faults_to_close=0)
        for _ in range(20):
            fail(limiter)
        grant(limiter, q=1)

    def test_an_operator_opens_it(self, limiter):
        for _ in range(3):
            fail(limiter)
        assert limiter.resume("operator")
        grant(limiter, q=1)
