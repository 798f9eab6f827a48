"""Settings from the environment and the file; each error names the variable it is about and never repeats a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.settings import Settings, SettingsError, Timing, load

KEY = {"ASINSCOPE_API_KEY": "a-secret-word"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_set() -> None:
    assert load({}) == Settings(redis_url=None, broker_url=None)
    assert load({}).timing == Timing()


def test_an_empty_variable_is_an_unset_one() -> None:
    names = ["TIDEGATE_REDIS_URL", "TIDEGATE_RESULT_STREAM", "ASINSCOPE_API_KEY", "SENTRY_DSN", "TIDEGATE_TIMING"]
    assert load(dict.fromkeys(names, "")) == load({})


def test_all_set() -> None:
    settings = load(
        {
            "TIDEGATE_REDIS_URL": "redis://one:6379/0",
            "TIDEGATE_BROKER_URL": "rediss://two:6380/1",
            "TIDEGATE_RESULT_STREAM": "r",
            "TIDEGATE_DEAD_LETTER_STREAM": "d",
            "SENTRY_DSN": "https://k@sentry.example/1",
            "TIDEGATE_TIMING": "visibility_s=5, hold_s=2.5",
            "ASINSCOPE_BASE_URL": "http://127.0.0.1:1",
            "ASINSCOPE_PLAN": "pro",
            **KEY,
        }
    )
    assert (settings.redis_url, settings.broker_url) == ("redis://one:6379/0", "rediss://two:6380/1")
    assert (settings.result_stream, settings.dead_letter_stream) == ("r", "d")
    assert settings.timing == Timing(visibility_s=5, hold_s=2.5)
    account = settings.account("asinscope")
    assert (account.id, account.base_url, account.plan) == ("asinscope:main", "http://127.0.0.1:1", "pro")
    assert account.key.reveal() == KEY["ASINSCOPE_API_KEY"]
    assert KEY["ASINSCOPE_API_KEY"] not in repr(settings)


def test_the_broker_is_the_same_redis_unless_told_otherwise() -> None:
    assert load({"TIDEGATE_REDIS_URL": "redis://one"}).broker_url == "redis://one"


def test_the_providers_own_address_is_the_default() -> None:
    assert load(KEY).account("asinscope").base_url == "https://api.asinscope.com"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TIDEGATE_REDIS_URL": "localhost:6379"}, "TIDEGATE_REDIS_URL must begin with one of redis://"),
        ({"TIDEGATE_REDIS_URL": "http://localhost"}, "it begins with 'http'"),
        ({"TIDEGATE_BROKER_URL": "amqp://localhost"}, "TIDEGATE_BROKER_URL must begin with"),
        ({"TIDEGATE_CONFIG": "nowhere.toml"}, "TIDEGATE_CONFIG names nowhere.toml, and there is no such file"),
        ({"TIDEGATE_TIMING": "visibility_s"}, "'visibility_s' is not of the form name=seconds"),
        ({"TIDEGATE_TIMING": "visibility_s=soon"}, "'visibility_s=soon' is not of the form name=seconds"),
        ({"TIDEGATE_TIMING": "speed=5"}, "'speed=5'; known names: visibility_s,"),
        ({"TIDEGATE_TIMING": "hold_s=0"}, "all above 0"),
        ({"TIDEGATE_TIMING": "hold_s=nan"}, "all above 0"),
        ({"TIDEGATE_TIMING": "hold_s=inf"}, "all above 0"),
        ({"ASINSCOPE_API_KEY": "two words"}, "one word without white space"),
        ({**KEY, "ASINSCOPE_PLAN": "gold"}, "asinscope has no plan 'gold'; known: basic, pro"),
        ({**KEY, "ASINSCOPE_BASE_URL": "ftp://x"}, "ASINSCOPE_BASE_URL must begin with http:// or https://"),
    ],
)
def test_each_error_says_what_is_wrong(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environment)
    assert said in str(caught.value)
    assert "a-secret-word" not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_a_file_stands_behind_the_environment(empty_folder: Path) -> None:
    (empty_folder / "tidegate.toml").write_text('[asinscope]\napi_key = "from-the-file"\nplan = "basic"\n')
    assert load({}).account("asinscope").key.reveal() == "from-the-file"
    assert load({"ASINSCOPE_PLAN": "pro"}).account("asinscope").plan == "pro"
    assert load(KEY).account("asinscope").key.reveal() == "a-secret-word"


@pytest.mark.parametrize(
    ("text", "said"),
    [("[asinscope", "is no valid TOML"), ("asinscope = 1", "[asinscope] in the configuration file must be a table")],
)
def test_a_file_that_makes_no_sense(empty_folder: Path, text: str, said: str) -> None:
    (empty_folder / "own.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load({"TIDEGATE_CONFIG": "own.toml"})
    assert said in str(caught.value)


@pytest.mark.parametrize("content", ["[asinscope]\napi_key = 5\n", '[asinscope]\napi_key = "k"\nplan = 5\n'])
def test_a_value_of_another_type_in_the_file(empty_folder: Path, content: str) -> None:
    (empty_folder / "tidegate.toml").write_text(content)
    with pytest.raises(SettingsError, match="asinscope"):
        load({})


def test_no_redis() -> None:
    with pytest.raises(SettingsError, match=r"set TIDEGATE_REDIS_URL .*tidegate up"):
        load({}).required_redis_url  # noqa: B018 - raises


def test_no_such_provider_and_none_configured() -> None:
    with pytest.raises(SettingsError, match="there is no provider 'somebody'; known: asinscope"):
        load({}).account("somebody")
    with pytest.raises(SettingsError, match="asinscope is not configured: set ASINSCOPE_API_KEY"):
        load({}).account("asinscope")
