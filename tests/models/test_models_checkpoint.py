"""Files as people have them: containers, prefixes, arguments; and everything that can be wrong with them."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spuraudit.errors import ModelError
from spuraudit.models.checkpoint import read_checkpoint


def tensors(value: float = 1.0) -> dict[str, Tensor]:
    return OrderedDict({"a.weight": torch.full((2, 3), value), "a.bias": torch.zeros(2), "n": torch.tensor(4)})


def prefixed(prefix: str, value: float = 1.0) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors(value).items()}


def save(tmp_path: Path, content: object, name: str = "net.pt", **kwargs: object) -> Path:
    torch.save(content, tmp_path / name, **kwargs)
    return tmp_path / name


CONTAINERS = {
    "bare": (tensors(), None, ""),
    "state_dict": ({"epoch": 3, "state_dict": tensors()}, "state_dict", ""),
    "model": ({"model": tensors(), "optimizer": {"state": {}}}, "model", ""),
    "model_state": ({"model_state": tensors()}, "model_state", ""),
    "model_ema alone": ({"model_ema": prefixed("module.")}, "model_ema", "module."),
    "DDP": ({"state_dict": prefixed("module.")}, "state_dict", "module."),
    "Lightning": ({"state_dict": prefixed("model."), "pytorch-lightning_version": "2.4"}, "state_dict", "model."),
    "robustness": ({"model": prefixed("module.model.")}, "model", "module.model."),
    "compiled DDP": (prefixed("_orig_mod.module."), None, "_orig_mod.module."),
    "twice": (prefixed("module.module."), None, "module.module."),
    "averaged": ({"model": {**prefixed("module."), "n_averaged": torch.tensor(7)}}, "model", "module."),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers(case: str, tmp_path: Path) -> None:
    content, entry, prefix = CONTAINERS[case]
    path = save(tmp_path, content)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.entry, checkpoint.prefix) == (entry, prefix)
    assert checkpoint.tensors.keys() == tensors().keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in tensors().items())
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.size_bytes == path.stat().st_size
    assert checkpoint.file == "net.pt"
    assert checkpoint.arch is None
    assert bool(checkpoint.notes) == bool(entry or prefix)


def test_the_averaged_weights_are_preferred_and_named(tmp_path: Path) -> None:
    for entry in ("model_ema", "state_dict_ema"):
        checkpoint = read_checkpoint(save(tmp_path, {"state_dict": tensors(1), "model": tensors(2), entry: tensors(3)}))
        assert float(checkpoint.tensors["a.weight"][0, 0]) == 3
        assert entry in checkpoint.notes[0]
        assert "EMA" in checkpoint.notes[0]


def test_an_empty_average_is_passed_over(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path, {"state_dict": tensors(), "model_ema": None, "state_dict_ema": {}}))
    assert checkpoint.entry == "state_dict"


def test_a_prefix_that_not_all_names_share_stays(tmp_path: Path) -> None:
    mixed = {**prefixed("model."), "loss.weight": torch.ones(3)}
    assert read_checkpoint(save(tmp_path, mixed)).tensors.keys() == mixed.keys()


def test_half_precision_and_the_old_file_format(tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors().items()}
    path = save(tmp_path, half, "net.pth", _use_new_zipfile_serialization=False)
    assert read_checkpoint(path).tensors["a.weight"].dtype == torch.float16


@pytest.mark.parametrize("kind", [dict, lambda **values: Namespace(**values)])
def test_arguments_of_the_training_script(kind: object, tmp_path: Path) -> None:
    """As timm's train.py stores them: `drop`, `gp`, None and '' for what was not given."""
    args = kind(
        model="resnet18",
        drop=0.2,
        gp=None,
        bn_eps=None,
        mean=[0.5, 0.5, 0.5],
        std=(0.25,),
        interpolation="",
        crop_pct=None,
        input_size=[3, 96, 128],
        model_kwargs={"pad_type": "same", "layers": [1, 2]},
    )
    checkpoint = read_checkpoint(save(tmp_path, {"state_dict": tensors(), "arch": "resnet10t", "args": args}))
    assert checkpoint.arch == "resnet10t"
    assert checkpoint.kwargs == {"drop_rate": 0.2, "pad_type": "same"}
    assert checkpoint.preprocess.given() == {"mean": (0.5, 0.5, 0.5), "std": (0.25,), "img_size": (96, 128)}
    without = read_checkpoint(save(tmp_path, {"state_dict": tensors(), "args": args}))
    assert without.arch == "resnet18"


def test_safetensors_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(dict(tensors()), path, metadata={"architecture": "resnet18", "format": "pt"})
    checkpoint = read_checkpoint(path)
    assert checkpoint.arch == "resnet18"
    assert checkpoint.tensors.keys() == tensors().keys()
    save_file(prefixed("module."), path)
    assert read_checkpoint(path).prefix == "module."
    assert read_checkpoint(path).arch is None


