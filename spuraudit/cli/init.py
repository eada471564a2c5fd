"""`spuraudit init [RUN]`: a commented `.spuraudit.yaml` to start from, and files for CI. Needs no torch."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spuraudit.cli import init_ci
from spuraudit.cli.yaml_text import EDIT, comment, flow
from spuraudit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.cli.run_origin import Origin, Spec
    from spuraudit.gates.suggest import LeftOut, Suggested, Suggestion
    from spuraudit.record.scan import ScanRecord

_NAME = ".spuraudit.yaml"

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
    """A config file's text, how many of its lines have to be looked at, and its gates."""

    text: str
    edits: int
    gates: int


def init(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="Finished run to start from: its model, data, audits and numbers."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The config file to write: .yaml or .yml.")
    ] = Path(_NAME),
    ci: Annotated[
        list[init_ci.System] | None,
        typer.Option(
            "--ci",
            metavar="SYSTEM",
            help="A job for CI too: github (.github/workflows/spuraudit.yml), gitlab (.gitlab/spuraudit.yml) or "
            "pre-commit (a hook, printed). Repeatable.",
        ),
    ] = None,
    min_n: Annotated[
        int | None,
        typer.Option("--min-n", min=1, help="Fewest images a gate's number may rest on. Default: 50. Needs RUN."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave FILE as it is, and write only the files of --ci, for what it says.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write a commented .spuraudit.yaml: from a finished run with limits that it passes, else a template.

    Limits are the ends of the run's 95 % intervals less a margin; numbers that could not be judged get no gate, and a
    comment says why. With --ci, a job that scans with this file and gates is written as well.

    Example: spuraudit init runs/last --ci github

    Later, for a config that is there: spuraudit init --keep --ci gitlab

    Exit codes: 0 written, 2 the run could not be read, or a file exists and --force was not given: nothing was written.
    """
    from spuraudit.record.folder import resolve_run, write_bytes

    systems = list(dict.fromkeys(ci or []))
    _check_options(run, output, systems, min_n, keep)
    output = _kept(output) if keep else output
    folder = None if run is None else resolve_run(run)
    written, origin = _config(run, folder, output, min_n, keep)
    texts: dict[init_ci.System, str] = {}
    if systems:
        filling = init_ci.filling(output, folder, origin, keep=keep)
        texts = {system: init_ci.rendered(system, filling) for system in systems}
    files = {} if written is None else {output: written.text}
    files |= {file: texts[system] for system, file in init_ci.places(systems, output).items()}
    _refuse_existing(list(files), output, force)
    shadowed = _shadowed(output) if written is not None else []
    for file, text in files.items():
        write_bytes(file, text.encode())
        typer.echo(file)
    for line in (*shadowed, *_next_steps(run, output, written, origin, texts)):
        typer.echo(line, err=True)


def _check_options(
    run: Path | None, output: Path, systems: Sequence[init_ci.System], min_n: int | None, keep: bool
) -> None:
    """Raises UsageError for what makes no sense, before anything is read."""
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o {output}: a config file is YAML.", "Name it .spuraudit.yaml, or give another .yaml file.")
    if min_n is not None and (run is None or keep):
        without = "RUN" if run is None else "a config to write: --keep leaves it as it is"
        raise UsageError(f"--min-n has no effect without {without}.", "Give a finished run, or leave the option out.")
    if keep and not systems:
        raise UsageError("--keep leaves the config as it is, and nothing else was asked.", "Add --ci, such as: github.")


def _kept(output: Path) -> Path:
    """The config that stays as it is: `output`, or, by its usual name, the one that a scan here would find."""
    from spuraudit.gates import find_config

    found = output if output.is_file() else find_config(Path.cwd()) if output == Path(_NAME) else None
    if found is None:
        raise UsageError(f"--keep: there is no {output}; nothing was written.", "Leave --keep out, and it is written.")
    return found


def _refuse_existing(files: Sequence[Path], config: Path, force: bool) -> None:
    """Raises UsageError where a file is there, or could not be put where it belongs, before anything is written."""
    blocked = [above for file in files for above in file.parents if os.path.lexists(above) and not above.is_dir()]
    if blocked:
        raise UsageError(f"{blocked[0]} is no folder; nothing was written.", "Move it away, or give another -o.")
    there = [file for file in files if os.path.lexists(file)]
    if not there or force:
        return
    hint = "Give another file with -o, or replace it: --force."
    if len(files) > 1:
        hint = "Leave the config as it is: --keep. Replace what is there: --force."
    elif there != [config]:
        hint = "Replace it: --force."
    raise UsageError(
        f"{' and '.join(map(str, there))} {'exists' if len(there) == 1 else 'exist'}; nothing was written.", hint
    )


def _config(
    run: Path | None, folder: Path | None, output: Path, min_n: int | None, keep: bool
) -> tuple[_Written | None, Origin | None]:
    """The config to be written, None where it stays as it is; and where the run came from."""
    from spuraudit.record.folder import read_record

    if run is None or folder is None:
        return None if keep else _Written(TEMPLATE, 3, 1), None
    written, origin = _from_run(read_record(run), folder, output, min_n)
    return None if keep else written, origin


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
        *comment(
            f"Written by `spuraudit init` from run {record.run.id}: {record.model.name} on {record.data.name}, "
            f"{record.data.images:,} images."
        ),
        *comment(
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
        lines += comment(f"This file has no keys for some of the run's options; add to each scan: {_shell(origin)}")
    if not origin.parameters_known:
        lines += comment("The run folder has no plan.json of this version: parameters of the audits are the defaults.")
    if origin.audits:
        lines += ["audits:", *(f"  {name}: {flow(values)}" for name, values in origin.audits.items())]
    return [*lines, f"seed: {record.run.seed}", ""]


def _spec(key: str, spec: Spec) -> list[str]:
    mark = "" if spec.sure else f"  # {EDIT}"
    return [*comment(f"{spec.why[0].upper()}{spec.why[1:]}."), f"{key}: {flow(spec.text)}{mark}"]


def _gates(record: ScanRecord, suggested: Suggested, min_n: int | None) -> list[str]:
    lines = [line for gate in suggested.gates for line in _gate(gate, min_n)]
    head = "gates:" if lines else "gates: []  # none of the run's numbers can carry one, for the reasons below"
    rest = [line for one in suggested.left_out for line in _left_out(one)]
    skipped = [audit for audit in record.audits if audit.status == "skipped"]
    rest += [line for audit in skipped for line in comment(f"{audit.name} was not run: {audit.reason}", "  ")]
    return [head, *lines, *([*comment("Not suggested:", "  "), *rest] if rest else [])]


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
    remark = comment(gate.remark, "  ") if gate.remark else []
    return [*comment(f"Measured: {gate.measured}.", "  "), *remark, f"  - {flow(values)}"]


def _left_out(one: LeftOut) -> list[str]:
    return comment(f"{one.what}: {one.reason}", "  ")


def _shell(origin: Origin) -> str:
    return shlex.join(origin.typed)


def _next_steps(
    run: Path | None, output: Path, written: _Written | None, origin: Origin | None, texts: dict[init_ci.System, str]
) -> list[str]:
    named = "" if output == Path(_NAME) else f" --config {shlex.quote(str(output))}"
    again = f" {_shell(origin)}" if origin is not None and origin.typed else ""
    steps = []
    if written is not None:
        if written.edits:
            lines = "1 line" if written.edits == 1 else f"{written.edits} lines"
            steps.append(f"Edit {lines} of {output}, marked {EDIT}.")
        if run is not None and written.gates:
            steps.append(f"See that the run passes:  spuraudit gate {shlex.quote(str(run))}{named}")
        if run is not None and not written.gates:
            steps.append("Write a gate: no number of this run could carry one, and the file says why.")
        steps.append(f"Scan a model with it:  spuraudit scan{named}{again}")
    if texts:
        steps += init_ci.steps(texts)
    else:
        steps.append("In CI, let that command decide: exit code 0 passed, 1 a gate failed, 2 could not be evaluated.")
    return ["Next:", *(f"  {number}. {step}" for number, step in enumerate(steps, 1))]
