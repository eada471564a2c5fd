"""Write spuraudit/models/architecture_index.json: keys of the names and shapes of every architecture that is known.

    python scripts/build_architecture_index.py

timm's, torchvision's, open_clip's and our own are built without memory for their weights: some minutes, nothing is
fetched. Where torchvision's networks and timm's take the same weights, both are built in full and asked the same
images. Run it again for a new timm, torchvision or open_clip.
"""

from __future__ import annotations

import copy
import json
import warnings

import open_clip
import timm
import torch
import torchvision
from timm.utils.model import reparameterize_model
from torch import nn

from spuraudit.models.architectures import LIBRARIES, classifier_names, create, default_cfg, known_architectures
from spuraudit.models.identify import INDEX, Entry
from spuraudit.models.layouts import behaviour_key, names_key, shapes_of, weights_key
from spuraudit.models.torchvision_models import stated_by_names


def entry(arch: str) -> tuple[Entry, tuple[str, ...]]:
    """Keys of one architecture, and its classifier layers."""
    layers = classifier_names(default_cfg(arch))
    with torch.device("meta"):
        network = create(arch, {}).eval()
        shapes = shapes_of(network.state_dict())
        other = _second_form(arch, network, layers)
    key = weights_key(shapes, layers)
    other_key = weights_key(other, layers) if other != shapes else ""
    return Entry(arch, key, other_key, names_key(shapes), behaviour_key(network)), layers


def _second_form(arch: str, network: nn.Module, layers: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the fused network, or of the one with auxiliary classifiers."""
    arguments = stated_by_names(arch.removeprefix("torchvision:"), [f"{layer}.weight" for layer in layers])
    if arguments and arch.startswith("torchvision:"):
        return shapes_of(create(arch, arguments).state_dict())
    return shapes_of(reparameterize_model(copy.deepcopy(network), inplace=True).state_dict())


def same_answers(one: str, other: str) -> bool:
    """Whether two architectures of one layout answer alike, with random weights, at two input sizes."""
    torch.manual_seed(0)
    first = create(one, {}).eval()
    second = create(other, {}).eval()
    with torch.no_grad():
        for name, tensor in first.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(torch.randn_like(tensor) * 0.1)
    second.load_state_dict(first.state_dict(), strict=True)
    side = default_cfg(one)["input_size"][-1]
    for size in (side, side + 37):
        images = torch.rand(2, 3, size, size)
        with torch.no_grad():
            mine, theirs = first(images), second(images)
        if not torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4 * float(mine.abs().max())):
            return False
    return True


def with_equals(entries: list[Entry]) -> list[Entry]:
    """torchvision's networks take over the behaviour key of timm's that answer the same."""
    found = []
    for one in entries:
        if one.arch.startswith("torchvision:"):
            twins = {other.behaviour: other.arch for other in entries if _shares_layout(one, other)}
            for behaviour, twin in twins.items():
                same = same_answers(twin, one.arch)
                print(f"{one.arch} {'answers like' if same else 'answers otherwise than'} {twin}", flush=True)
                if same:
                    one = one._replace(behaviour=behaviour)
                    break
        found.append(one)
    return found


def _shares_layout(one: Entry, other: Entry) -> bool:
    return one.weights == other.weights and ":" not in other.arch


def main() -> None:
    """All that can be built here."""
    warnings.simplefilter("ignore")
    entries, classifiers = [], set()
    for arch in known_architectures():
        try:
            found, layers = entry(arch)
        except Exception as error:
            print(f"left out: {arch}: {type(error).__name__}: {error}")
            continue
        entries.append(found)
        classifiers.add(layers)
    for name in sorted(set(open_clip.list_models()) - set(LIBRARIES["open_clip"].names())):
        print(f"left out: open_clip:{name}: its text tower is fetched from a hub")
    entries = with_equals(entries)
    rows = ",\n".join(json.dumps(row) for row in sorted(entries))
    libraries = {"timm": timm, "torchvision": torchvision, "open_clip": open_clip}
    versions = {name: library.__version__.partition("+")[0] for name, library in libraries.items()}
    INDEX.write_text(
        f'{{"versions": {json.dumps(versions)},\n"classifiers": {json.dumps(sorted(classifiers))},\n'
        f'"architectures": [\n{rows}\n]}}\n',
        encoding="utf-8",
    )
    print(f"{len(entries)} architectures, {INDEX.stat().st_size} bytes")


if __name__ == "__main__":
    main()
