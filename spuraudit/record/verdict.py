"""The verdict of gates over a record: `verdict.json`."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import ConfigDict, Field

from spuraudit.record.base import Part
from spuraudit.record.scan import Scope

Outcome = Literal["pass", "fail", "not evaluated"]


class Rule(Part):
    """A limit on measurements. `scope` selects; '*' as a value means: every one of them must hold."""

    id: str
    metric: str
    scope: Scope = Field(default_factory=dict)
    op: Literal[">=", "<="]
    limit: float
    of: Literal["value", "drop"] = Field(
        default="value",
        description="drop: the limit is on how far the number fell (for a metric that is better low: rose) since the "
        "baseline run, paired over images.",
    )
    bound: Literal["point", "ci_low", "ci_high"] = "point"
    min_n: int = Field(default=50, ge=1)
    severity: Literal["error", "warn"] = Field(
        default="error", description="warn: a failure is shown and does not fail the verdict."
    )
    allow_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the measurements matched by '*' that may fail."
    )
    line: int | None = Field(default=None, description="Of the config file, from 1; null for one of the command line.")


class GateResult(Part):
    """What one rule came to, with the measurement that decided it (the worst one, where several matched)."""

    rule: Rule
    outcome: Outcome
    text: str = Field(description="One sentence with value, interval, limit and n; why, where not evaluated.")
    matched: int = Field(description="Measurements the rule matched.")
    failed: int = Field(default=0, description="Of these: those beyond the limit, ignored and known ones not counted.")
    ignored: int = Field(default=0, description="Of these: those beyond the limit that an ignore covers.")
    known: int = Field(default=0, description="Of these: those beyond the limit that the accepted findings hold.")
    value: float | None = Field(
        default=None,
        description="The number that was held against the limit: the measurement's, or the drop since the baseline run "
        "(greater than 0: it got worse).",
    )
    ci: tuple[float, float] | None = Field(default=None, description="95 % interval of value.")
    n: int | None = None
    scope: Scope = Field(default_factory=dict)
    baseline: float | None = Field(default=None, description="The number of the baseline run, for a limit on a drop.")
    current: float | None = Field(default=None, description="The number of this run, for a limit on a drop.")
    p: float | None = Field(default=None, description="Of the change since the baseline, paired over images.")


class Ignore(Part):
    """Measurements that may lie beyond a limit for a stated reason, until a date."""

    gate: str | None = Field(default=None, description="Id of the gate; null: every gate.")
    metric: str | None = Field(default=None, description="null: every metric.")
    scope: Scope = Field(default_factory=dict, description="Keys that a measurement must have; it may have others.")
    reason: str
    expires: date | None = Field(default=None, description="The last day that it covers anything.")
    line: int | None = Field(default=None, description="Of the config file, from 1.")


class IgnoreResult(Part):
    """What became of an ignore. stale: nothing beyond a limit is covered. expired: it covers nothing any more."""

    ignore: Ignore
    state: Literal["used", "stale", "expired"]
    covered: int = Field(
        description="Measurements beyond a limit, and members of '*' without any, that it covers, or covered until it "
        "expired."
    )
    gates: list[str] = Field(default_factory=list, description="Ids of the gates whose limits those lie beyond.")


class Accepted(Part):
    """One measurement of the accepted findings (`--write-baseline`), identified by gate, metric and scope.

    It excuses a failure of the same limit by a number that is not worse. Files of version 1.0 do not say the limit.
    """

    gate: str
    metric: str
    scope: Scope = Field(default_factory=dict)
    definition: str = Field(description="Definition id of the measurement; another one is another quantity.")
    value: float | None = Field(
        description="The number that was held against the limit when it was accepted; it stays the best one where the "
        "file is written again."
    )
    op: Literal[">=", "<="] | None = None
    limit: float | None = None
    of: Literal["value", "drop"] | None = None
    bound: Literal["point", "ci_low", "ci_high"] | None = None


class AcceptedResult(Part):
    """What became of an accepted finding.

    known: it still lies beyond its limit, or cannot be judged now. fixed: it holds now. stale: nothing matches it, or
    its gate has another limit now.
    """

    accepted: Accepted
    state: Literal["known", "fixed", "stale"]
    value: float | None = Field(default=None, description="The number now.")
    reason: str | None = Field(
        default=None, description="Why it excuses nothing: the number got worse, or the gate has another limit."
    )


class AcceptedFindings(Part):
    """`--write-baseline FILE`: what failed when the gates were introduced, so that only what is new fails."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/accepted"] = Field(default="spuraudit/accepted", alias="schema")
    schema_version: str = "1.1"
    data_fingerprint: str
    split: str | None
    images: int
    model: str
    run_id: str
    findings: list[Accepted]


class Verdict(Part):
    """All gates of a run. Not evaluated outranks failed outranks passed; without rules there is nothing to pass.

    A gate of severity warn that failed does not fail the verdict; one that could not be evaluated always counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    schema_name: Literal["spuraudit/verdict"] = Field(default="spuraudit/verdict", alias="schema")
    schema_version: str = "1.2"
    run_id: str
    outcome: Outcome
    gates: list[GateResult]
    model: str | None = Field(default=None, description="Name of the audited model.")
    model_sha256: str | None = None
    record_sha256: str | None = Field(
        default=None, description="Of the scan.json that was judged: with another one this verdict says nothing."
    )
    data: str | None = None
    config: str | None = Field(
        default=None, description="File that the gates came from, relative to the root of its repository."
    )
    baseline: str | None = Field(default=None, description="Run id of the baseline run.")
    ignores: list[IgnoreResult] = Field(default_factory=list)
    accepted: list[AcceptedResult] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list, description="What a reader must know, one sentence each.")
