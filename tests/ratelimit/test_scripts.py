"""The Lua files: every one documented, every code mirrored, loaded again when Redis forgot them."""

from __future__ import annotations

import re
from importlib import resources

import pytest
from limiter_steps import grant, tell
from redis import Redis

import ratelimit
from ratelimit import AccountLimits, Limiter, Quota, limiter, scripts

LUA = resources.files("ratelimit") / "lua"
FILES = sorted(file.name.removesuffix(".lua") for file in LUA.iterdir() if file.name.endswith(".lua"))
OPERATIONS = [name for name in FILES if not name.startswith("_")]
INCLUDES = [name for name in FILES if name.startswith("_")]


def text(name: str) -> str:
    return (LUA / f"{name}.lua").read_text(encoding="utf-8")


def head(name: str) -> str:
    """The comment that a file begins with."""
    return "\n".join(line for line in text(name).split("\n-- include:")[0].splitlines() if line.startswith("--"))


def body(name: str) -> str:
    """A file without comments."""
    return re.sub(r"--.*", "", text(name))


def test_every_operation_is_a_script_and_every_script_an_operation():
    assert sorted(limiter._SCRIPT_NAMES) == OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_head_names_every_key_argument_and_reply(name):
    used = set(re.findall(r"\b(?:KEYS|ARGV)\[\d+\]", body(name)))
    documented = set(re.findall(r"\b(?:KEYS|ARGV)\[\d+\]", head(name)))
    assert documented >= used
    assert "Reply" in head(name)
    if re.search(r"KEYS\[\D|#KEYS", body(name)):
        assert re.search(r"per limit|of each", head(name))


@pytest.mark.parametrize("name", INCLUDES)
def test_an_include_says_what_it_is_for(name):
    assert text(name).startswith("-- ")


@pytest.mark.parametrize("name", OPERATIONS)
def test_includes_are_put_in_once_each_and_in_place(name):
    source = scripts.source(name)
    assert "-- include:" not in source
    for include in re.findall(r"-- include: (\w+)", text(name)):
        assert include in INCLUDES
        assert source.count(text(include)) == 1


def test_every_include_is_included():
    included = {include for name in FILES for include in re.findall(r"-- include: (\w+)", text(name))}
    assert included == set(INCLUDES)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_script_compiles_and_uses_no_command_that_looks_at_everything(name, redis):
    assert redis.script_load(scripts.source(name))
    assert not re.search(r"'(KEYS|SCAN|FLUSH\w*|EVAL)'", scripts.source(name))


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_time_never_becomes_text_without_keeping_its_digits(name):
    """Lua's own conversion keeps 14 digits; ``int`` keeps all."""
    for line in body(name).splitlines():
        for part in re.findall(r"\.\.\s*(now\b|start\b|expires\b)", line):
            pytest.fail(f"{name}: {part} joined as text in {line.strip()!r}")


def test_reason_codes_are_mirrored():
    names, numbers = re.search(r"local (EMPTY, .*) = (1, .*)\n", text("_claim")).groups()
    assert [int(number) for number in numbers.split(", ")] == list(range(1, len(limiter._REASONS) + 1))
    assert [reason.name for reason in limiter._REASONS] == names.split(", ")
    assert set(limiter._REASONS) == set(ratelimit.Reason)


def test_a_script_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        scripts.source("nonsense")


def test_names_of_the_public_surface():
    assert sorted(ratelimit.__all__) == [
        "AccountLimits", "Claim", "Denied", "Granted", "Limit", "LimitView", "Limiter", "Mark", "Observation",
        "Quota", "Reason", "Snapshot", "TokenBucket",
    ]  # fmt: skip
    assert all(hasattr(ratelimit, name) for name in ratelimit.__all__)


def test_scripts_are_loaded_again_when_redis_forgot_them(make_limiter, redis):
    limiter = make_limiter()
    for _ in range(2):
        tell(limiter, b=10, q=100)
        limiter.settle(grant(limiter, "m", b=1, q=1))
        limiter.cancel(grant(limiter, b=1, q=1))
        limiter.pause("operator", "why")
        limiter.resume("operator")
        limiter.forget("m")
        limiter.declare()
        assert limiter.peek().limits["b"].capacity == 10.0
        redis.script_flush()


def test_the_servers_clock_is_used_where_no_other_is_given(redis):
    limiter = Limiter(redis, "v:main", AccountLimits(limits=(Quota(name="q", limit=5),)))
    limiter.settle(grant(limiter, q=1))
    seconds, micros = redis.time()
    handle = grant(limiter, q=1).handle
    later, later_micros = redis.time()
    started = int(handle.split(":")[1])
    assert seconds * 1_000_000 + micros <= started <= later * 1_000_000 + later_micros


def test_a_client_that_decodes_answers_serves_as_well(redis_server, redis, clock):
    with Redis(port=redis_server, decode_responses=True) as client:
        limiter = Limiter(client, "v:main", AccountLimits(limits=(Quota(name="q", limit=5),)), clock=clock)
        granted = grant(limiter, q=1)
        limiter.pause("operator", "ö")
        assert limiter.peek().paused_because == "ö"
        assert limiter.settle(granted)
