"""The sandbox as a process of its own: one line when ready, exit status 0 on a signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sandbox_calls import asins

from providers.sandbox import SandboxOptions, registry

COMMAND = [sys.executable, "-W", "error", "-m", "providers.sandbox", "asinscope"]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_starts_serves_and_ends(number: signal.Signals) -> None:
    with running() as (process, ready):
        url = ready["url"]
        assert ready == {"provider": "asinscope", "url": url, "key": "sandbox-key-asinscope"}
        parameters = {"key": ready["key"], "asin": asins(10)}
        answer = httpx.get(f"{url}/products/lookup", params=parameters, trust_env=False).json()
        assert (answer["consumedTokens"], answer["bucketSize"], answer["dailyTokensLeft"]) == (10, 50, 990)
        process.send_signal(number)
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0


def test_options_reach_the_sandbox() -> None:
    plan = {"bucket_capacity": 7, "tokens_per_minute": 1, "daily_tokens": 30}
    faults = [{"kind": "status", "status": 503}]
    options = ["--plan", json.dumps(plan), "--day-s", "3600", "--day-left-s", "1800", "--key", "mine"]
    options += [
        "--latency-s",
        "0.01",
        "--latency-jitter-s",
        "0.005",
        "--count-at",
        "end",
        "--faults",
        json.dumps(faults),
    ]
    with running(*options) as (_, ready), httpx.Client(base_url=ready["url"], trust_env=False) as client:
        parameters = {"key": "mine", "asin": asins(1)}
        statuses = [client.get("/products/lookup", params=parameters).status_code for _ in range(2)]
        account = client.get("/account/tokens", params={"key": "mine"}).json()
        entries = client.get("/_sandbox/ledger").json()
    assert (ready["key"], statuses) == ("mine", [503, 200])
    assert account.pop("msBeforeNextDailyReset") <= 1_800_000
    assert account == {
        "dailyTokensLeft": 29,
        "dailyTokensLimit": 30,
        "minutelyTokensLeft": 6,
        "minutelyBucketCapacity": 7,
        "tokensPerMinute": 1,
    }
    assert [0.005 <= entry["latency_s"] <= 0.015 for entry in entries] == [True] * 3


@pytest.mark.parametrize(
    "options",
    [
        ["--plan", "gold"],
        ["--plan", "{"],
        ["--faults", '[{"kind": "earthquake"}]'],
        ["--host", "0.0.0.0"],
        ["--port", "70000"],
        ["--latency-s", "-1"],
        ["--count-at", "never"],
    ],
)
def test_wrong_options_end_it_with_status_2(options: list[str]) -> None:
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr.splitlines()[-1] or "validation error" in done.stderr


@pytest.mark.parametrize("name", registry)
def test_registry_makes_the_vendor_of_that_name(name: str) -> None:
    assert registry[name](SandboxOptions(keys=("mine",))).name == name
