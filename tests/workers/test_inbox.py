"""One id is one message: taken by one delivery at a time, published once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from workers.documents import ResultDocument, Usage
from workers.inbox import BUSY, FINISHED, Carried, Inbox

STREAM = "results"
RECORD = "{results}:message:m"


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    return Inbox(redis, STREAM, owned_s=20, done_s=100)


def document(task_id: str = "m") -> ResultDocument:
    return ResultDocument(
        task_id=task_id,
        task="asinscope.lookup",
        provider="asinscope",
        account="main",
        status="ok",
        request={},
        data={},
        usage=Usage(unit="token"),
        finished_at="2026-11-21T00:00:00.000Z",
    )


def test_a_message_is_taken_by_one_delivery(inbox: Inbox) -> None:
    assert inbox.open("m", "first") == Carried()
    assert inbox.open("m", "second") == BUSY
    assert inbox.open("m", "first") == Carried(), "to open it again is harmless"
    assert inbox.open("other", "second") == Carried()


def test_an_ownership_lapses_unless_it_is_kept(redis: Redis, inbox: Inbox) -> None:
    inbox.open("m", "first")
    redis.hset(RECORD, "until", 1)
    assert inbox.keep({"m": "first", "gone": "first"}) == 1
    assert inbox.open("m", "second") == BUSY
    redis.hset(RECORD, "until", 1)
    assert inbox.open("m", "second") == Carried()
    assert inbox.keep({"m": "first"}) == 0
    assert not inbox.release("m", "first", Carried(attempts=5))
    assert inbox.open("m", "third") == BUSY


def test_what_a_message_carries_is_there_for_its_next_run(redis: Redis, inbox: Inbox) -> None:
    carried = Carried(
        attempts=3, faults=2, deferrals=4, started_at="2026", consumed=7, progress={"pending": ["B0"], "alone": True}
    )
    inbox.open("m", "first")
    assert inbox.release("m", "first", carried)
    assert inbox.open("m", "second") == carried
    assert redis.pttl(RECORD) > 40 * 86_400_000


def test_a_message_that_carries_nothing_leaves_nothing(redis: Redis, inbox: Inbox) -> None:
    inbox.open("m", "first")
    assert inbox.release("m", "first", Carried(started_at="2026"))
    assert redis.exists(RECORD) == 0


def test_every_record_ends_by_itself(redis: Redis, inbox: Inbox) -> None:
    inbox.open("m", "first")
    assert 20_000 < redis.pttl(RECORD) <= 40_000
    redis.pexpire(RECORD, 1_000)
    inbox.keep({"m": "first"})
    assert 20_000 < redis.pttl(RECORD) <= 40_000
    inbox.publish(document())
    assert 90_000 < redis.pttl(RECORD) <= 100_000


def test_a_result_is_published_once(redis: Redis, inbox: Inbox) -> None:
    inbox.open("m", "first")
    with ThreadPoolExecutor(20) as pool:
        published = list(pool.map(lambda _: inbox.publish(document()), range(100)))
    assert published.count(True) == 1
    [(_, fields)] = redis.xrange(STREAM)
    assert {name.decode() for name in fields} == {"task_id", "task", "provider", "account", "status", "result"}
    assert json.loads(fields[b"result"])["task_id"] == "m"


def test_a_finished_message_stays_finished(inbox: Inbox) -> None:
    inbox.publish(document())
    assert inbox.open("m", "late") == FINISHED
    assert not inbox.release("m", "late", Carried(attempts=1))
    assert inbox.keep({"m": "late"}) == 0
    assert inbox.open("m", "later") == FINISHED


def test_an_owner_of_old_that_publishes_after_all_wins_or_loses_but_never_doubles(redis: Redis, inbox: Inbox) -> None:
    inbox.open("m", "first")
    redis.hset(RECORD, "until", 1)
    inbox.open("m", "second")
    assert [inbox.publish(document()), inbox.publish(document())] == [True, False]
    assert redis.xlen(STREAM) == 1
