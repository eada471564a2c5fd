"""From the command line and the config to a verdict: which gates, against which baselines, of which model file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from spuraudit.errors import ConfigError, RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.gates.config import Config
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import AcceptedFindings, Ignore, Rule, Verdict


@dataclass(frozen=True)
class Asked:
    """What is to be judged. `run` and `accepted` are paths of the two kinds of baseline.

    `model_file` is the file that the run must be of; `model_optional`: it only stands in the config. `said`: the
    config, whose model and data the run must be of.
    """

    rules: list[Rule]
    ignores: tuple[Ignore, ...] = ()
    run: Path | None = None
    accepted: Path | None = None
    model_file: Path | None = None
    model_optional: bool = False
    config: str | None = None
    said: Config | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_drops(self) -> bool:
        """Whether a gate needs a baseline run."""
        return any(rule.of == "drop" for rule in self.rules)


def collect_gates(texts: Sequence[str], config: Path | None, min_n: int | None = None, *, quiet: bool = False) -> Asked:
    """The config's gates, ignores, baselines and model, then the rules of the command line.

    A rule given twice counts once. There may be no rules. Unless `quiet`, says on stderr which config was found.
    Raises ConfigError for what cannot be understood.
    """
    asked = _collected(texts, config, min_n)
    if config is None and asked.said is not None and not quiet:
        print(f"Config: {_shown(asked.said.file)}", file=sys.stderr)
    return asked


def _shown(file: Path) -> str:
    """Relative to the working directory, where it lies below."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def _collected(texts: Sequence[str], config: Path | None, min_n: int | None = None) -> Asked:
    from spuraudit.gates import check_rules, find_config, load_config, parse_rule
    from spuraudit.gates.config import config_name, unread_tables

    file = config or find_config(Path.cwd())
    said = None if file is None else load_config(file)
    rules = [*(said.gates if said else ()), *map(parse_rule, texts)]
    if min_n is not None:
        rules = [one.model_copy(update={"min_n": min_n}) for one in rules]
    meant = [one.model_copy(update={"line": None}) for one in rules]
    rules = [one for place, one in enumerate(rules) if meant[place] not in meant[:place]]
    check_rules(rules)
    if said is None:
        return Asked(rules)
    model = Path(said.model) if said.model is not None and Path(said.model).is_file() else None
    asked = Asked(rules, said.ignores, model_file=model, model_optional=True, config=config_name(said.file), said=said)
    unread = unread_tables(Path.cwd(), said.file) if config is None else []
    notes = (f"{_shown(file)}: its [tool.spuraudit] is not read, {said.file.name} is." for file in unread)
    asked = replace(asked, notes=tuple(notes))
    return _with_baselines(asked, said.baseline, f"{said.file}: baseline")


def add_baselines(asked: Asked, paths: Sequence[Path]) -> Asked:
    """Those of the command line, each in place of the config's of its kind. Raises UsageError or RunError."""
    found = _with_baselines(replace(asked, run=None, accepted=None), paths, "--baseline")
    if found.run is not None and not asked.has_drops:
        raise UsageError(
            "--baseline has no effect: a run is what drops are measured from, and no gate limits a drop.",
            "Give a gate `max_drop`, or add --rule 'drop(core_accuracy) <= 0.02'.",
        )
    return replace(asked, run=found.run or asked.run, accepted=found.accepted or asked.accepted)


def _with_baselines(asked: Asked, paths: Sequence[Path], where: str) -> Asked:
    for path in paths:
        kind = "accepted" if _is_findings(path) else "run"
        if getattr(asked, kind) is not None:
            raise UsageError(
                f"{where} names two {'files of accepted findings' if kind == 'accepted' else 'runs'}: "
                f"{getattr(asked, kind)} and {path}.",
                "Keep one of each kind.",
            )
        asked = replace(asked, run=path) if kind == "run" else replace(asked, accepted=path)
    return asked


def _is_findings(path: Path) -> bool:
    """Whether a baseline is a file of accepted findings; what is not there yet is known by its name."""
    if path.is_dir() or path.name == "scan.json":
        return False
    if not path.exists():
        return path.suffix == ".json"
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):  # a `last` pointer is a line of text
        return path.suffix == ".json"


def before_a_scan(texts: Sequence[str], config: Path | None) -> Asked:
    """The gates of a run that is still to be made, of whatever model it is asked for.

    Raises ConfigError, UsageError or RunError now for what would prevent a verdict after a long run: rules that cannot
    be understood, a metric that no scan measures, a list of gates that holds none, a baseline that is not there.
    """
    asked = _collected(texts, config)
    _refuse_unknown_metrics(asked)
    if asked.said is not None and asked.said.gates_line is not None and not asked.rules:
        raise ConfigError(
            f"{asked.said.file}, line {asked.said.gates_line}: gates: there is none, so nothing would be judged.",
            "Write a gate, give one with --rule, or take the key out.",
        )
    asked = replace(asked, model_file=None, said=None)
    if asked.accepted is not None:
        read_findings(asked.accepted)
    if asked.run is not None and asked.has_drops:
        _baseline_folder(asked.run)
    return asked


def _refuse_unknown_metrics(asked: Asked) -> None:
    """Raises ConfigError. A stored record is not judged so: that of a later version may hold other numbers."""
    from spuraudit.gates import format_rule
    from spuraudit.record.metrics import EXAMPLES, METRICS

    said = asked.said
    for rule in asked.rules:
        if rule.metric in METRICS:
            continue
        where = f"--rule '{format_rule(rule)}'"
        if said is not None and rule.line is not None:
            where = f"{said.file}, line {rule.line}"
        raise ConfigError(
            f"{where}: no scan measures {rule.metric!r}.",
            did_you_mean(rule.metric, METRICS) or f"Metrics are, for example, {', '.join(EXAMPLES)}.",
        )


