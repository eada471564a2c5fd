"""Write spuraudit/models/architecture_index.json: keys of the names and shapes of every timm architecture.

    python scripts/build_architecture_index.py

Networks are built without memory for their weights: some minutes, nothing is fetched. Run it again for a new timm.
"""

from __future__ import annotations

import copy
import json
import warnings

import timm
import torch
from timm.utils.model import reparameterize_model

from spuraudit.models.architectures import OWN, classifier_names, create, default_cfg
from spuraudit.models.identify import INDEX, Entry
from spuraudit.models.layouts import behaviour_key, names_key, shapes_of, weights_key


def entry(arch: str) -> tuple[Entry, tuple[str, ...]]:
    """Keys of one architecture, and its classifier layers."""
    layers = classifier_names(default_cfg(arch))
    with torch.device("meta"):
        network = create(arch, {}).eval()
        shapes = shapes_of(network.state_dict())
        fused = shapes_of(reparameterize_model(copy.deepcopy(network), inplace=True).state_dict())
    key = weights_key(shapes, layers)
    fused_key = weights_key(fused, layers) if fused != shapes else ""
    return Entry(arch, key, fused_key, names_key(shapes), behaviour_key(network)), layers


def main() -> None:
    """All of timm's and our own."""
    warnings.simplefilter("ignore")
    entries, classifiers = [], set()
    for arch in [*OWN, *timm.list_models()]:
        try:
            found, layers = entry(arch)
        except Exception as error:
            print(f"left out: {arch}: {type(error).__name__}: {error}")
            continue
        entries.append(found)
        classifiers.add(layers)
    rows = ",\n".join(json.dumps(row) for row in sorted(entries))
    heads = json.dumps(sorted(classifiers))
    INDEX.write_text(
        f'{{"timm": {json.dumps(timm.__version__)},\n"classifiers": {heads},\n"architectures": [\n{rows}\n]}}\n',
        encoding="utf-8",
    )
    print(f"{len(entries)} architectures, {INDEX.stat().st_size} bytes")


if __name__ == "__main__":
    main()
