"""Zero-shot classifiers: class names, templates, and an image tower whose last layer is made of text.

The classifier is that of the CLIP paper (Radford et al. 2021, section 3.1.4, prompt ensembling). With text embeddings
E, image features f and the learned scale s,

    w_k = m_k / |m_k|,  m_k = mean over templates t of E(t(name_k)) / |E(t(name_k))|
    logit_k = exp(s) * (f / |f|) . w_k
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import open_clip
import torch
import torch.nn.functional as F
from torch import nn

from spuraudit.errors import ConfigError, UsageError, did_you_mean
from spuraudit.record.scan import TextHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.models.request import Request

_SETS = ("openai", "simple", "eight")
#: So many class names are written down; a checksum stands for all.
_LISTED = 5
_EIGHT_NOTE = (
    "Templates 'eight': the CoRM paper averages eight template captions per class and does not say which. These are "
    "open_clip's seven simple ones and 'a photo of a {}.'; the paper's numbers may rest on others."
)


@dataclass(frozen=True)
class Prompts:
    """What a text head is made of: every class name in every template.

    class_names: by number of the output. templates: texts that hold '{}' once. The origins are for people.
    """

    class_names: tuple[str, ...]
    class_names_origin: str
    templates: tuple[str, ...]
    templates_origin: str

    @property
    def sha256(self) -> str:
        """Of class names and templates, in order."""
        return hashlib.sha256(json.dumps([self.class_names, self.templates]).encode()).hexdigest()

    @property
    def texts(self) -> list[str]:
        """Class by class, each in all templates; filled in as text, so that braces in a name mean nothing."""
        return [template.replace("{}", name) for name in self.class_names for template in self.templates]

    @property
    def repeated(self) -> tuple[str, ...]:
        """Names that stand for several classes."""
        return tuple(name for name, count in Counter(self.class_names).items() if count > 1)

    def record(self) -> TextHead:
        """What a scan writes down."""
        return TextHead(
            class_names=self.class_names_origin,
            templates=self.templates_origin,
            prompts=len(self.templates),
            sha256=self.sha256,
        )

    def notes(self) -> tuple[str, ...]:
        """What a reader must know, one sentence or two each."""
        notes = [_EIGHT_NOTE] if self.templates_origin == "eight" else []
        if self.repeated:
            notes.append(
                f"{' and '.join(map(repr, self.repeated))} each name several classes, whose logits are equal: "
                "the first of them is answered."
            )
        return tuple(notes)


def prompts_of(request: Request) -> Prompts:
    """Class names and templates as asked, else the data's names, else ImageNet's, in OpenAI's 80 templates.

    Raises UsageError for class names that cannot be a classifier's, and what `read_templates` raises.
    """
    imagenet = _imagenet()
    asked = request.data_names if request.class_names is None else request.class_names
    names = imagenet if asked is None else asked
    if names != imagenet:
        _check_names(names)
    origin = "open_clip's names of ImageNet's classes" if names == imagenet else _listing(names)
    templates_origin, templates = read_templates(request.templates or "openai")
    return Prompts(names, origin, templates, templates_origin)


def refuse_text_options(request: Request) -> None:
    """Raise UsageError where class names or templates are given: for models that are not zero-shot."""
    given = [
        flag
        for flag, value in (("--classnames", request.class_names), ("--templates", request.templates))
        if value is not None
    ]
    if given:
        raise UsageError(
            f"{' and '.join(given)} had no effect: the model has a trained classifier, not one made of text.",
            "Leave it out, or name a zero-shot model, such as open_clip:ViT-B-32-quickgelu,openai.",
        )


def read_class_names(text: str) -> tuple[str, ...]:
    """`imagenet`, or a file of names -> the names, by number of the output.

    imagenet: open_clip's 1000 names, in the order of the sorted WordNet ids. A .json file holds a list of texts; any
    other file holds one name per line, in UTF-8. Spaces around a name are taken off.
    Raises UsageError where there is no such file, ConfigError (with file and line) for a name that is blank, given
    twice or not printable, and for fewer than two names.
    """
    if text == "imagenet":
        return _imagenet()
    path = _file(text, "--classnames", ("imagenet",), "one name per line, or a .json list")
    names = _entries_of_json(path) if path.suffix.lower() == ".json" else _lines_of(path)
    where = "entry" if path.suffix.lower() == ".json" else "line"
    return _checked(names, path, where, "class name", least=2)


def read_templates(text: str) -> tuple[str, tuple[str, ...]]:
    """`openai`, `simple`, `eight` or a file -> what it is called, and templates that hold '{}' once.

    openai: the 80 of the CLIP paper. simple: open_clip's seven. eight: these seven and 'a photo of a {}.', for the
    CoRM paper's "average encoded vector of eight template captions per class"; the paper does not name them, so this
    set is a choice. A file holds one template per line, in UTF-8, with `{}` for the name.
    Raises UsageError where there is no such file, ConfigError (with file and line) for other contents.
    """
    if text in _SETS:
        own = open_clip.OPENAI_IMAGENET_TEMPLATES if text == "openai" else open_clip.SIMPLE_IMAGENET_TEMPLATES
        templates = tuple(template("{}") for template in own)
        return text, (*templates, "a photo of a {}.") if text == "eight" else templates
    path = _file(text, "--templates", _SETS, "one template per line with {} for the class name")
    lines = _checked(_lines_of(path), path, "line", "template", least=1)
    for number, line in enumerate(lines, 1):
        if line.count("{}") != 1:
            raise ConfigError(
                f"{path}, line {number}: a template holds {{}} exactly once; this one has it {line.count('{}')} times: "
                f"{line[:80]!r}.",
                "For example: a photo of a {}.",
            )
    return path.name, lines


def _listing(names: Sequence[str]) -> str:
    """The first of them, and how many there are: whether they were typed or are a dataset's, these are the names."""
    return f"{', '.join(names[:_LISTED])}{f', ... ({len(names)})' if len(names) > _LISTED else ''}"


