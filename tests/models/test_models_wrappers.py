"""The classifier is found inside what training leaves around it, and what is left out is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from model_networks import build
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from spuraudit.errors import ModelError
from spuraudit.models import Model, load
from spuraudit.models.checkpoint import read_checkpoint

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build("test_resnet", num_classes=4).eval()


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def saved(tmp_path: Path, content: object) -> str:
    torch.save(content, tmp_path / "net.pt")
    return str(tmp_path / "net.pt")


def answers_like(model: Model, network: nn.Module) -> bool:
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.allclose(model.logits(pixels), network(model.normalise(pixels)), rtol=1e-4, atol=1e-5)


def said(model: Model, text: str) -> bool:
    return any(text in note for note in model.record.notes)


class Lit(nn.Module):
    """As a LightningModule: the network, a weighted loss and running scores."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        setattr(self, name, network)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(4))
        self.val_metrics = nn.ModuleDict({"top1": nn.BatchNorm1d(2)})


@pytest.mark.parametrize("arch", [None, "test_resnet"])
@pytest.mark.parametrize("name", ["model", "net", "network", "classifier_model", "backbone"])
def test_a_lightning_module(name: str, arch: str | None, network: nn.Module, tmp_path: Path) -> None:
    state = Lit(network, name).state_dict()
    path = saved(tmp_path, {"state_dict": state, "epoch": 3, "pytorch-lightning_version": "2.4"})
    model = load(path, arch=arch, device="cpu")
    assert model.record.arch == "test_resnet"
    assert said(model, f"under '{name}.'")
    assert said(model, f"6 of {len(state)} tensors are no part of the network")
    assert said(model, "criterion.weight, val_metrics.* (5)")
    assert answers_like(model, network)


WRAPPED = {
    "DDP of compile": lambda state: under("module._orig_mod.", state),
    "in the middle": lambda state: {name.replace("layer1.", "layer1.module."): one for name, one in state.items()},
    "beside a loss": lambda state: {**state, "criterion.weight": torch.ones(4)},
    "deep": lambda state: under("learner.student_net.model.", state) | {"learner.loss_fn.pos_weight": torch.ones(4)},
    "fsdp": lambda state: {f"_fsdp_wrapped_module.{name}": one for name, one in state.items()},
}


@pytest.mark.parametrize("arch", [None, "test_resnet"])
@pytest.mark.parametrize("case", WRAPPED)
def test_wrappers(case: str, arch: str | None, network: nn.Module, tmp_path: Path) -> None:
    model = load(saved(tmp_path, {"state_dict": WRAPPED[case](network.state_dict())}), arch=arch, device="cpu")
    assert answers_like(model, network)


def test_another_width_is_said_inside_a_wrapper(tmp_path: Path) -> None:
    wide = build("mobilenet_edgetpu_100", channel_multiplier=0.35)
    with pytest.raises(
        ModelError, match=r"names of its weights are those of .*mobilenet_edgetpu_100.* another width"
    ) as caught:
        load(saved(tmp_path, Lit(wide, "net").state_dict()), device="cpu")
    assert "--model-kwargs channel_multiplier" in caught.value.hint


@pytest.mark.shared
def test_real_weights_as_the_robustness_library_writes_them(shared: Path, tmp_path: Path) -> None:
    plain = str(shared / "data/weights/mobilenetv2_100.pt")
    state = robustness(dict(read_checkpoint(Path(plain)).tensors))
    model = load(saved(tmp_path, {"model": state, "epoch": 105}), device="cpu")
    assert model.record.arch == "mobilenetv2_100"
    assert model.record.preprocess.mean == (0.4914, 0.4822, 0.4465)
    assert difference_of(model, load(plain, device="cpu")) == 0


def difference_of(model: Model, other: Model) -> float:
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return float((model.network(pixels) - other.network(pixels)).abs().max())


def test_an_averaged_model(network: nn.Module, tmp_path: Path) -> None:
    model = load(saved(tmp_path, AveragedModel(network).state_dict()), device="cpu")
    assert answers_like(model, network)


