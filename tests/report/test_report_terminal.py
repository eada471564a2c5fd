"""What a finished scan prints: the model, the numbers, the notices."""

from __future__ import annotations

import pytest
import sample_run

from spuraudit.cli.outcome import describe_model, notices_lines, print_summary
from spuraudit.record.scan import Notice, ScanRecord, TextHead

MEANS = (
    ("mean_label_recall", "Label recall"),
    ("core_mean_label_recall", "Core label recall"),
    ("spurious_mean_label_recall", "Spurious label recall"),
    ("mean_label_false_alarm", "Label false alarm"),
    ("core_mean_label_false_alarm", "Core label false alarm"),
    ("spurious_mean_label_false_alarm", "Spurious label false alarm"),
)


def labelled() -> ScanRecord:
    """A scan of a sigmoid head: a different share per mean, and one label's own recall, which is no key number."""
    numbers = [
        sample_run.number(metric, 0.1 + 0.1 * place, 50, "labels", **({"sigma": 0.25} if "_mean" in metric else {}))
        for place, (metric, _) in enumerate(MEANS)
    ]
    numbers.append(sample_run.number("label_recall", 0.987, 25, "labels", **{"class": "owl"}))
    notices = [
        Notice(code="SPA002", text="Only 5 of 9 images were audited (--limit)."),
        Notice(code="SPA006", text="With --mean 0.5,0.5,0.5 [sic], more are right."),
    ]
    return sample_run.record(
        classes={"owl": 50}, measurements=numbers, findings=[], warnings=notices, definitions={"labels": "x"}
    )


def test_label_means_of_a_sigmoid_head_are_key_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(labelled())
    printed = capsys.readouterr().out
    for place, (metric, name) in enumerate(MEANS):
        title = f"{name} (sigma 0.25)" if "_mean" in metric else name
        line = next(line for line in printed.splitlines() if line.startswith(f" {title}  "))
        assert f"{10 + 10 * place:.1f} %" in line
    assert "98.7" not in printed


def test_notices_are_lines_and_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = notices_lines(labelled())
    assert lines == [
        "SPA002 Only 5 of 9 images were audited (--limit).",
        "SPA006 With --mean 0.5,0.5,0.5 [sic], more are right.",
    ]
    print_summary(labelled())
    assert capsys.readouterr().out.splitlines()[-2:] == lines


def test_an_unusual_head_is_described_and_a_usual_one_is_not() -> None:
    model = labelled().model
    assert not [line for line in describe_model(model) if line.startswith(("Head", "Text"))]
    text = TextHead(class_names="names.txt", templates="openai-imagenet", prompts=80, sha256="ab" * 32)
    lines = describe_model(model.model_copy(update={"head": "sigmoid", "text_head": text}))
    assert "Head   sigmoid: every output is a label of its own, given at a probability of 0.5 or more" in lines
    assert "Text   class names: names.txt; templates: openai-imagenet, 80 per class; sha256 abababababab" in lines
