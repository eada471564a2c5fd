"""`spuraudit init [RUN]`: a commented `.spuraudit.yaml` to start from. Needs no torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from spuraudit.cli.run_origin import Origin, Spec
    from spuraudit.gates.suggest import LeftOut, Suggested, Suggestion
    from spuraudit.record.scan import ScanRecord

#: Marks the lines of the file that a person has to look at.
EDIT = "<- EDIT"
_NAME = ".spuraudit.yaml"
_WIDTH = 100

TEMPLATE = f"""\
# What spuraudit scans here, and what it has to find. Three lines are yours: those marked {EDIT}.
# After a first scan, `spuraudit init RUN --force` writes limits that fit your model.
version: 1

# A .pt, .pth, .ckpt or .safetensors file, relative to this file; or timm:NAME, hf-hub:ORG/NAME, open_clip:ARCH,TAG.
model: model.pt  # {EDIT}

# A folder with a dataset.yaml (docs/datasets.md), relative to this file; or a registered name (spuraudit data list).
data: my_dataset  # {EDIT}

# Which audits run. Without this key: noise, feature_drop and region_swap where there are masks, else patch_swap.
# audits:
#   noise: {{sigma: [0.25], trials: 5}}
#   region_swap: {{trials: 3}}

# What must hold: exit code 1 where it does not, 2 where the evidence is too thin to tell. Proportions are 0 to 1.
gates:
  # Relative core sensitivity, -1 to 1: above 0 the object counts for more than what is around it. ci_low asks the
  # lower end of the 95 % interval, so that little evidence cannot pass.
  - {{id: rcs-floor, metric: rcs, min: 0.2, bound: ci_low}}  # {EDIT}
  # More gates: accuracy lost where the background comes from another class; any (class, feature) pair.
  # - {{id: background-gap, metric: swap_gap, feature: background, max: 0.1, bound: ci_high}}
  # - {{id: features, metric: feature_drop_excess, class: "*", feature: sky, max: 0.1, bound: ci_high, min_n: 30}}
"""


@dataclass(frozen=True)
class _Written:
    """A file's text, how many of its lines have to be looked at, and its gates."""

    text: str
    edits: int
    gates: int


