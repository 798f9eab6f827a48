"""Every provider's declarations are whole and agree with each other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from providers.base import Call, Operation, Provider, QueryKey, Request
from providers.http import HttpClient
from providers.registry import PROVIDERS
from providers.secret import Secret
from ratelimit.limits import Claim, Quota, TokenBucket

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "asinscope.lookup": [
        {"asin": ["B01NAL48FU"]},
        {"upc": ["012345678905", "098765432109"], "domain": "com"},
        {"ean": [f"40063813339{number}" for number in range(10, 20)], "domain": "de"},
    ],
}
"""Requests of every operation there is, the smallest and the largest among them."""

LONGEST_REQUEST_S = 60.0
"""The limiter's lease: a reservation must outlive its request."""

providers = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))
operations = pytest.mark.parametrize(
    ("provider", "operation"),
    [(provider, operation) for provider in PROVIDERS.values() for operation in provider.operations.values()],
    ids=[f"{provider.name}.{name}" for provider in PROVIDERS.values() for name in provider.operations],
)


def plans_of(provider: Provider) -> list[str | None]:
    return [None, *getattr(provider, "PLANS", {})]


def test_the_registry_is_keyed_by_name() -> None:
    assert list(PROVIDERS) == ["asinscope"]
    assert all(name == provider.name for name, provider in PROVIDERS.items())
    assert len({type(provider) for provider in PROVIDERS.values()}) == len(PROVIDERS)


def test_task_names_are_unique_and_each_has_an_example() -> None:
    tasks = [f"{provider.name}.{name}" for provider in PROVIDERS.values() for name in provider.operations]
    assert sorted(set(tasks)) == sorted(tasks) == sorted(EXAMPLES)


@providers
def test_names(provider: Provider) -> None:
    assert provider.name.isidentifier()
    assert provider.name == provider.name.lower()
    assert provider.unit.isidentifier()
    assert not provider.unit.endswith("s"), "in the singular"
    assert provider.max_attempts >= 1
    assert provider.operations


@providers
def test_the_base_url_is_https_and_good_for_the_client(provider: Provider) -> None:
    assert provider.base_url.startswith("https://")
    assert not provider.base_url.endswith("/")
    HttpClient(provider.base_url, provider.credential, Secret("any-key-at-all")).close()


@providers
def test_plans_load(provider: Provider) -> None:
    assert isinstance(provider.credential, QueryKey)
    assert provider.credential.parameter.isidentifier()
    for plan in plans_of(provider):
        limits = provider.limits(plan)
        assert limits.limits
        for limit in limits.limits:
            _assert_known(limit, known=plan is not None)


def _assert_known(limit: Quota | TokenBucket, *, known: bool) -> None:
    numbers = [limit.limit] if isinstance(limit, Quota) else [limit.capacity, limit.refill_per_s]
    assert all((number is not None) is known for number in numbers)
    assert not known or all(number is not None and math.isfinite(number) and number > 0 for number in numbers)


@providers
def test_all_plans_have_the_same_limits(provider: Provider) -> None:
    names = [[(type(limit), limit.name) for limit in provider.limits(plan).limits] for plan in plans_of(provider)]
    assert all(entry == names[0] for entry in names)


@providers
@pytest.mark.parametrize("plan", ["", "no-such-plan", "PRO", "basic "])
def test_an_unknown_plan_is_refused_and_the_known_are_named(provider: Provider, plan: str) -> None:
    with pytest.raises(ValueError, match=f"^{provider.name} has no plan {plan!r}") as caught:
        provider.limits(plan)
    assert all(name in str(caught.value) for name in plans_of(provider) if name)


@providers
def test_what_was_observed_ages_exactly_where_the_provider_can_be_asked(provider: Provider) -> None:
    asked = provider.probe()
    for plan in plans_of(provider):
        assert (provider.limits(plan).max_age_s is not None) is (asked is not None)
    if asked is not None:
        _assert_sound(provider, asked)


@operations
def test_operations_are_declared_under_their_own_name(provider: Provider, operation: Operation[Any]) -> None:
    assert provider.operations[operation.name] is operation
    assert operation.name.isidentifier()
    assert issubclass(operation.request_model, Request)
    config = operation.request_model.model_config
    assert (config["extra"], config["strict"], config["frozen"]) == ("forbid", True, True)


@operations
def test_claims_name_limits_that_exist_and_can_be_granted(provider: Provider, operation: Operation[Any]) -> None:
    for arguments in EXAMPLES[f"{provider.name}.{operation.name}"]:
        claim = operation.claim(operation.request_model.model_validate(arguments), {})
        assert (claim is None) is operation.free
        if claim is not None:
            for plan in plans_of(provider):
                _assert_grantable(claim, provider, plan)


def _assert_grantable(claim: Claim, provider: Provider, plan: str | None) -> None:
    limits = provider.limits(plan)
    for name, cost in claim.costs.items():
        limit = limits[name]
        most = limit.limit if isinstance(limit, Quota) else limit.capacity
        assert most is None or cost <= most


@operations
def test_examples_survive_json_and_build_calls(provider: Provider, operation: Operation[Any]) -> None:
    for arguments in EXAMPLES[f"{provider.name}.{operation.name}"]:
        request = operation.request_model.model_validate_json(json.dumps(arguments))
        assert request == operation.request_model.model_validate(arguments)
        claim = operation.claim(request, {})
        units = 0 if claim is None else max(claim.costs.values())
        _assert_sound(provider, operation.build(request, {}, units))


def _assert_sound(provider: Provider, call: Call) -> None:
    """A path under the base URL, no key (it is added where it is sent), and an end within the lease."""
    assert call.method in {"GET", "POST"}
    assert call.path.startswith("/")
    assert not call.path.startswith("//")
    assert not set("?#@\\ ") & set(call.path)
    assert provider.credential.parameter not in [name for name, _ in call.query]
    assert 0 < call.deadline_s < LONGEST_REQUEST_S
    assert 0 < call.max_bytes <= 64 * 1024 * 1024
    json.dumps(call.json)
