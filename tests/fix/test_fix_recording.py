"""What the record of a fix says of options: given by the user, or where the default comes from."""

from __future__ import annotations

from typing import Any

import pytest

from spuraudit.fix.catalogue import METHODS, make_method
from spuraudit.fix.recording import method_record


@pytest.mark.parametrize(
    ("name", "options", "filled"),
    [
        ("rrr", {"form": "log-probabilities"}, {"weight": 0.01}),
        ("gradcam-rrr", {"form": "element"}, {"norm": "none", "relu": False}),
        ("crayon-attention", {"compat": "crayon-code"}, {"alpha": 1e7, "beta": 2e5}),
        ("crayon", {"compat": "crayon-code", "alpha": 3.0}, {"beta": 2e5}),
        ("swap", {"share": 0.5}, {}),
        ("erm", {}, {}),
    ],
)
def test_given_is_what_the_user_gave(name: str, options: dict[str, Any], filled: dict[str, Any]) -> None:
    """filled: defaults that depend on another option."""
    record = method_record(make_method(name, options))
    assert {option for option, source in record.sources.items() if source == "given"} == set(options)
    assert {option: record.options[option] for option in filled} == filled
    for option in filled:
        assert record.sources[option] == METHODS[name].options_type.model_fields[option].description


def test_the_same_of_options_made_in_python() -> None:
    kind = METHODS["rrr"]
    made = kind(kind.options_type(form="log-probabilities"))  # type: ignore[call-arg]
    sources = method_record(made).sources
    assert (sources["form"], sources["weight"] == "given") == ("given", False)