def judge_run(run: Path, record: ScanRecord, asked: Asked, *, strict: bool = False) -> Verdict:
    """The verdict of a finished run today. Raises RunError, UsageError or ConfigError: then there is none."""
    from spuraudit.gates import judge

    notes = check_subject(record, asked)
    accepted = None if asked.accepted is None else read_findings(asked.accepted)
    if strict and accepted is None:
        raise UsageError(
            "--strict-baseline has no effect: there are no accepted findings.", "Give their file with --baseline."
        )
    verdict = judge(
        record,
        asked.rules,
        ignores=asked.ignores,
        today=today(),
        comparison=_comparison(run, asked),
        accepted=accepted,
        strict=strict,
        config=asked.config,
    )
    return verdict.model_copy(update={"notes": [*verdict.notes, *notes, *asked.notes]})


def say_unjudged(config: Config | None, folder: Path) -> None:
    """Of a zoo run, whose models no gate judges: that the config has some, and the command that does. On stderr."""
    if config is None or not config.gates:
        return
    count = "The gate" if len(config.gates) == 1 else f"The {len(config.gates):,} gates"
    print(f"{count} of {_shown(config.file)} did not judge these models. Each one:", file=sys.stderr)
    print(f"  spuraudit gate {_shown(folder)}/models/MODEL --config {_shown(config.file)}", file=sys.stderr)


def write_findings(run: Path, record: ScanRecord, asked: Asked, file: Path) -> None:
    """Accept what fails now: write `file`, and say on stderr what changed in it. Raises RunError for a foreign file."""
    from spuraudit.gates import accept
    from spuraudit.record.folder import to_json, write_bytes

    before = read_findings(file) if file.exists() else None
    check_subject(record, asked)
    comparison = _comparison(run, asked)
    found = accept(record, asked.rules, ignores=asked.ignores, today=today(), comparison=comparison, before=before)
    write_bytes(file, to_json(found))
    said = f"{len(found.findings):,} accepted finding{'' if len(found.findings) == 1 else 's'}"
    if before is not None:
        was, now = _identities(before), _identities(found)
        said += f", {len(now - was):,} new, {len(was - now):,} of the {len(was):,} before gone"
    print(f"{'Wrote' if before is None else 'Rewrote'} {file}: {said}.", file=sys.stderr)


def _identities(findings: AcceptedFindings) -> set[object]:
    from spuraudit.gates.baseline import identity

    return {identity(one.gate, one.metric, one.scope) for one in findings.findings}


def read_findings(file: Path) -> AcceptedFindings:
    """A file that `--write-baseline` wrote. Raises RunError, for a missing one with the command that makes it."""
    from spuraudit.record.folder import read_json
    from spuraudit.record.verdict import AcceptedFindings

    make = f"Write it: spuraudit gate RUN --write-baseline {file}"
    if not file.is_file():
        raise RunError(f"{file}: there is no such file of accepted findings.", make)
    foreign = RunError(f"{file}: not a file of accepted findings.", make.replace(str(file), "FILE"))
    return read_json(file, AcceptedFindings, "write it again with --write-baseline", foreign)


def check_subject(record: ScanRecord, asked: Asked) -> list[str]:
    """What the record cannot tell about the model and data that were named, a sentence each.

    Raises RunError where the run is not of the model file that it should be of, or of another model or other data than
    the config names.
    """
    from spuraudit.gates import subject

    said = asked.said
    notes = _check_file(record, asked)
    if said is not None and said.model is not None and asked.model_file is None:
        notes += subject.check_model(record, said.model)
    if said is not None and said.data is not None:
        notes += subject.check_data(record, said.data, said.locations)
    return notes


def _check_file(record: ScanRecord, asked: Asked) -> list[str]:
    """The same of a model file."""
    from spuraudit.record.folder import sha256_of

    file, audited = asked.model_file, record.model
    if file is None:
        return []
    if asked.model_optional and audited.sha256 is None:
        return [f"The model file was not checked: {file}; the run's record names no sha256."]
    if not file.is_file():
        raise RunError(f"{file}: there is no such model file.", "Check the path.")
    digest = sha256_of(file)
    if digest != audited.sha256:
        raise RunError(
            f"This run is not of {file}: it audited {audited.name} with sha256 {(audited.sha256 or 'none')[:12]}, and "
            f"the file{' that the config names' if asked.model_optional else ''} has {digest[:12]}.",
            "Scan the model again, or name the file that the run is of with --model.",
        )
    return []


def _comparison(run: Path, asked: Asked) -> Comparison | None:
    """Of the baseline run with this one, where a gate needs it."""
    if asked.run is None or not asked.has_drops:
        return None
    from spuraudit.compare import compare_runs

    _baseline_folder(asked.run)
    return compare_runs(asked.run, run)


def _baseline_folder(path: Path) -> None:
    """Raises RunError where there is no run, with the command that makes one."""
    from spuraudit.record.folder import resolve_run

    folder = resolve_run(path)
    if not (folder / "scan.json").is_file() and not (folder / "plan.json").is_file():
        raise RunError(
            f"{path}: there is no baseline run.",
            f"Make it with the data and options of this run: spuraudit scan OLD_MODEL --data DATA -o {path}",
        )


def today() -> date:
    """The day on which ignores may have expired: UTC, the same on every machine."""
    return datetime.now(UTC).date()
