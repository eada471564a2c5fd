"""What the options of `spuraudit fix` mean."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast, get_args

from spuraudit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.fix.settings import Start, TrainingSettings


def yaml_values(pairs: list[str], flag: str, example: str) -> dict[str, Any]:
    """`KEY=VALUE` as YAML values; `a.b=1` becomes {'a': {'b': 1}}. Raises UsageError."""
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"{flag} {pair!r}: expected KEY=VALUE.", f"For example {flag} {example}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(
                f"{flag} {pair!r}: not a value.", "Numbers, words, true, false, null or [1, 2, 3]."
            ) from error
        # YAML 1.1 takes 1e-3 for a word.
        if isinstance(value, str):
            with suppress(ValueError):
                value = float(value)
        *outer, last = key.split(".")
        place = values
        for name in outer:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise UsageError(f"{flag} {pair!r}: {name} has a value already.", "Give one of the two.")
        if last in place:
            raise UsageError(f"{flag} {pair!r}: {key} has a value already.", "Give one of the two.")
        place[last] = value
    return values


def method_names(text: str | None) -> list[str]:
    """`--method swap,dfr` or `auto` as names. Raises UsageError for none, unknown and repeated ones."""
    from spuraudit.fix.catalogue import METHODS

    if text is None:
        raise UsageError("Missing --method NAME.", listed())
    if text == "auto":
        return list(METHODS)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            known = [*METHODS, "auto"]
            raise UsageError(f"There is no method {name!r}.", did_you_mean(name, known) or listed())
    if not names or len(set(names)) < len(names):
        raise UsageError(f"--method {text!r}: name each method once.", "For example --method swap,dfr")
    return names


def method_options(names: list[str], pairs: list[str]) -> dict[str, dict[str, Any]]:
    """`-O KEY=VALUE` of the one method, `-O METHOD.KEY=VALUE` of one of several. Raises UsageError."""
    from spuraudit.fix.catalogue import make_method

    values = yaml_values(pairs, "-O", "weight=10" if len(names) == 1 else f"{names[0]}.weight=10")
    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in values.items():
        if key in options and isinstance(value, dict):
            name, given = key, value
        elif len(names) == 1:
            name, given = names[0], {key: value}
        else:
            hint = f"Write METHOD.KEY=VALUE with one of {', '.join(names)}."
            raise UsageError(f"-O {key}: of which method?", did_you_mean(key, names) or hint)
        for twice in options[name].keys() & given:
            raise UsageError(f"{twice} is given twice: as -O {twice} and -O {name}.{twice}.", "Leave one out.")
        options[name] |= given
    for name, given in options.items():
        make_method(name, given)
    return options


def refuse_unread(names: list[str], given: Mapping[str, object]) -> None:
    """Raises UsageError for an option that none of the methods looks at. given: by field of a job."""
    from spuraudit.fix.catalogue import METHODS

    for field, value in given.items():
        readers = [name for name, kind in METHODS.items() if field in kind.reads]
        if value is not None and not set(readers) & set(names):
            raise UsageError(
                f"--{field.replace('_', '-')} has no effect on {', '.join(names)}.",
                f"It is read by {', '.join(readers)}.",
            )


def listed() -> str:
    """The methods, a line each."""
    from spuraudit.fix.catalogue import METHODS

    width = max(map(len, METHODS))
    lines = [f"  {name:{width}}  {kind.title} ({kind.source})" for name, kind in METHODS.items()]
    return "\n".join(["Methods (--method NAME; more with --explain NAME):", *lines])


def training_settings(pairs: list[str], **flags: Any) -> TrainingSettings:
    """The flags that were given, and `--set KEY=VALUE`. Raises UsageError naming the key."""
    from pydantic import ValidationError

    from spuraudit.fix.settings import TrainingSettings

    words = yaml_values(pairs, "--set", "optimizer=SGD")
    values: dict[str, Any] = {name: None if value == "none" else value for name, value in words.items()}
    for name, value in flags.items():
        if value is None:
            continue
        if name in values:
            flag = "--train-batch" if name == "batch_size" else f"--{name}"
            raise UsageError(f"{name} is given twice: as {flag} and --set.", "Leave one out.")
        values[name] = value
    if "epochs" in values and "steps" in values:
        raise UsageError("Both epochs and steps are given.", "Leave one out.")
    try:
        return TrainingSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(step) for step in first["loc"])
        if first["type"] == "extra_forbidden":
            known = TrainingSettings.model_fields
            raise UsageError(
                f"--set {name}: there is no such setting.", did_you_mean(name, known) or f"Known: {', '.join(known)}."
            ) from error
        what = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{name or 'Training'}: {what}.", "See spuraudit fix --explain training.") from error


def start_of(text: str) -> Start:
    """`--start`. Raises UsageError for other words."""
    from spuraudit.fix.settings import Start

    if text not in get_args(Start):
        raise UsageError(f"--start {text!r} is unknown.", f"Use {', '.join(get_args(Start))}.")
    return cast("Start", text)


def explain(name: str) -> str:
    """What a method needs, does and takes; 'training': the settings of the loop; 'list': all methods.

    Raises UsageError for other words.
    """
    from spuraudit.fix.catalogue import METHODS
    from spuraudit.fix.settings import TrainingSettings

    if name == "list":
        return listed()
    if name == "training":
        return "\n".join(["The fine-tuning loop (--set KEY=VALUE)", *_fields(TrainingSettings)])
    if name not in METHODS:
        known = [*METHODS, "training", "list"]
        raise UsageError(f"--explain: no method {name!r}.", did_you_mean(name, known) or ", ".join(known))
    kind = METHODS[name]
    text = (kind.__doc__ or "").strip()
    lines = [
        f"{kind.name}: {kind.title}",
        f"Source: {kind.source}",
        f"Needs: {kind.needs}",
        "",
        *(line.strip() for line in text.splitlines()),
    ]
    fields = _fields(kind.options_type)
    return "\n".join([*lines, "", "Options (-O KEY=VALUE)", *(fields or ["  none"])])


def _fields(kind: Any) -> list[str]:
    lines = []
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "none" if default is None else default
        lines.append(f"  {name}={shown}")
        if field.description:
            lines.append(f"      {field.description}")
    return lines
