"""What the options of `spuraudit scan` mean: settings, preprocessing, constructor arguments, outputs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from spuraudit.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from spuraudit.data.dataset import Dataset
    from spuraudit.gates.config import Config
    from spuraudit.models.preprocess import PreprocessOverrides
    from spuraudit.record.settings import ScanSettings

#: Options that reach only some audits: setting -> (flag, audits). The others reach every scan.
OWNERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sigmas": ("--sigma", ("noise", "feature_drop")),
    "trials": ("--trials", ("noise", "feature_drop")),
    "spurious_region": ("--spurious-region", ("noise",)),
    "clamp": ("--clamp/--no-clamp", ("noise",)),
    "swap_trials": ("--swap-trials", ("region_swap",)),
    "patch": ("--patch", ("patch_swap",)),
    "patch_sources": ("--sources", ("patch_swap",)),
    "patch_targets": ("--targets", ("patch_swap",)),
    "passes": ("--passes", ("patch_swap",)),
    "dropout_rate": ("--dropout-rate", ("patch_swap",)),
    "source_classes": ("--source-class", ("patch_swap",)),
    "pairs": ("--pair", ("patch_swap",)),
    "target_classes": ("--target-classes", ("patch_swap",)),
    "limit_sources": ("--limit-sources", ("patch_swap",)),
    "search": ("--search", ("patch_swap",)),
    "budget": ("--budget", ("patch_swap",)),
    "drop_path": ("--drop-path", ("patch_swap",)),
}

#: Keys of the config's `audits:` mapping, by audit, and the setting each one is.
CONFIG_KEYS: dict[str, dict[str, str]] = {
    "noise": {
        "sigma": "sigmas",
        "trials": "trials",
        "dilation_iterations": "dilation_iterations",
        "spurious_region": "spurious_region",
        "clamp": "clamp",
    },
    "feature_drop": {},  # sigma and trials are the noise audit's
    "region_swap": {"trials": "swap_trials"},
    "patch_swap": {
        "patch": "patch",
        "sources": "patch_sources",
        "targets": "patch_targets",
        "passes": "passes",
        "dropout_rate": "dropout_rate",
        "source_classes": "source_classes",
        "pairs": "pairs",
        "target_classes": "target_classes",
        "limit_sources": "limit_sources",
        "search": "search",
        "budget": "budget",
        "drop_path": "drop_path",
    },
}


def settings(config: Config | None, **given: Any) -> ScanSettings:
    """Command line over config over defaults. Raises UsageError or ConfigError for impossible values."""
    from pydantic import ValidationError

    from spuraudit.record.settings import ScanSettings

    def wrong(error: ValidationError) -> str:
        first = error.errors()[0]
        name = str(first["loc"][0])
        return f"{OWNERS.get(name, (f'--{name}',))[0]}: {first['msg']} (given: {first['input']!r})."

    values: dict[str, Any] = _from_config(config) if config is not None else {}
    try:
        ScanSettings(**values)
    except ValidationError as error:
        raise ConfigError(f"{config.file if config else ''}: {wrong(error)}", "See spuraudit scan --help.") from error
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        return ScanSettings(**values)
    except ValidationError as error:
        raise UsageError(wrong(error), "See spuraudit scan --help.") from error


def refuse_idle(given: dict[str, Any], audits: Collection[str]) -> None:
    """Raise UsageError for an option that nothing in the scan to be run would read."""
    if given.get("pairs") is not None and given.get("target_classes") is not None:
        raise UsageError("--target-classes has no effect: --pair names the target classes.", "Leave one of them out.")
    for name, (flag, owners) in OWNERS.items():
        if given.get(name) is not None and not set(owners) & set(audits):
            raise UsageError(
                f"{flag} has no effect: it belongs to {' and '.join(owners)}, which this scan does not run.",
                f"Add --audits {','.join([*audits, owners[0]])}, or leave the option out.",
            )


def _from_config(config: Config) -> dict[str, Any]:
    values: dict[str, Any] = {} if config.seed is None else {"seed": config.seed}
    if config.audits is None:
        return values
    values["audits"] = tuple(config.audits) or None
    for audit, parameters in config.audits.items():
        if audit not in CONFIG_KEYS:
            hint = did_you_mean(audit, CONFIG_KEYS) or f"Known: {', '.join(CONFIG_KEYS)}."
            raise ConfigError(f"{config.file}: audits: no audit {audit!r}.", hint)
        known = CONFIG_KEYS[audit]
        for key, value in parameters.items():
            if key not in known:
                hint = did_you_mean(key, known) or f"It takes: {', '.join(known)}."
                raise ConfigError(f"{config.file}: audits.{audit} has no parameter {key!r}.", hint)
            listed = known[key] in ("sigmas", "source_classes", "pairs")
            values[known[key]] = tuple(value if isinstance(value, list) else [value]) if listed else value
            if key == "pairs":
                values["pairs"] = class_pairs([str(pair) for pair in values["pairs"]])
    return values


def audit_names(text: str | None) -> tuple[str, ...] | None:
    """`--audits noise,patch-swap` as names of audits. Raises UsageError for an unknown one."""
    from spuraudit.record.settings import AUDIT_NAMES

    if text is None:
        return None
    names = tuple(name.strip().replace("-", "_") for name in text.split(",") if name.strip())
    for name in names:
        if name not in AUDIT_NAMES:
            raise UsageError(f"--audits: no audit {name!r}.", did_you_mean(name, AUDIT_NAMES) or ", ".join(AUDIT_NAMES))
    return names or None


def class_pairs(texts: list[str]) -> tuple[tuple[str, str], ...]:
    """`--pair sneaker:shirt` as (source class, target class). Raises UsageError for anything else."""
    pairs = []
    for text in texts:
        source, sign, target = text.partition(":")
        if not sign or not source.strip() or not target.strip():
            raise UsageError(f"--pair {text!r}: expected CLASS:CLASS.", "For example --pair sneaker:shirt")
        pairs.append((source.strip(), target.strip()))
    return tuple(pairs)


def batch_images(text: str) -> int | None:
    """`--batch-size 64`, or None for `auto`. Raises UsageError for anything else."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch-size {text!r}: expected a number of images, or auto.", "For example -b 64")
    return int(text)


