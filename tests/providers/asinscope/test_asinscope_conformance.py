"""Every documented behaviour of ASINScope is shown by a test that exists, or exempt with a reason."""

from __future__ import annotations

import ast
import re
import runpy
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
TABLE: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("conformance.py")))
NUMBERS: list[str] = TABLE["NUMBERS"]
SHOWN: list[tuple[str, str]] = TABLE["SHOWN"]
EXEMPT: list[tuple[str, str]] = TABLE["EXEMPT"]


def test_the_numbers_are_those_of_the_fact_sheet() -> None:
    assert (NUMBERS[0], NUMBERS[58], NUMBERS[59], NUMBERS[-1], len(NUMBERS)) == (
        "AS-B1",
        "AS-B59",
        "AS-Q1",
        "AS-Q15",
        59 + 15,
    )


def test_each_number_stands_in_the_table_exactly_once(
    capsys: pytest.CaptureFixture[str], record_testsuite_property: Any
) -> None:
    rows = Counter(number for number, _ in [*SHOWN, *EXEMPT])
    assert [number for number in NUMBERS if not rows[number]] == [], "missing"
    assert [number for number, count in rows.items() if count > 1] == [], "doubled"
    assert sorted(set(rows) - set(NUMBERS)) == [], "unknown"
    assert len(rows) == len(NUMBERS)
    record_testsuite_property("asinscope_shown", len(SHOWN))
    record_testsuite_property("asinscope_exempt", len(EXEMPT))
    with capsys.disabled():
        print(f"\nASINScope: {len(SHOWN)} of {len(NUMBERS)} numbers shown by a test, {len(EXEMPT)} exempt")


@cache
def functions_of(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("number", "test"), SHOWN, ids=[number for number, _ in SHOWN])
def test_each_named_test_exists_and_asserts_something(number: str, test: str) -> None:
    file, _, name = test.partition("::")
    assert (TESTS / file).is_file()
    assert Path(file).name.startswith("test_")
    assert name.startswith("test_")
    assert name in functions_of(file)
    assert _asserts(functions_of(file)[name])


def _asserts(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Assert) for node in ast.walk(function))


@pytest.mark.parametrize(("number", "reason"), EXEMPT, ids=[number for number, _ in EXEMPT])
def test_each_exemption_has_a_reason(number: str, reason: str) -> None:
    assert len(reason.split()) >= 5


def test_tests_that_cite_a_number_in_their_name_cite_one_that_exists() -> None:
    cited = set()
    for file in sorted(TESTS.rglob("test_*asinscope*.py")):
        for name in functions_of(str(file.relative_to(TESTS))):
            cited |= numbers_in(name)
    assert sorted(cited - set(NUMBERS)) == []
    assert sorted({number for number, _ in SHOWN} - cited - {"AS-B10"}) == [], "AS-B10 is shown by the client's test"


def numbers_in(name: str) -> set[str]:
    """``test_as_b19_to_b30_q12_…`` cites AS-B19 to AS-B30 and AS-Q12."""
    cited: set[str] = set()
    match = re.match(r"test_as((?:_to|_[bq]\d+)+)_", name)
    for low, high in re.findall(r"_([bq]\d+)(?:_to_([bq]\d+))?", match[1] if match else ""):
        last = int((high or low)[1:])
        cited |= {f"AS-{low[0].upper()}{number}" for number in range(int(low[1:]), last + 1)}
    return cited


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_as_b5_one_kind", {"AS-B5"}),
        ("test_as_b19_to_b21_q12_fields", {"AS-B19", "AS-B20", "AS-B21", "AS-Q12"}),
        ("test_as_q10_with_q5_a_part", {"AS-Q10"}),
        ("test_a_page_with_400", set()),
    ],
)
def test_numbers_are_read_from_names(name: str, expected: set[str]) -> None:
    assert numbers_in(name) == expected
