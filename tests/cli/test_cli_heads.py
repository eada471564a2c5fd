"""What a network's outputs mean, through the command line: sigmoids, one output, structures, maps, normalisation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import spec_files
import torch
import toys
from spec_files import QUICK, Ran, record_of, value_of

from spuraudit.models.paper_cnn import PaperCNN

#: A module of the user's own: every function wraps the same body, which knows a class by the object's colour and says
#: `red` where it knows none.
HEADS = """
import toys
from torch import nn

CFG = dict(mean=(0.0,) * 3, std=(1.0,) * 3, input_size=(3, 28, 28), crop_pct=1.0, interpolation="bilinear")

class Net(nn.Module):
    def __init__(self, wrap, classes):
        super().__init__()
        self.body = toys.Reader(toys.OBJECT, classes, guess=0)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.body(x))

def net(wrap, classes=3):
    return Net(wrap, classes), CFG

def plain(): return net(lambda z: z)
def labels(): return net(lambda z: 4 * z - 8)
def sigmoids(): return net(lambda z: (4 * z - 8).sigmoid())
def probabilities(): return net(lambda z: z.softmax(dim=1))
def pair(): return net(lambda z: (z, z.repeat(1, 1)))
def mapping(): return net(lambda z: {"features": z.repeat(1, 4), "logits": z})
def unclear(): return net(lambda z: (z, z.repeat(1, 4)))
def text(): return net(lambda z: "red")
def one(): return net(lambda z: z[:, 1:] - z[:, :1], classes=2)
def flat(): return net(lambda z: z[:, 1] - z[:, 0], classes=2)
def turned(): return net(lambda z: z[:, [2, 0, 1]])
def thousand(): return net(lambda z: nn.functional.pad(z, (100, 897), value=-3.0))
"""
TURNED = {
    "map.yaml": "red: 1\ngreen: 2\nblue: 0\n",
    "map.json": '{"red": [1],\n "green": 2, "blue": 0}',
    "map.csv": "class,output\ngreen,2\nblue,0\nred,1\n",
    "map.txt": "blue\nred\ngreen\n",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 images of three classes, with and without outputs; 60 of three; 12 of two."""
    folder = tmp_path_factory.mktemp("original")
    toys.draw(folder / "data", spec_files.TOY)
    toys.draw(folder / "unmapped", toys.Toy(test=6, train=1, outputs=False))
    toys.draw(folder / "many", toys.Toy(test=20, train=1))
    toys.draw(folder / "two", toys.Toy(classes=2, test=6, train=1))
    (folder / "heads.py").write_text(HEADS)
    for name, content in TURNED.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def here(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory that leads to all of it."""
    for entry in original.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("heads", None)


class Scan:
    """A command on one function of the module, and what it left."""

    def __init__(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        function: str,
        *options: str,
        data: str = "data",
        run: str = "run",
    ) -> None:
        command = ("scan", f"heads:{function}", "--trust-code", "--data", data, *QUICK, *options, "-o", run)
        self.ran = Ran(capsys, monkeypatch, *command)
        self.code, self.err = self.ran.code, self.ran.err
        self.record = record_of(Path(run)) if Path(run, "scan.json").exists() else {}

    @property
    def figures(self) -> dict[str, float | None]:
        """Accuracies on clean images and under noise."""
        noised = {name: value_of(self.record, name, sigma=0.25) for name in ("core_accuracy", "spurious_accuracy")}
        return {"clean_accuracy": value_of(self.record, "clean_accuracy"), **noised}

    @property
    def notes(self) -> list[str]:
        """Less the one that says where the code lies."""
        notes: list[str] = self.record["model"]["notes"][1:]
        return notes


#: With noise on the object every picture is called red.
READS_THE_OBJECT = {"clean_accuracy": 1.0, "core_accuracy": 1.0, "spurious_accuracy": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    ("function", "note"),
    [
        ("plain", None),
        ("pair", "The logits are item 0 of the network's answer, a tuple, the first of 2 of this shape."),
        ("mapping", "The logits are 'logits' of the network's answer."),
        ("probabilities", "The answers look like probabilities, not logits (none below 0, sum 1 on a test image)"),
        ("sigmoids", "The network ends in a sigmoid: its answers are taken back to logits. They need not sum to 1"),
    ],
)
def test_what_a_network_answers_with(
    function: str, note: str | None, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Scan(capsys, monkeypatch, function)
    assert scan.code == 0, scan.err
    assert scan.figures == READS_THE_OBJECT
    assert (scan.record["model"]["num_classes"], scan.record["model"]["head"]) == (3, "softmax")
    assert [text[: len(note or "")] for text in scan.notes] == ([note] if note else [])
    assert all(f"Note   {text}" in scan.err.splitlines() for text in scan.notes)
    assert not any("label" in measurement["metric"] for measurement in scan.record["measurements"])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("unclear", "its logits could be item 0 of the shape (1, 3) or item 1 of the shape (1, 12)"),
        ("text", "The network answers with a str in which nothing looks like logits"),
    ],
)
def test_answers_that_are_no_logits(
    function: str, message: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Scan(capsys, monkeypatch, function)
    assert (scan.code, scan.record) == (2, {})
    assert message in scan.err
    assert "Wrap the network in code of yours that returns its logits alone" in scan.err


@pytest.mark.parametrize("function", ["labels", "sigmoids"])
def test_labels_of_a_sigmoid_head(
    function: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = ("mean_label_recall >= 0.1", "spurious_mean_label_recall <= 0.5")
    asked = [word for rule in rules for word in ("--rule", rule)]
    scan = Scan(capsys, monkeypatch, function, "--head", "sigmoid", *asked, data="many")
    assert scan.code == 0, scan.err
    assert scan.record["model"]["head"] == "sigmoid"
    assert scan.figures == READS_THE_OBJECT
    assert "PASSED: 2 of 2 gates hold." in scan.err
    for name in spec_files.NAMES:
        # Noise on the object leaves red alone; every picture is then also given red.
        assert value_of(scan.record, "label_recall", class_=name) == 1
        assert value_of(scan.record, "core_label_recall", class_=name, sigma=0.25) == 1
        assert value_of(scan.record, "spurious_label_recall", class_=name, sigma=0.25) == float(name == "red")
        assert value_of(scan.record, "spurious_label_false_alarm", class_=name, sigma=0.25) == float(name == "red")
    assert value_of(scan.record, "mean_label_recall") == 1
    page = Path("run/report.html").read_text()
    assert "label recall" in page.lower()


def test_a_gate_on_labels_that_fails(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = ("--rule", "spurious_mean_label_recall >= 0.9")
    scan = Scan(capsys, monkeypatch, "labels", "--head", "sigmoid", *rule, data="many")
    assert scan.code == 1
    assert "FAILED: the gate failed." in scan.err
    few = Scan(capsys, monkeypatch, "labels", "--head", "sigmoid", "--rule", "mean_label_recall >= 0.1", run="few")
    assert few.code == 2  # 18 images are no evidence
    assert "rests on n = 18 images" in few.ran.out
    soft = Scan(capsys, monkeypatch, "labels", "--rule", "mean_label_recall >= 0.1", data="many", run="soft")
    assert soft.code == 2
    assert "mean_label_recall" in soft.ran.out


@pytest.mark.parametrize("function", ["one", "flat"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_one_output_is_a_binary_classifier(
    function: str, head: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Scan(capsys, monkeypatch, function, "--head", head, data="two")
    assert scan.code == 0, scan.err
    assert scan.record["model"]["num_classes"] == 2
    assert scan.figures == {"clean_accuracy": 1, "core_accuracy": 1, "spurious_accuracy": 0.5}
    assert scan.notes[0].startswith("One output: a binary classifier. Output 1 has the probability sigmoid(answer)")
    three = Scan(capsys, monkeypatch, function, "--head", head, data="unmapped", run="three")
    assert three.code == 2
    assert "Wrong class count: the dataset has 3 classes, the model has 2 outputs" in three.err


@pytest.mark.parametrize("data", ["data", "unmapped"])
def test_a_map_of_another_order(
    data: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Scan(capsys, monkeypatch, "turned", data=data, run="wrong")
    assert wrong.code == 2
    assert "Clean accuracy is near chance: 0.0%" in wrong.err
    assert "Check the class order (red = output 0, green = output 1, blue = output 2), the" in wrong.err
    right = Scan(capsys, monkeypatch, "plain", data=data, run="right")
    for name in TURNED:
        mapped = Scan(capsys, monkeypatch, "turned", "--class-map", name, data=data, run=name.replace(".", "-"))
        assert mapped.code == 0, mapped.err
        assert mapped.figures == right.figures == READS_THE_OBJECT
        assert [entry["outputs"] for entry in mapped.record["data"]["classes"]] == [[1], [2], [0]]


def test_three_of_a_thousand_outputs(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Scan(capsys, monkeypatch, "thousand", data="unmapped", run="refused")
    assert refused.code == 2
    assert "Wrong class count: the dataset has 3 classes, the model has 1000 outputs" in refused.err
    assert "--class-map" in refused.err
    (here / "some.yaml").write_text("red: 100\ngreen: 101\nblue: [102, 7]\n")
    for answers in ("all", "mapped"):
        options = ("--class-map", "some.yaml", "--answers", answers)
        scan = Scan(capsys, monkeypatch, "thousand", *options, data="unmapped", run=answers)
        assert scan.code == 0, scan.err
        assert scan.figures == READS_THE_OBJECT
        assert scan.record["data"]["classes"][2]["outputs"] == [102, 7]


@pytest.mark.parametrize(
    ("file", "content", "message", "hint"),
    [
        ("a.yaml", "red: 1\ngren: 2\nblue: 0\n", "a.yaml, line 2: the dataset has no class 'gren'.", "'green'?"),
        ("a.yaml", "red: 1\ngreen: 7\n", "a.yaml, line 2: the class 'green' names the output 7; the model has 3", "0"),
        ("a.yaml", "red: 1\ngreen: 1\n", "a.yaml, line 2: the output 1 is claimed by 'green', and by 'red'", "once"),
        ("a.yaml", "red: 1\nblue: 0\n", "a.yaml: 1 of 3 classes of the dataset are not named: 'green'.", "every"),
        ("a.yaml", "red: [1\n", "a.yaml, line 2: malformed YAML", ""),
        ("a.csv", "class,output\nred,1\ngreen,x\n", "a.csv, line 3: green: expected the number of an output", "once"),
        ("a.txt", "blue\nred\n", "a.txt, line 2: the list ends after 2 names; the model has 3 outputs.", "every"),
        (
            "a.txt",
            "blue\nred\ngren\n",
            "a.txt: 1 of 3 classes of the dataset are not among the 3 names. 'green': did you mean 'gren' (line 3)?",
            "letter",
        ),
        ("a.toml", "", "a.toml: a class map is a .yaml, .json, .csv or .txt file, not '.toml'.", ".yaml"),
        ("gone.yaml", None, "gone.yaml: cannot be read (No such file or directory).", "Check the path"),
    ],
)
def test_maps_that_are_wrong(
    file: str,
    content: str | None,
    message: str,
    hint: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if content is not None:
        (here / file).write_text(content)
    scan = Scan(capsys, monkeypatch, "plain", "--class-map", file)
    assert (scan.code, scan.record) == (2, {})
    said, _, way_out = scan.err.partition("Error: ")[2].partition("\n")
    assert message in said
    assert hint in way_out


def save_for_halves(file: Path, blind: tuple[int, ...]) -> None:
    """A checkpoint that knows all objects where pixels come as (x - 0.5) / 0.5, and otherwise none of `blind`.

    A colour's strong channel (0.8) is then 0.6, and under every other usual normalisation above 0.7: three filters see
    what is above 0, three what is above 0.7, which speaks against the classes of `blind` ten times as loud.
    """
    network = PaperCNN(num_classes=3, width=6, img_size=toys.SIDE)
    likeness = toys.templates(3, {"object": 1.0})[:, :, 1:-1, 1:-1]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for channel in range(3):
            for place, threshold in ((channel, 0.0), (channel + 3, 0.7)):
                network.conv.weight[place, channel, 1, 1] = 1.0
                network.conv.bias[place] = -threshold
        against = torch.zeros(3, 1, 1, 1)
        against[list(blind)] = -10.0
        network.classifier.weight.copy_(8 * torch.cat([likeness, against * likeness], dim=1).flatten(1))
    torch.save({"arch": "paper_cnn", "model_kwargs": {"width": 6}, "state_dict": network.state_dict()}, file)


HALVES = ("--mean", "0.5", "--std", "0.5")
INSTEAD = "With --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5, 60 of 60 clean images are answered right instead of"


def test_the_wrong_normalisation_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_for_halves(here / "halves.pt", blind=(2,))
    command = ("scan", "halves.pt", "--data", "many", *QUICK)
    wrong = Ran(capsys, monkeypatch, *command, "-o", "wrong")
    assert wrong.code == 0, wrong.err
    record = record_of(here / "wrong")
    assert value_of(record, "clean_accuracy") == pytest.approx(2 / 3)
    (notice,) = [notice["text"] for notice in record["warnings"] if notice["code"] == "SPA006"]
    assert notice.startswith(f"{INSTEAD} 40: the preprocessing in use")
    assert f"SPA006 {notice}" in wrong.out.splitlines()
    assert notice in (here / "wrong" / "report.html").read_text()
    right = Ran(capsys, monkeypatch, *command, *HALVES, "-o", "right")
    assert right.code == 0, right.err
    record = record_of(here / "right")
    assert value_of(record, "clean_accuracy") == 1
    assert "SPA006" not in right.out
    assert [notice for notice in record["warnings"] if notice["code"] == "SPA006"] == []


def test_near_chance_names_the_better_preprocessing(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_for_halves(here / "halves.pt", blind=(0, 1, 2))
    command = ("scan", "halves.pt", "--data", "many", *QUICK)
    wrong = Ran(capsys, monkeypatch, *command, "-o", "wrong")
    assert wrong.code == 2
    assert "Clean accuracy is near chance: 0.0% on 60 images" in wrong.err
    assert f"{INSTEAD} 0" in wrong.err
    assert not (here / "wrong").exists()
    assert Ran(capsys, monkeypatch, *command, *HALVES, "-o", "right").code == 0
