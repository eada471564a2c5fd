"""Values and comments as lines of a YAML file that people edit, whatever names stand in them."""

from __future__ import annotations

#: Marks the lines that a person has to look at.
EDIT = "<- EDIT"


def flow(value: object) -> str:
    """A value as YAML on one line, quoted where it has to be."""
    import yaml

    text = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=1_000_000)
    return text.strip()[1:-1]


def comment(text: str, indent: str = "", width: int = 100) -> list[str]:
    """Lines of a comment. Names of classes and features stand in it: nothing in them may end a line."""
    import textwrap

    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    start = f"{indent}# "
    return textwrap.wrap(
        plain, width, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )
