"""`python -m spuraudit`."""

from spuraudit.cli.main import run

if __name__ == "__main__":
    run()
