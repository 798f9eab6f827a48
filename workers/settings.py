"""What the environment says: one frozen object, read once, each error naming the variable it is about."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from providers.base import Provider
from providers.registry import PROVIDERS
from providers.secret import Secret

PREFIX: Final = "tidegate"
_REDIS_SCHEMES: Final = ("redis", "rediss", "unix")


class SettingsError(Exception):
    """Something about the configuration is wrong or missing. The text says what, and what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One metered account of a provider: its key, where requests go, and its plan's name where one is set."""

    provider: Provider
    name: str
    key: Secret
    base_url: str
    plan: str | None = None

    @property
    def id(self) -> str:
        """Name of the account across providers, as in ``asinscope:main``."""
        return f"{self.provider.name}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in seconds that a fleet's nodes must agree on. The defaults suit production; tests shorten them.

    - ``visibility_s``: a held message whose node stopped renewing it goes back to its queue after this long
    - ``renew_s``: how often a node renews what it holds
    - ``in_flight_s``: a fetched message that nobody recorded goes back after this long
    - ``hold_s``: a message that must wait longer than this goes back to the head of its queue
    - ``probe_min_s``: least time between two probes of one account, over the whole fleet
    - ``parked_ask_s``: how often the key of a parked account is tried
    - ``done_s``: how long a finished message's id is remembered; longer than any copy of it can lie around
    """

    visibility_s: float = 20.0
    renew_s: float = 4.0
    in_flight_s: float = 5.0
    hold_s: float = 10.0
    probe_min_s: float = 5.0
    parked_ask_s: float = 10.0
    done_s: float = 7 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of one process. ``redis_url`` is ``None`` where none is configured (``up`` then starts one)."""

    redis_url: str | None
    broker_url: str | None
    result_stream: str = "tidegate:results"
    dead_letter_stream: str = "tidegate:deadletter"
    accounts: tuple[Account, ...] = ()
    sentry_dsn: str | None = None
    timing: Timing = field(default_factory=Timing)

    def account(self, provider: str) -> Account:
        """The account of a provider. Raises :class:`SettingsError` where it has none."""
        if provider not in PROVIDERS:
            raise SettingsError(f"there is no provider {provider!r}; known: {', '.join(PROVIDERS)}")
        for account in self.accounts:
            if account.provider.name == provider:
                return account
        raise SettingsError(
            f"{provider} is not configured: set {provider.upper()}_API_KEY to the key of its account"
            f" (or run `tidegate up`, which starts a sandbox for it)"
        )

    @property
    def required_redis_url(self) -> str:
        """The Redis URL. Raises :class:`SettingsError` where none is configured."""
        if self.redis_url is None:
            raise SettingsError(
                "no Redis: set TIDEGATE_REDIS_URL (as in redis://localhost:6379/0),"
                " or start `tidegate up` in this folder"
            )
        return self.redis_url


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, and ``tidegate.toml`` behind it. Raises :class:`SettingsError`."""
    env = os.environ if environment is None else environment
    redis_url = _redis_url(env, "TIDEGATE_REDIS_URL")
    accounts = tuple(
        account for provider in PROVIDERS.values() if (account := _account(env, _config(env), provider)) is not None
    )
    return Settings(
        redis_url=redis_url,
        broker_url=_redis_url(env, "TIDEGATE_BROKER_URL") or redis_url,
        result_stream=env.get("TIDEGATE_RESULT_STREAM") or "tidegate:results",
        dead_letter_stream=env.get("TIDEGATE_DEAD_LETTER_STREAM") or "tidegate:deadletter",
        accounts=accounts,
        sentry_dsn=env.get("SENTRY_DSN") or None,
        timing=_timing(env),
    )


def _redis_url(env: Mapping[str, str], name: str) -> str | None:
    url = env.get(name) or None
    if url is not None and urlsplit(url).scheme not in _REDIS_SCHEMES:
        expected = ", ".join(f"{scheme}://" for scheme in _REDIS_SCHEMES)
        raise SettingsError(f"{name} must begin with one of {expected}; it begins with {urlsplit(url).scheme!r}")
    return url


def _config(env: Mapping[str, str]) -> Mapping[str, Any]:
    """``tidegate.toml``: a table per provider with ``api_key``, ``base_url``, ``plan``. The environment wins."""
    path = Path(env.get("TIDEGATE_CONFIG") or "tidegate.toml")
    if not path.exists():
        if env.get("TIDEGATE_CONFIG"):
            raise SettingsError(f"TIDEGATE_CONFIG names {path}, and there is no such file")
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from None


def _account(env: Mapping[str, str], config: Mapping[str, Any], provider: Provider) -> Account | None:
    prefix = provider.name.upper()
    table = config.get(provider.name, {})
    if not isinstance(table, dict):
        raise SettingsError(f"[{provider.name}] in the configuration file must be a table")
    for name in ("api_key", "base_url", "plan"):
        if not isinstance(table.get(name, ""), str):
            raise SettingsError(f"[{provider.name}] {name} in the configuration file must be a text")
    key = env.get(f"{prefix}_API_KEY") or table.get("api_key")
    if not key:
        return None
    base_url = env.get(f"{prefix}_BASE_URL") or table.get("base_url") or provider.base_url
    plan = env.get(f"{prefix}_PLAN") or table.get("plan")
    try:
        provider.limits(plan)
        secret = Secret(key)
    except ValueError as error:
        raise SettingsError(f"{prefix}_PLAN or {prefix}_API_KEY: {error}") from None
    if urlsplit(base_url).scheme not in {"http", "https"}:
        raise SettingsError(f"{prefix}_BASE_URL must begin with http:// or https://")
    return Account(provider=provider, name="main", key=secret, base_url=base_url, plan=plan)


def _timing(env: Mapping[str, str]) -> Timing:
    """``TIDEGATE_TIMING``: numbers by name, as in ``visibility_s=5,hold_s=2``."""
    values: dict[str, float] = {}
    known = Timing.__dataclass_fields__
    for part in filter(None, (env.get("TIDEGATE_TIMING") or "").split(",")):
        name, _, number = part.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise SettingsError(f"TIDEGATE_TIMING: {part!r} is not of the form name=seconds") from None
        if name.strip() not in known or not 0 < values[name.strip()] < float("inf"):
            raise SettingsError(f"TIDEGATE_TIMING: {part!r}; known names: {', '.join(known)}, all above 0")
    return Timing(**values)
