"""Answers of MC dropout against plain arithmetic over whole passes, for every kind of class map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys

from spuraudit.audits.patch_swap import PatchSwapAudit
from spuraudit.data import open_dataset
from spuraudit.errors import NotEvaluatedError
from spuraudit.models.class_map import class_map
from spuraudit.models.mc_dropout import draw_masks
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.asking import Asker, ask_image
from spuraudit.runs.batching import Batches
from spuraudit.runs.chance import chance_check, refuse_near_chance
from spuraudit.runs.prepare import Machine, prepare_scan
from spuraudit.runs.showing import Block, Done, make, tasks

SETTINGS = {"audits": ("patch_swap",), "passes": 7, "patch_targets": 2, "patch_sources": 2, "target_classes": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.draw(tmp_path_factory.mktemp("data"), toys.Toy(tag=True, test=3, train=3))


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("answers", ["all", "mapped"])
@pytest.mark.parametrize("outputs", [[[0], [1], [2]], [[0], [1], [2, 3]], [[3, 0], [1], [2]]])
def test_rows_equal_plain_arithmetic(folder: Path, answers: str, outputs: list[list[int]], head: str) -> None:
    content = toys.description(toys.Toy(tag=True))
    content["classes"] = [{"name": name, "outputs": own} for name, own in zip(toys.NAMES, outputs, strict=False)]
    toys.write_yaml(folder, content)
    settings = ScanSettings(**SETTINGS, answers=answers, allow_chance=True)
    model = toys.as_model(toys.Mixture(classes=4))
    scan = prepare_scan(model, open_dataset(str(folder)), settings, Machine(16, 1))
    scan = replace(scan, class_map=replace(scan.class_map, head=head))
    audit = scan.audits["patch_swap"]
    assert isinstance(audit, PatchSwapAudit)
    assert scan.dropout is not None
    row = next(rows[0] for rows in audit.pairing.sources_of.values() if rows)
    with scan.loader() as loader:
        items = list(map(make, tasks(loader.load([(row, audit.donors(row))]), [audit], 16)))
    asker = Asker(model, scan.class_map, Batches(16), scan.dropout)
    ask_image(iter(items), [asker], [audit])
    rows = [given for given in asker.finish() if "p_sd" in given]
    assert len(rows) == 100

    blocks = [item for item in items if isinstance(item, Block) and item.passes]
    assert isinstance(items[-1], Done)
    place, seen = 0, set()
    for block in blocks:
        (mask,) = draw_masks(scan.dropout, block.key, 7)
        for pixels in block.shown.pixels:
            given = rows[place]
            place += 1
            probabilities = np.stack([_one_pass(model.network, pixels, one, outputs, answers, head) for one in mask])
            together = np.sum if head == "softmax" else np.max
            of_class = together(probabilities[:, outputs[row.label]], axis=1)
            mean = probabilities.mean(axis=0)
            assert given["p_true"] == pytest.approx(together(mean[outputs[row.label]]), abs=1e-5)
            assert given["p_sd"] == pytest.approx(of_class.std(ddof=1), abs=1e-5)
            plain = _one_pass(model.network, pixels, torch.ones_like(mask[0]), outputs, answers, head)
            assert given["p_plain"] == pytest.approx(together(plain[outputs[row.label]]), abs=1e-5)
            chances = mean if head == "softmax" else [*mean, *(1 - mean)]
            assert given["entropy"] == pytest.approx(-sum(p * np.log(p) for p in chances if p > 0), abs=1e-4)
            assert given["output"] == mean.argmax()
            owner = [k for k, own in enumerate(outputs) if mean.argmax() in own]
            says_something = head == "softmax" or mean.max() >= 0.5
            assert given["predicted"] == (owner[0] if owner and says_something else -1)
            labels = [k for k, own in enumerate(outputs) if mean[own].max() >= 0.5]
            assert given.get("given") == (labels if head == "sigmoid" else None)
            seen.update(given.get("given") or ())
    assert seen if head == "sigmoid" else not seen


def _one_pass(
    network: toys.Mixture, pixels: torch.Tensor, mask: torch.Tensor, outputs: list[list[int]], answers: str, head: str
) -> np.ndarray:
    """Softmax or sigmoids of one pass by hand: the classifier after a multiplication."""
    seen: list[torch.Tensor] = []
    hook = network.classifier.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad():
        network(pixels[None])
    hook.remove()
    logits = (seen[0][0] * mask) @ network.classifier.weight.t() + network.classifier.bias
    if answers == "mapped":
        known = sorted(output for own in outputs for output in own)
        logits = torch.tensor([logits[k] if k in known else -torch.inf for k in range(len(logits))])
    return (logits.softmax(dim=0) if head == "softmax" else logits.sigmoid()).double().numpy()


def test_saying_yes_to_everything_is_near_chance() -> None:
    model = toys.as_model(toys.Constant())
    mapping = class_map([None] * 3, toys.NAMES[:3], 3, "all", "sigmoid")
    answers = mapping.answer(model.logits(torch.zeros(60, 3, toys.SIDE, toys.SIDE)))
    assert answers.given is not None
    assert answers.given.all()
    labels = np.arange(60) % 3
    check = chance_check(answers.predicted.numpy() == labels, labels, mapping)
    assert check.accuracy == pytest.approx(1 / 3) == check.chance
    with pytest.raises(NotEvaluatedError, match="without any label counts as wrong; always giving one answer"):
        refuse_near_chance(check, model, mapping, toys.NAMES[:3])


def test_the_next_image_starts_where_the_blocks_of_one_end(folder: Path) -> None:
    scan = prepare_scan(
        toys.as_model(toys.Reader(toys.TAG)), open_dataset(str(folder)), ScanSettings(audits=("noise",)), Machine(16, 1)
    )
    asker = Asker(scan.model, scan.class_map, Batches(16))
    with pytest.raises(RuntimeError, match="end before their image"):
        ask_image(iter([]), [asker], [])