@pytest.mark.parametrize("entry", ["net", "network", "my_network", "ema_state_dict", "params_ema"])
def test_entries(entry: str, network: nn.Module, tmp_path: Path) -> None:
    others = {"acc": 93.1, "epoch": 7, "optimizer": {"state": {}, "param_groups": []}}
    model = load(saved(tmp_path, {entry: network.state_dict(), **others}), device="cpu")
    assert said(model, entry)
    assert said(model, "EMA") is ("ema" in entry)
    assert answers_like(model, network)


def test_several_entries_that_nothing_tells_apart(network: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {"student": network.state_dict(), "teacher": network.state_dict()})
    with pytest.raises(ModelError, match="2 state dicts: 'student', 'teacher'") as caught:
        load(path, device="cpu")
    assert "content['student']" in caught.value.hint


def test_student_and_teacher(network: nn.Module, tmp_path: Path) -> None:
    state = network.state_dict()
    other = {name: tensor + 1 for name, tensor in state.items()}
    for arch in (None, "test_resnet"):
        with pytest.raises(ModelError, match=r"two networks .* under 'student\.' and under 'teacher\.'"):
            load(saved(tmp_path, under("student.", state) | under("teacher.", other)), arch=arch, device="cpu")
    model = load(saved(tmp_path, under("student.", state) | under("teacher.", state)), device="cpu")
    assert said(model, "teacher.* (")
    averaged = load(saved(tmp_path, under("model.", other) | under("ema_model.", state)), device="cpu")
    assert said(averaged, "under 'ema_model.'")
    assert answers_like(averaged, network)


def test_parts_of_the_network_are_never_left_out(network: nn.Module, tmp_path: Path) -> None:
    """A deeper network, or one with another layer of its own, is not the named one."""
    state = network.state_dict()
    deeper = {**state, "layer1.7.conv1.weight": torch.ones(8, 8, 1, 1)}
    attention = {**state, "attention.weight": torch.ones(8, 8)}
    for odd, name in ((deeper, "layer1.7.conv1.weight"), (attention, "attention.weight")):
        with pytest.raises(ModelError, match=f"1 unknown to the network .{name}"):
            load(saved(tmp_path, odd), arch="test_resnet", device="cpu")
        with pytest.raises(ModelError, match="of none that is known"):
            load(saved(tmp_path, odd), device="cpu")


class Split(nn.Module):
    """A backbone without a classifier, and one of its own beside it."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.backbone = build("test_resnet", num_classes=0)
        self.backbone.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("fc.")})
        self.head = nn.Sequential(nn.Dropout(0.5), whole.fc)


@pytest.mark.parametrize("arch", [None, "test_resnet"])
@pytest.mark.parametrize("case", ["beside the backbone", "in a Sequential"])
def test_a_classifier_of_ones_own(case: str, arch: str | None, network: nn.Module, tmp_path: Path) -> None:
    state = Split(network).state_dict()
    if case == "in a Sequential":
        state = {name.replace("backbone.", "").replace("head.", "fc."): one for name, one in state.items()}
    model = load(saved(tmp_path, {**state, "criterion.weight": torch.ones(4)}), arch=arch, device="cpu")
    assert said(model, "was taken for the architecture's 'fc'")
    assert model.record.num_classes == 4
    assert answers_like(model, network)


MEAN, STD = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2471, 0.2435, 0.2616])


def robustness(state: State) -> State:
    """As attack_model.AttackerModel of the robustness library in DataParallel, with the attacker's own copies."""
    mean, std = MEAN.view(3, 1, 1), STD.view(3, 1, 1)
    inner = under("model.", state) | under("attacker.model.", state)
    normalisers = {
        f"{place}.new_{name}": value
        for place in ("normalizer", "attacker.normalize")
        for name, value in (("mean", mean), ("std", std))
    }
    return under("module.", normalisers | inner)


