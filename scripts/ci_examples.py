"""Write the files of examples/ci that `spuraudit init --ci` writes too, filled in for the demo.

    python scripts/ci_examples.py

The text lies in templates/ci. A test holds that what is in examples/ci is what this makes.
"""

from __future__ import annotations

from pathlib import Path

from spuraudit.cli.init_ci import FILES, Filling, System, rendered

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "ci"
DEMO = Filling(
    scan="spuraudit demo --output runs",
    run="runs/last",
    config=".spuraudit.yaml",
    judges=False,
    stored="runs/last",
    about={
        system: f"This one scans the built-in demo; `spuraudit init --ci {system}` writes one for your model and data."
        for system in System
    },
)


def main() -> None:
    """Write the files."""
    for system, name in FILES.items():
        (FOLDER / name).write_text(rendered(system, DEMO), encoding="utf-8")


if __name__ == "__main__":
    main()
