"""Keys do not print, and are taken out of what does."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_plus

import pytest

from providers import secret as secret_module
from providers.secret import REDACTED, Secret, scrub


@pytest.fixture(autouse=True)
def no_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test knows its own keys only, and leaves none behind: some are a single letter."""
    monkeypatch.setattr(secret_module, "_known", set())
    monkeypatch.setattr(secret_module, "_any_known", None)


@pytest.mark.parametrize("value", ["k", "0123", "a+b/c==", "schlüssel", "sk_live_x-y.z~", "k" * 10_000, "key=1&x"])
def test_a_key_is_had_by_reveal_only(value: str) -> None:
    secret = Secret(value)
    digest = hashlib.sha256(b"tidegate:" + value.encode()).hexdigest()[:12]
    assert (secret.reveal(), secret.fingerprint) == (value, digest)
    assert repr(secret) == str(secret) == f"{secret}" == f"Secret({digest})"
    assert f"{[secret]!r} {{'k': secret}}" == f"[Secret({digest})] {{'k': secret}}"


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", " key", "key ", "key\n", "\tkey", "ke\x00y", "ke\x7fy", "key\u00a0", "k\u200by", "k\ud800"],
)
def test_what_is_no_key_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(ValueError, match=r"^an API key is one word without white space or control characters$"):
        Secret(value)


def test_secrets_are_values() -> None:
    assert Secret("one-key-1") == Secret("one-key-1")
    assert Secret("one-key-1") != Secret("two-key-2")
    assert Secret("one-key-1") != "one-key-1"
    assert len({Secret("one-key-1"), Secret("one-key-1"), Secret("two-key-2")}) == 2


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match=r"^a Secret is not pickled$"):
        pickle.dumps(Secret("one-key-1"), protocol)


def test_a_secret_is_neither_copied_nor_written_as_json_nor_given_attributes() -> None:
    secret = Secret("one-key-1")
    with pytest.raises(TypeError, match="not pickled"):
        copy.copy(secret)
    with pytest.raises(TypeError, match="not JSON serializable"):
        json.dumps({"key": secret})
    with pytest.raises(AttributeError):
        secret.note = "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        vars(secret)


def test_scrub_leaves_other_text_alone() -> None:
    Secret("scrub-me-77")
    for text in ("", "nothing to see", "scrub-me-7", "SCRUB-ME-77"):
        assert scrub(text) == text


def test_scrub_takes_out_every_occurrence() -> None:
    Secret("scrub-me-77")
    assert scrub("scrub-me-77 and ?key=scrub-me-77&x") == f"{REDACTED} and ?key={REDACTED}&x"


@pytest.mark.parametrize("value", ["Qw+1/e=&?#", "ünïcode-Qw1", "Qw~(1)'!*", "Qw%41%2f1"])
def test_scrub_knows_every_way_a_key_is_percent_encoded(value: str) -> None:
    Secret(value)
    ways = {value, quote(value), quote(value, safe=""), quote_plus(value), quote(value, safe="!'()*~")}
    ways.add(quote(value, safe="").replace("%2F", "%2f").replace("%3D", "%3d"))
    for text in ways:
        assert scrub(f"GET /?key={text} HTTP/1.1") == f"GET /?key={REDACTED} HTTP/1.1"


def test_a_key_that_begins_another_leaves_nothing_of_it() -> None:
    Secret("prefix-k1")
    Secret("prefix-k1-and-more")
    Secret("prefix-k1-and")
    assert scrub("prefix-k1-and-more prefix-k1-and prefix-k1") == f"{REDACTED} {REDACTED} {REDACTED}"


def test_what_was_put_in_place_of_a_key_is_not_scrubbed_again() -> None:
    Secret("redacted-9")
    Secret("[redacted]-9")
    assert scrub("redacted-9 [redacted]-9") == f"{REDACTED} {REDACTED}"


def test_secrets_made_by_many_threads_are_all_known() -> None:
    values = [f"thread-key-{number}-{'x' * (number % 7)}" for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(Secret, values))
    assert scrub(" ".join(values)) == " ".join([REDACTED] * 200)


def test_a_secret_as_a_log_argument_does_not_print(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("tidegate.test").debug("with %s %r", Secret("log-key-5"), [Secret("log-key-5")])
    assert "log-key-5" not in caplog.text
    assert Secret("log-key-5").fingerprint in caplog.text
