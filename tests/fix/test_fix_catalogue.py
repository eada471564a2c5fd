"""Methods by name: what each says of itself, how it is made, and what data it can work with."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import toys
import typer
from trainings import job_of, smooth

from spuraudit.cli.app import app
from spuraudit.cli.fix_options import explain, method_names, method_options, start_of, training_settings, yaml_values
from spuraudit.errors import FixError, UsageError
from spuraudit.fix.catalogue import METHODS, check_needs, make_method, possible, works_instead
from spuraudit.fix.settings import TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.data.dataset import Dataset
    from spuraudit.fix.methods.base import Method


@pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
def test_every_method_says_what_it_is(kind: type[Method]) -> None:
    doc = inspect.getdoc(kind) or ""
    assert len(doc) > 15
    assert not doc.startswith(f"{kind.__name__}(")  # what dataclasses write where nobody did
    assert kind.title
    assert len(kind.source) > 10
    assert inspect.getdoc(kind.lacks)
    assert inspect.getdoc(kind.prepare)


@pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)
def test_every_option_says_where_its_default_comes_from(kind: type[Method]) -> None:
    for name, field in kind.options_type.model_fields.items():
        assert field.description, name
        assert len(field.description) > 15, name


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_explained(name: str) -> None:
    kind, lines = METHODS[name], explain(name).splitlines()
    assert lines[:2] == [f"{name}: {kind.title}", f"Source: {kind.source}"]
    options = kind.options_type()
    for option, value in options.model_dump().items():
        at = lines.index(f"  {option}={'none' if value is None else value}")
        assert lines[at + 1].strip() == kind.options_type.model_fields[option].description
    if not kind.options_type.model_fields:
        assert lines[-1] == "  none"


def test_the_loop_is_explained() -> None:
    lines = explain("training").splitlines()
    for option, value in TrainingSettings().model_dump().items():
        at = lines.index(f"  {option}={'none' if value is None else value}")
        description = TrainingSettings.model_fields[option].description
        assert description is None or lines[at + 1].strip() == description


def test_the_list_names_all() -> None:
    lines = explain("list").splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(METHODS)
    for name in METHODS:
        assert explain(name)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("swop", "There is no method 'swop'", "Did you mean 'swap'?"),
        ("swap,swop", "There is no method 'swop'", "Did you mean 'swap'?"),
        ("magic", "There is no method 'magic'", "--explain NAME"),
        ("swap,auto", "There is no method 'auto'", "auto"),
        ("swap, swap", "name each method once", "--method swap,dfr"),
        (",", "name each method once", "--method swap,dfr"),
    ],
)
def test_names_that_are_none(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        method_names(text)
    assert hint in (caught.value.hint or "")


def test_names() -> None:
    assert method_names("swap, dfr") == ["swap", "dfr"]
    assert method_names("auto") == list(METHODS)


def test_options_of_one_and_of_several() -> None:
    assert method_options(["corm"], ["weight=1e-3"]) == {"corm": {"weight": 0.001}}
    assert method_options(["corm"], ["corm.weight=1", "sigma=0"]) == {"corm": {"weight": 1, "sigma": 0}}
    several = method_options(["corm", "dfr"], ["corm.weight=1", "dfr.penalty=l2"])
    assert several == {"corm": {"weight": 1}, "dfr": {"penalty": "l2"}}


@pytest.mark.parametrize(
    ("names", "pairs", "message", "hint"),
    [
        (["corm"], ["weigth=1"], "corm has no option 'weigth'", "Did you mean 'weight'?"),
        (["corm"], ["colour=1"], "corm has no option 'colour'", "It has: sigma, "),
        (["erm"], ["weight=1"], "erm has no option 'weight'", "It has none."),
        (["corm"], ["weight=heavy"], "corm: weight: ", "--explain corm"),
        (["corm", "dfr"], ["weight=1"], "-O weight: of which method?", "METHOD.KEY=VALUE with one of corm, dfr"),
        (["corm", "dfr"], ["crom.weight=1"], "-O crom: of which method?", "Did you mean 'corm'?"),
        (["corm", "dfr"], ["corm=1"], "-O corm: of which method?", ""),
        (["corm"], ["weight"], "expected KEY=VALUE", "-O weight=10"),
        (["corm"], ["=1"], "expected KEY=VALUE", "-O weight=10"),
        (["corm"], ["weight=[1"], "not a value", "Numbers"),
        (["corm"], ["weight=1", "weight=2"], "-O 'weight=2': weight has a value already", "one of the two"),
        (["corm"], ["corm.weight=1", "weight=2"], "weight is given twice: as -O weight and -O corm.weight", "one out"),
        (["corm"], ["weight=2", "corm.weight=1"], "weight is given twice: as -O weight and -O corm.weight", "one out"),
    ],
)
def test_options_that_are_none(names: list[str], pairs: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        method_options(names, pairs)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_values() -> None:
    pairs = ["a=1", "b=1e-3", "c=none", "d=true", "e=[1, 2]", "f=word", "g.h=0.9", "g.i=x"]
    expected = {"a": 1, "b": 0.001, "c": "none", "d": True, "e": [1, 2], "f": "word", "g": {"h": 0.9, "i": "x"}}
    assert yaml_values(pairs, "-O", "a=1") == expected


def test_a_key_with_and_without_a_dot() -> None:
    for pairs in (
        ["optimizer_args=1", "optimizer_args.momentum=0.9"],
        ["optimizer_args.momentum=0.9", "optimizer_args=1"],
    ):
        with pytest.raises(UsageError):
            training_settings(pairs)


@pytest.mark.parametrize(
    ("name", "flag", "one", "other"),
    [
        ("batch_size", "--train-batch", 4, 8),
        ("epochs", "--epochs", 1, 2),
        ("lr", "--lr", 0.1, 0.2),
        ("select", "--select", "rcs", "accuracy"),
    ],
)
def test_settings_that_are_given_twice_name_a_flag_of_fix(name: str, flag: str, one: object, other: object) -> None:
    with pytest.raises(UsageError, match=f"^{name} is given twice: as {flag} and --set.$"):
        training_settings([f"{name}={one}"], **{name: other})
    group = typer.main.get_group(app)
    names = [option for parameter in group.commands["fix"].params for option in parameter.opts]
    assert flag in names
    assert "--set" in names


def test_a_setting_that_is_set_twice() -> None:
    with pytest.raises(UsageError, match="--set 'lr=2': lr has a value already"):
        training_settings(["lr=1", "lr=2"])


def test_training_settings() -> None:
    given = training_settings(["optimizer=SGD", "optimizer_args.momentum=0.9"], lr=0.1, epochs=None)
    assert (given.optimizer, given.optimizer_args, given.lr) == ("SGD", {"momentum": 0.9}, 0.1)
    assert given.epochs == TrainingSettings().epochs
    # "none" takes a default away; a method may have it as a word.
    assert training_settings(["clip_norm=none", "schedule=none"]).schedule is None
    assert start_of("new-head") == "new-head"


# -- what the data allow -----------------------------------------------------------------------------------------------


def test_with_masks_and_groups(tagged: Dataset, tmp_path: Path) -> None:
    able = possible(job_of(smooth(), tagged, tmp_path))
    assert {"swap", "rrr", "corm", "erm"} <= set(able)
    assert able == [name for name in METHODS if name in able]


def test_without_masks_it_says_what_would_work(tagged: Dataset, tmp_path: Path) -> None:
    bare = replace(tagged, features=(), images=tuple(replace(row, masks=(), group=None) for row in tagged.images))
    job = job_of(smooth(), bare, tmp_path)
    able = possible(job)
    assert not {"swap", "rrr", "corm", "gradcam-rrr", "crayon", "dfr"} & set(able)
    assert "erm" in able
    with pytest.raises(FixError, match="corm cannot begin: ") as caught:
        check_needs(make_method("corm"), job)
    assert caught.value.hint == works_instead(job, "corm")
    assert "erm" not in (caught.value.hint or "")
    assert all(name in (caught.value.hint or "") for name in able if name != "erm")


def test_where_nothing_works(tagged: Dataset, tmp_path: Path) -> None:
    bare = replace(tagged, features=(), images=tuple(replace(row, masks=(), group=None) for row in tagged.images))
    job = job_of(toys.as_model(toys.Constant()), bare, tmp_path, start="model")
    assert "jtt" not in possible(job)
    assert works_instead(job, "swap") == "No method but erm can work with these data."