def _imagenet() -> tuple[str, ...]:
    return tuple(open_clip.IMAGENET_CLASSNAMES)


def _check_names(names: Sequence[str]) -> None:
    """The same demands as of a file, for names that a program gives."""
    if len(names) < 2:
        raise UsageError(f"{len(names)} class names: a zero-shot classifier needs at least two.", "Name all classes.")
    for number, name in enumerate(names, 1):
        if not name.strip() or not name.isprintable():
            raise UsageError(f"Class name {number} is blank or not printable: {name[:80]!r}.", "Give a word for it.")
        if name in names[: number - 1]:
            raise UsageError(
                f"Class name {number} repeats {name!r}: equal names have equal logits.", "Tell the classes apart."
            )


def _file(text: str, flag: str, words: Sequence[str], content: str) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    what = "is a folder" if path.is_dir() else "is no file"
    raise UsageError(
        f"{flag} {text}: {what}, and not {' or '.join(map(repr, words))}.",
        did_you_mean(text, words) or f"Give {', '.join(words)} or a text file: {content}.",
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text.", "Save the file as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error


def _lines_of(path: Path) -> list[str]:
    lines = _text_of(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _entries_of_json(path: Path) -> list[str]:
    try:
        content = json.loads(_text_of(path))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}).", 'Expected: ["first", "second"].'
        ) from error
    if not isinstance(content, list):
        raise ConfigError(
            f"{path} holds a {type(content).__name__}, not a list of class names.", 'Expected: ["first", "second"].'
        )
    for number, entry in enumerate(content, 1):
        if not isinstance(entry, str):
            raise ConfigError(f"{path}, entry {number}: {entry!r} is not a text.", 'Expected: ["first", "second"].')
    return cast("list[str]", content)


def _checked(entries: Sequence[str], path: Path, where: str, what: str, least: int) -> tuple[str, ...]:
    """Without the spaces around them; each printable, not blank and given once."""
    seen: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        word = entry.strip()
        if not word or not word.isprintable():
            problem = "is blank" if not word else f"is not printable: {word[:80]!r}"
            raise ConfigError(f"{path}, {where} {number}: the {what} {problem}.", "Correct it or take it out.")
        if word in seen:
            raise ConfigError(
                f"{path}, {where} {number}: the {what} {word!r} is already at {where} {seen[word]}.",
                "Each must be given once.",
            )
        seen[word] = number
    if len(seen) < least:
        found = "is empty" if not seen else f"holds {len(seen)} {what}"
        raise ConfigError(f"{path} {found}; at least {least} needed.", "One per line." if where == "line" else None)
    return tuple(seen)


class TextClassifier(nn.Module):
    """A linear layer of text embeddings. A buffer, not a parameter: nothing in it was trained for the classes.

    weight: (K, D) float32, the scale times the unit vectors of the classes.
    """

    weight: Tensor

    def __init__(self, head: Tensor, scale: float) -> None:
        super().__init__()
        self.register_buffer("weight", scale * head.t().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) float32 unit vectors -> (B, K) logits, in float32 whatever autocast says.

        Logits lie around 20, where bfloat16 has steps of 0.125 and a softmax feels less.
        """
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x, self.weight)


class ZeroShot(nn.Module):
    """The image tower of a CLIP model in front of a text head; the equation is in the module's text.

    visual: open_clip's image tower; of a tower that answers with tokens too, the first output is read.
    head: (D, K) unit vectors of the classes. scale: exp of the model's logit scale. A bias of the logits (SigLIP) is
    the same for all classes and changes no softmax: it is left out.
    """

    def __init__(self, visual: nn.Module, head: Tensor, scale: float) -> None:
        super().__init__()
        self.visual = visual
        self.head = TextClassifier(head, scale)

    def get_classifier(self) -> nn.Module:
        """The layer that gives the logits."""
        return self.head

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised pixels -> (B, K) logits."""
        features = self.visual(x)
        if isinstance(features, tuple):
            features = features[0]
        logits: Tensor = self.head(F.normalize(features.float(), dim=-1))
        return logits