def init(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Finished run to start from: its model, data, audits and numbers."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write: .yaml or .yml.")
    ] = Path(_NAME),
    min_n: Annotated[
        int | None,
        typer.Option("--min-n", min=1, help="Fewest images a gate's number may rest on. Default: 50. Needs RUN."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
) -> None:
    """Write a commented .spuraudit.yaml: from a finished run with limits that it passes, else a template.

    Limits are the ends of the run's 95 % intervals less a margin; numbers that could not be judged get no gate, and a
    comment says why.

    Example: spuraudit init runs/last

    Exit codes: 0 written, 2 the run could not be read, or FILE exists and --force was not given.
    """
    from spuraudit.record.folder import read_record, resolve_run, write_bytes

    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o {output}: a config file is YAML.", "Name it .spuraudit.yaml, or give another .yaml file.")
    if os.path.lexists(output) and not force:
        raise UsageError(f"{output} exists; nothing was written.", "Give another file with -o, or replace it: --force.")
    if run is None:
        if min_n is not None:
            raise UsageError("--min-n has no effect without RUN.", "Give a finished run, or leave the option out.")
        written, origin = _Written(TEMPLATE, 3, 1), None
    else:
        folder = resolve_run(run)
        written, origin = _from_run(read_record(run), folder, output, min_n)
    shadowed = _shadowed(output)
    write_bytes(output, written.text.encode())
    typer.echo(output)
    for line in (*shadowed, *_next_steps(run, output, written, origin)):
        typer.echo(line, err=True)


def _shadowed(output: Path) -> list[str]:
    """A sentence where the file would take the place of a table in a pyproject.toml."""
    from spuraudit.gates import find_config

    found = find_config(output.resolve().parent) if output.name == _NAME else None
    if found is None or found.suffix != ".toml":
        return []
    return [f"Note: {output} takes the place of [tool.spuraudit] in {found.name}, which is no longer read."]


def _from_run(record: ScanRecord, folder: Path, output: Path, min_n: int | None) -> tuple[_Written, Origin]:
    from spuraudit.cli.run_origin import origin_of
    from spuraudit.gates.rules import MIN_N
    from spuraudit.gates.suggest import suggest

    origin = origin_of(record, folder, output)
    suggested = suggest(record, min_n or MIN_N)
    lines = [*_head(record), *_made_of(record, origin), *_gates(record, suggested, min_n)]
    specs = [spec for spec in (origin.model, origin.data, origin.data_dir) if spec is not None]
    edits = sum(not spec.sure for spec in specs)
    return _Written("\n".join(lines) + "\n", edits, len(suggested.gates)), origin


def _head(record: ScanRecord) -> list[str]:
    return [
        *_comment(
            f"Written by `spuraudit init` from run {record.run.id}: {record.model.name} on {record.data.name}, "
            f"{record.data.images:,} images."
        ),
        *_comment(
            "The limits are what that run had, less a margin: it passes them, and a model that is clearly worse does "
            "not. They are where to start. Tighten them to what you promise."
        ),
        "version: 1",
        "",
    ]


def _made_of(record: ScanRecord, origin: Origin) -> list[str]:
    lines = [*_spec("model", origin.model), *_spec("data", origin.data)]
    if origin.data_dir is not None:
        lines += _spec("data_dir", origin.data_dir)
    if origin.typed:
        lines += _comment(f"This file has no keys for some of the run's options; add to each scan: {_shell(origin)}")
    if not origin.parameters_known:
        lines += _comment("The run folder has no plan.json of this version: parameters of the audits are the defaults.")
    if origin.audits:
        lines += ["audits:", *(f"  {name}: {_flow(values)}" for name, values in origin.audits.items())]
    return [*lines, f"seed: {record.run.seed}", ""]


def _spec(key: str, spec: Spec) -> list[str]:
    mark = "" if spec.sure else f"  # {EDIT}"
    return [*_comment(f"{spec.why[0].upper()}{spec.why[1:]}."), f"{key}: {_flow(spec.text)}{mark}"]


def _gates(record: ScanRecord, suggested: Suggested, min_n: int | None) -> list[str]:
    lines = [line for gate in suggested.gates for line in _gate(gate, min_n)]
    head = "gates:" if lines else "gates: []  # none of the run's numbers can carry one, for the reasons below"
    rest = [line for one in suggested.left_out for line in _left_out(one)]
    skipped = [audit for audit in record.audits if audit.status == "skipped"]
    rest += [line for audit in skipped for line in _comment(f"{audit.name} was not run: {audit.reason}", "  ")]
    return [head, *lines, *([*_comment("Not suggested:", "  "), *rest] if rest else [])]


def _gate(gate: Suggestion, min_n: int | None) -> list[str]:
    rule = gate.rule
    values: dict[str, Any] = {
        "id": rule.id,
        "metric": rule.metric,
        **rule.scope,
        "min" if rule.op == ">=" else "max": rule.limit,
        "bound": rule.bound,
        **({"min_n": rule.min_n} if min_n is not None else {}),
    }
    remark = _comment(gate.remark, "  ") if gate.remark else []
    return [*_comment(f"Measured: {gate.measured}.", "  "), *remark, f"  - {_flow(values)}"]


def _left_out(one: LeftOut) -> list[str]:
    return _comment(f"{one.what}: {one.reason}", "  ")


def _flow(value: object) -> str:
    """A value as YAML on one line, quoted where it has to be."""
    import yaml

    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000)
    return text.strip()[1:-1]


def _comment(text: str, indent: str = "") -> list[str]:
    """Lines of a comment. Names of classes and features stand in it: nothing in them may end a line."""
    import textwrap

    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    start = f"{indent}# "
    return textwrap.wrap(
        plain, _WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )


def _shell(origin: Origin) -> str:
    return shlex.join(origin.typed)


def _next_steps(run: Path | None, output: Path, written: _Written, origin: Origin | None) -> list[str]:
    named = "" if output == Path(_NAME) else f" --config {shlex.quote(str(output))}"
    again = f" {_shell(origin)}" if origin is not None and origin.typed else ""
    steps = []
    if written.edits:
        lines = "1 line" if written.edits == 1 else f"{written.edits} lines"
        steps.append(f"Edit {lines} of {output}, marked {EDIT}.")
    if run is not None and written.gates:
        steps.append(f"See that the run passes:  spuraudit gate {shlex.quote(str(run))}{named}")
    if run is not None and not written.gates:
        steps.append("Write a gate: no number of this run could carry one, and the file says why.")
    steps.append(f"Scan a model with it:  spuraudit scan{named}{again}")
    steps.append("In CI, let that command decide: exit code 0 passed, 1 a gate failed, 2 could not be evaluated.")
    return ["Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]