def overrides(
    mean: str | None,
    std: str | None,
    interpolation: str | None,
    crop_pct: float | None,
    crop_mode: str | None,
    img_size: int | None,
) -> PreprocessOverrides:
    """What the preprocessing options set; what they leave out is None."""
    from spuraudit.models.preprocess import PreprocessOverrides

    return PreprocessOverrides(
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        interpolation=interpolation,
        crop_pct=crop_pct,
        crop_mode=crop_mode,
        img_size=img_size,
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in re.split(r"[,\s]+", text.strip()))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: not numbers.", f"Write three, such as {option} 0.5,0.5,0.5") from error
    return values * 3 if len(values) == 1 else values


def key_values(pairs: list[str]) -> dict[str, Any]:
    """`--model-kwargs KEY=VALUE` as YAML values. Raises UsageError where there is no `=`."""
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(
                f"--model-kwargs {pair!r}: expected KEY=VALUE.", "For example --model-kwargs pad_type=same"
            )
        try:
            # `none` takes an argument of the checkpoint away; YAML itself knows only `null`.
            values[key] = None if value.lower() == "none" else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--model-kwargs {pair!r}: not a value.", "Numbers, words, [1, 2, 3] or none.") from error
        if isinstance(values[key], dict):
            raise UsageError(f"--model-kwargs {pair!r}: a mapping is not supported.", "Numbers, words or [1, 2, 3].")
    return values


def outputs(paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """The run folder (a path without suffix), if any, and the files of `-o`. Raises UsageError."""
    known = (".html", ".json", ".csv", ".md")
    files = [path for path in paths if path.suffix.lower() in known and not path.is_dir()]
    folders = [path for path in paths if path not in files]
    if len(folders) > 1:
        raise UsageError(f"-o names two run folders: {folders[0]} and {folders[1]}.", "Give one, and files by suffix.")
    for folder in folders:
        if re.fullmatch(r"\.[a-z]{2,5}", folder.suffix.lower()) and not folder.is_dir():
            raise UsageError(
                f"-o {folder}: unknown format {folder.suffix!r}.",
                f"Known: {', '.join(known)}. A run folder's name must not end like a file.",
            )
    return (folders[0] if folders else None), files


def given_or(value: str | None, fallback: str | None, name: str, example: str) -> str:
    """What was typed, else what the configuration says. Raises UsageError where neither says anything."""
    chosen = value or fallback
    if chosen is None:
        raise UsageError(f"Missing {name}.", f"Give it, such as: {example}, or set it in .spuraudit.yaml.")
    return chosen


def open_data(spec: str | None, folder: Path | None, config: Config | None) -> Dataset:
    """`--data` and `--data-dir`, else what the configuration says. Raises UsageError, DataError."""
    from spuraudit.data import open_dataset

    return open_dataset(
        given_or(spec, config.data if config else None, "--data DATA", "--data my_dataset"),
        data_dir=folder or (config.data_dir if config else None),
        locations=config.locations if config else {},
    )


def configuration(path: Path | None) -> Config | None:
    """The configuration: the named file, else .spuraudit.yaml here or above."""
    from pathlib import Path

    from spuraudit.gates import find_config, load_config

    file = path or find_config(Path.cwd())
    return load_config(file) if file else None


def zoo_folder(text: str | None) -> Path | None:
    """`--against DIR`: the folder of a finished zoo run; None for `zoo`, the published figures.

    Raises RunError where there is no finished zoo run.
    """
    from pathlib import Path

    from spuraudit.record.zoo_folder import read_zoo

    if text is None or (text == "zoo" and not Path(text).exists()):
        return None
    read_zoo(Path(text))
    return Path(text)
