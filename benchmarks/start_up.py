"""How long `spuraudit --help` takes, against a bare interpreter and against importing typer and rich."""

from __future__ import annotations

import subprocess
import sys
import time

RUNS = 7
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer, rich": ["-c", "import typer, rich.console"],
    "spuraudit --help": ["-m", "spuraudit", "--help"],
}


def best(arguments: list[str]) -> float:
    """Best wall-clock seconds of several fresh processes."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Print the table."""
    times = {name: best(arguments) for name, arguments in COMMANDS.items()}
    base = times["python -c pass"] + times["import typer, rich"]
    print(f"| best of {RUNS} | seconds | ratio to pass plus imports |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {seconds:.3f} | {seconds / base:.2f} |")


if __name__ == "__main__":
    main()