class Talkative:
    """Its reading fails at length."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _fail, ("a" + " long" * 100 + " reason",)


def _fail(reason: str) -> None:
    raise ValueError(reason)


class Harmful:
    """Pickled, it would run code on loading."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = save(tmp_path, {"state_dict": tensors(), "extra": Harmful(marker)})
    with pytest.raises(ModelError, match="pickled code") as caught:
        read_checkpoint(path)
    assert not marker.exists()
    assert "convert it to a state dict" in caught.value.hint


def run_lines(lines: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit, on its way out
        exec("\n".join(line.strip() for line in lines), {})


def test_a_whole_pickled_network_is_refused_and_the_way_out_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for content, extra in ((nn.Linear(3, 2), ""), ({"model": nn.Linear(3, 2), "epoch": 1}, "['model']")):
        path = save(tmp_path, content)
        with pytest.raises(ModelError, match=r"pickled code \(torch.nn.modules.linear.Linear\)") as caught:
            read_checkpoint(path)
        lines = caught.value.hint.splitlines()[1:]
        assert len(lines) == 2
        run_lines([line.replace("save(content", f"save(content{extra}") for line in lines])
        assert read_checkpoint(tmp_path / "net.weights.pt").tensors.keys() == {"weight", "bias"}


def test_a_torchscript_archive_is_refused_and_the_way_out_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)).save(str(tmp_path / "net.pt"))
    with pytest.raises(ModelError, match="TorchScript archive") as caught:
        read_checkpoint(tmp_path / "net.pt")
    run_lines(caught.value.hint.splitlines()[1:])
    assert read_checkpoint(tmp_path / "net.weights.pt").tensors.keys() == {"weight", "bias"}


@pytest.mark.parametrize("size", [0, 1, 100, 1000])
@pytest.mark.parametrize("name", ["net.pt", "old.pth", "net.safetensors"])
def test_truncated_files(name: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / name
    many = {f"layer{i}.weight": torch.randn(20, 20) for i in range(8)}
    if name.endswith("safetensors"):
        save_file(many, path)
    else:
        torch.save(many, path, _use_new_zipfile_serialization=name == "net.pt")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match="cannot be read as a checkpoint") as caught:
        read_checkpoint(path)
    assert "truncated" in caught.value.hint


def test_the_reason_of_a_truncated_file_is_a_whole_sentence(tmp_path: Path) -> None:
    torch.save({"weight": torch.randn(100, 20)}, tmp_path / "net.pt")
    (tmp_path / "net.pt").write_bytes((tmp_path / "net.pt").read_bytes()[:300])
    with pytest.raises(ModelError, match=r"read as a checkpoint: .*failed finding central directory\.$"):
        read_checkpoint(tmp_path / "net.pt")


def test_a_long_reason_is_shortened_between_words(tmp_path: Path) -> None:
    torch.save(Talkative(), tmp_path / "net.pt")
    with pytest.raises(ModelError, match=r"checkpoint: ValueError: a( long){20,40} \[\.\.\.\]\.$"):
        read_checkpoint(tmp_path / "net.pt", trust_code=True)


@pytest.mark.parametrize(
    "content", [b"hello, world\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(200), b"PK\x03\x04" + bytes(50)]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".ckpt"])
def test_files_of_another_kind(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        read_checkpoint(path)


def test_a_plain_pickle(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    path.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "a dict with the entries 'epoch', 'optimizer'"),
        ({"state_dict": {"lr": 0.1}}, "a dict with the entries 'state_dict'"),
        ({}, "an empty dict"),
        ([1, 2], "a list"),
        (torch.zeros(3), "a Tensor"),
    ],
)
def test_no_state_dict(content: object, found: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"holds no state dict: it is {found}"):
        read_checkpoint(save(tmp_path, content))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(bad: float, tmp_path: Path) -> None:
    broken = tensors()
    broken["a.weight"][1, 2] = bad
    with pytest.raises(ModelError, match=r"NaN or infinite: a\.weight\."):
        read_checkpoint(save(tmp_path, broken))
    many = {f"layer{i}": torch.tensor([bad]) for i in range(9)}
    with pytest.raises(ModelError, match="layer4 and 4 more"):
        read_checkpoint(save(tmp_path, many))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        read_checkpoint(tmp_path / "none.pt")
    listed = caught.value.hint
    assert all(word in listed for word in (".safetensors", "timm:", "hf-hub:", "local-dir:", "open_clip:", "zoo:"))
    with pytest.raises(ModelError, match="is a folder") as caught:
        read_checkpoint(tmp_path)
    assert caught.value.hint == listed
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="is a folder") as caught:
        read_checkpoint(tmp_path)
    assert caught.value.hint == f"It holds config.json: write local-dir:{tmp_path}."
    (tmp_path / "net.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"unknown kind of checkpoint '\.onnx'"):
        read_checkpoint(tmp_path / "net.onnx")
    (tmp_path / "net").write_bytes(b"x")
    with pytest.raises(ModelError, match="without a suffix"):
        read_checkpoint(tmp_path / "net")