NORMALISED = {
    "robustness": lambda state: {"model": robustness(state), "epoch": 105},
    "model and normalizer": lambda state: (
        under("model.", state) | {"normalizer.new_mean": MEAN.view(3, 1, 1), "normalizer.new_std": STD.view(3, 1, 1)}
    ),
    "robustbench": lambda state: (
        under("model.", state) | {"normalize.mean": MEAN.view(1, 3, 1, 1), "normalize.std": STD.view(1, 3, 1, 1)}
    ),
    "mu and sigma": lambda state: {**state, "mu": MEAN.view(1, 3, 1, 1), "sigma": STD.view(1, 3, 1, 1)},
    "Sequential": lambda state: under("1.", state) | {"0.mean": MEAN.clone(), "0.std": STD.clone()},
}


@pytest.mark.parametrize("arch", [None, "test_resnet"])
@pytest.mark.parametrize("case", NORMALISED)
def test_a_normaliser_in_front(case: str, arch: str | None, network: nn.Module, tmp_path: Path) -> None:
    model = load(saved(tmp_path, NORMALISED[case](network.state_dict())), arch=arch, device="cpu")
    assert model.record.preprocess.mean == (0.4914, 0.4822, 0.4465)
    assert model.record.preprocess.std == (0.2471, 0.2435, 0.2616)
    assert model.record.preprocess.origin["mean"] == "checkpoint"
    assert said(model, "normaliser of [0, 1] pixels")
    assert answers_like(model, network)


def test_two_normalisers(network: nn.Module, tmp_path: Path) -> None:
    state = NORMALISED["robustbench"](network.state_dict()) | {"a.mean": MEAN + 0.1, "a.std": STD.clone()}
    with pytest.raises(ModelError, match=r"two normalisers of different values: normalize\.mean and a\.mean"):
        load(saved(tmp_path, state), device="cpu")


class Schedule:
    """Code of a training script that ends up in its checkpoints."""


def test_trusted_code_beside_the_weights(network: nn.Module, tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": robustness(network.state_dict()), "schedule": Schedule()})
    with pytest.raises(ModelError, match="pickled code"):
        load(path, device="cpu")
    model = load(path, device="cpu", trust_code=True)
    assert answers_like(model, network)
    assert said(model, "pickled code, which was run")


def test_a_trusted_network_pickled_whole(network: nn.Module, tmp_path: Path) -> None:
    for content in (network, {"model": network}):
        assert answers_like(load(saved(tmp_path, content), device="cpu", trust_code=True), network)


def test_trusted_code_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, {"model": {"a": torch.ones(2)}, "extra": Schedule()})
    monkeypatch.setattr(Schedule, "__module__", "test_models_wrappers")
    monkeypatch.delattr("test_models_wrappers.Schedule")
    with pytest.raises(ModelError, match="cannot be read as a checkpoint: AttributeError"):
        read_checkpoint(Path(path), trust_code=True)


def test_scores_and_paths_beside_the_weights_need_no_trust(network: nn.Module, tmp_path: Path) -> None:
    plain = {"best": np.float64(0.93), "top1": np.float32(0.9), "dir": Path("runs/1"), "seen": np.int64(3)}
    assert answers_like(load(saved(tmp_path, {"state_dict": network.state_dict(), **plain}), device="cpu"), network)


def test_scores_that_numpy_1_wrote(network: nn.Module, tmp_path: Path) -> None:
    path = Path(saved(tmp_path, {"state_dict": network.state_dict(), "best": np.float64(0.93)}))
    older = tmp_path / "older.pt"
    with zipfile.ZipFile(path) as content, zipfile.ZipFile(older, "w") as rewritten:
        for name in content.namelist():
            # the opcode for a global is text, so that another length needs no other change
            rewritten.writestr(name, content.read(name).replace(b"cnumpy._core.", b"cnumpy.core."))
    assert b"cnumpy.core.multiarray" in older.read_bytes()
    assert answers_like(load(str(older), device="cpu"), network)
