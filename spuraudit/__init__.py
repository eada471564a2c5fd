"""spuraudit tells whether an image classifier looks at the object or at what happens to be around it.

    import spuraudit as sa

    model = sa.load_model("model.pt", arch="resnet50")
    record = sa.scan(model, sa.open_dataset("my_dataset"), "runs/mine")
    verdict = sa.judge(record, [sa.parse_rule("ci_low(rcs) >= 0.2")])

Names are imported on first use: `import spuraudit` itself loads neither torch nor anything else that is heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spuraudit.data import open_dataset
    from spuraudit.errors import SpurauditError
    from spuraudit.gates import judge, parse_rule
    from spuraudit.models import load as load_model
    from spuraudit.record.folder import read_record
    from spuraudit.record.settings import ScanSettings
    from spuraudit.report import render
    from spuraudit.runs.execute import scan

__version__ = "0.1.0"

_PUBLIC = {
    "ScanSettings": ("spuraudit.record.settings", "ScanSettings"),
    "SpurauditError": ("spuraudit.errors", "SpurauditError"),
    "judge": ("spuraudit.gates", "judge"),
    "load_model": ("spuraudit.models", "load"),
    "open_dataset": ("spuraudit.data", "open_dataset"),
    "parse_rule": ("spuraudit.gates", "parse_rule"),
    "read_record": ("spuraudit.record.folder", "read_record"),
    "render": ("spuraudit.report", "render"),
    "scan": ("spuraudit.runs.execute", "scan"),
}

__all__ = [
    "ScanSettings",
    "SpurauditError",
    "__version__",
    "judge",
    "load_model",
    "open_dataset",
    "parse_rule",
    "read_record",
    "render",
    "scan",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'spuraudit' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)
