"""Errors: every one ends a command with the exit code that the design gives its kind."""

from __future__ import annotations

import pytest

from reporting import errors
from reporting.errors import ConfigError, FunnelgateError, UsageError, nearest

# The design: 1 a check or gate FAILS; 2 bad usage, configuration or input; 3 inconclusive; 4 infrastructure.
CODES = {
    "ConfigError": 2,
    "DataError": 2,
    "UsageError": 2,
    "RecordError": 2,
    "ContractViolation": 1,
    "GateRefused": 1,
    "Inconclusive": 3,
    "StoreError": 4,
    "VersionConflict": 4,
}


@pytest.mark.parametrize("name", CODES)
def test_each_error_has_the_exit_code_of_the_design(name):
    error = getattr(errors, name)("fact, place, remedy")
    assert isinstance(error, FunnelgateError)
    assert error.exit_code == CODES[name]
    assert str(error) == "fact, place, remedy"


def test_no_error_is_missing_here():
    found = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FunnelgateError) and value is not FunnelgateError
    }
    assert found == set(CODES)


def test_the_exit_codes_are_five_different_ones():
    names = ("EXIT_OK", "EXIT_FAILED", "EXIT_USAGE", "EXIT_INCONCLUSIVE", "EXIT_INFRASTRUCTURE")
    assert [getattr(errors, name) for name in names] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("found", "known", "remedy"),
    [
        ("downlaod", ["collect", "download"], "did you mean download?"),
        ("embd", ["embed", "embeds", "index"], "did you mean embed or embeds?"),
        ("x", ["b", "a", "b"], "expected one of: a, b"),
        ("x", [], "none are declared"),
        ("", ["a"], "expected one of: a"),
    ],
)
def test_the_remedy_names_what_would_have_been_right(found, known, remedy):
    assert nearest(found, known) == remedy


def test_messages_have_fact_place_and_remedy():
    assert str(ConfigError.unknown_name("task", "embd", ["embed"], "pipeline.yaml:3")) == (
        "pipeline.yaml:3: unknown task 'embd'; did you mean embed?"
    )
    assert str(UsageError.unknown_plan("dayly", ["daily"])) == "there is no plan 'dayly'; did you mean daily?"
