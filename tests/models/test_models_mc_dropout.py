"""Dropout that really drops, against a rebuilt network; the network is left as found."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from model_networks import as_model, build
from oracles.mc_dropout import naive_passes, slow_masks
from torch import Tensor, nn

from spuraudit.errors import NotEvaluatedError, UsageError
from spuraudit.models.dropout_calls import DropoutCall, drop, find_sites
from spuraudit.models.dropout_masks import draw_kept
from spuraudit.models.dropout_plan import DropoutPlan
from spuraudit.models.linear_head import read_head
from spuraudit.models.mc_dropout import Draw, answers_of_passes, draw_masks, mc_logits, prepare


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def small(pixels: Tensor) -> Tensor:
    return pixels[:, :, :28, :28]


def state_of(network: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[int], list[bool]]:
    """Everything that must not change: tensors, training flags, hooks, gradients."""
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modules = list(network.modules())
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
    return tensors, [module.training for module in modules], hooks, [p.grad is None for p in network.parameters()]


def assert_as_found(before: tuple, network: nn.Module) -> None:
    after = state_of(network)
    assert before[1:] == after[1:]
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])


# name, constructor arguments, input side, places of the twin, injected
CASES = {
    "module in our CNN": ("paper_cnn", {}, 28, ["drop"], False),
    "pooled CNN": ("paper_cnn", {"pool": True, "width": 4}, 28, ["drop"], False),
    "functional head": ("resnet10t", {"drop_rate": 0.3}, 64, ["fc"], False),
    "functional head, squeeze-excitation": ("test_efficientnet", {"drop_rate": 0.3}, 64, ["classifier"], False),
    "injected, CNN": ("test_efficientnet", {}, 64, ["classifier"], True),
    "injected, ViT": ("vit_tiny_patch16_224", {"img_size": 64}, 64, ["head"], True),
    "head module of a ViT": ("test_vit", {"img_size": 64, "drop_rate": 0.25}, 64, ["head_drop"], False),
    "two heads": ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 2}, 64, ["head", "head_dist"], True),
    "1x1 convolution as head": ("resnetv2_18", {}, 64, ["head.fc"], True),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_a_rebuilt_network(case: str, pixels: Tensor) -> None:
    name, kwargs, side, places, injected = CASES[case]
    model = as_model(build(name, **kwargs), side)
    images = pixels[:, :, :side, :side]
    before = state_of(model.network)
    rng = torch.get_rng_state()

    plan = prepare(model, images, rate=0.4)
    masks = draw_masks(plan, 77, 4)
    logits = mc_logits(model, plan, images, masks)

    assert_as_found(before, model.network)
    assert torch.equal(rng, torch.get_rng_state())
    assert plan.injected is injected
    assert plan.where == tuple(places) if injected else plan.rate is None
    assert plan.spread > 0
    assert logits.shape == (4, 3, 10)
    assert logits.dtype == torch.float32

    own = slow_masks([site.shape for site in plan.sites], [site.p for site in plan.sites], 77, 4)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(masks, own, strict=True))
    twin = model.network
    if hasattr(twin, "drop_rate") and "functional" in case:
        assert [site.where for site in plan.sites] == [""]
    expected = naive_passes(twin, model.normalise(images), places, own)
    assert torch.allclose(logits, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    # passes differ, and not by the last bits
    assert float((logits.std(dim=0)).max()) > 1e-3 * float(logits.abs().max())


def test_dropout_inside_every_block(pixels: Tensor) -> None:
    network = build("test_vit", img_size=64, proj_drop_rate=0.1, pos_drop_rate=0.2)
    names = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout) and module.p > 0]
    model = as_model(network, 64)
    plan = prepare(model, pixels)
    assert len(plan.sites) == len(names) > 5
    assert {site.where for site in plan.sites} == set(names)
    masks = draw_masks(plan, 3, 2)
    places = [site.where for site in plan.sites]
    expected = naive_passes(network, model.normalise(pixels), places, list(masks))
    assert torch.allclose(mc_logits(model, plan, pixels, masks), expected, rtol=0, atol=1e-5)
    assert "p from 0.1 to 0.2" in plan.describe()


def test_windows_folded_into_the_batch_stay_with_their_image(pixels: Tensor) -> None:
    network = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=64,
        window_size=4,
        embed_dim=24,
        depths=(1, 1, 1, 1),
        proj_drop_rate=0.2,
        num_classes=10,
    )
    model = as_model(network, 64)
    plan = prepare(model, pixels)
    assert any(site.rows > 1 for site in plan.sites)
    masks = draw_masks(plan, 1, 3)
    together = mc_logits(model, plan, pixels, masks)
    alone = torch.cat([mc_logits(model, plan, pixels[i : i + 1], masks) for i in range(3)], dim=1)
    assert torch.allclose(together, alone, atol=1e-5)


def test_position_bias_is_not_a_site(pixels: Tensor) -> None:
    """vit_relpos has active dropout in the network of its position bias alone: it sees no images."""
    network = timm.create_model("vit_relpos_small_patch16_224", img_size=64, depth=2, num_classes=10)
    active = [name for name, module in network.named_modules() if isinstance(module, nn.Dropout) and module.p > 0]
    assert active
    assert all("rel_pos" in name for name in active)
    model = as_model(network, 64)
    plan = prepare(model, pixels)
    assert plan.injected
    assert plan.skipped == len(active)
    assert plan.where == ("head",)
    masks = draw_masks(plan, 9, 3)
    expected = naive_passes(network, model.normalise(pixels), ["head"], list(masks))
    assert torch.allclose(mc_logits(model, plan, pixels, masks), expected, atol=1e-5)
    assert "position tables" in plan.describe()


def test_masks_of_ones_give_the_deterministic_answer(pixels: Tensor) -> None:
    model = as_model(build("resnet10t", drop_rate=0.3), 64)
    plan = prepare(model, pixels)
    ones = tuple(torch.ones(2, *site.shape) for site in plan.sites)
    logits = mc_logits(model, plan, pixels, ones)
    assert torch.equal(logits[0], model.logits(pixels))
    assert torch.equal(logits[1], logits[0])


def test_batch_size_and_order_do_not_matter(pixels: Tensor) -> None:
    model = as_model(build("paper_cnn"), 28)
    images = small(pixels)
    plan = prepare(model, images)
    masks = draw_masks(plan, 5, 6)
    together = mc_logits(model, plan, images, masks)
    backwards = [mc_logits(model, plan, images[i : i + 1], masks) for i in (2, 1, 0)]
    assert torch.allclose(together, torch.cat(backwards[::-1], dim=1), atol=1e-6)


def test_masks_depend_on_key_and_site_alone() -> None:
    site = find_sites([DropoutCall("dropout", 0.3, (1, 50), "a")], [DropoutCall("dropout", 0.3, (2, 50), "a")])[0][0]
    plan = DropoutPlan((site, replace(site, call=1)), False, None, ("a", "a"))
    few, many = draw_masks(plan, 12, 10), draw_masks(plan, 12, 100)
    assert all(torch.equal(a, b[:10]) for a, b in zip(few, many, strict=True))
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(many[0], draw_masks(plan, 13, 100)[0])
    assert not torch.equal(many[0], draw_masks(plan, 12 + 2**32, 100)[0])
    assert not torch.equal(many[0], draw_masks(plan, 12 + 2**64, 100)[0])
    alone = DropoutPlan((site,), False, None, ("a",))
    assert torch.equal(draw_masks(alone, 12, 100)[0], many[0])


def test_masks_keep_the_right_share_at_the_right_scale() -> None:
    site = find_sites([DropoutCall("dropout", 0.3, (1, 1000), "")], [DropoutCall("dropout", 0.3, (2, 1000), "")])[0][0]
    mask = draw_masks(DropoutPlan((site,), False, None, ("",)), 4, 200)[0]
    assert mask.dtype == torch.float32
    assert mask.unique().tolist() == [0.0, pytest.approx(1 / 0.7, rel=1e-4)]
    # 200,000 draws: standard error of the share 0.001, of the mean 0.0015
    assert float((mask > 0).float().mean()) == pytest.approx(0.7, abs=0.005)
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.007)
    # neither rows nor columns carry a pattern
    assert float((mask > 0).float().mean(dim=0).std()) == pytest.approx((0.21 / 200) ** 0.5, rel=0.1)
    assert float((mask > 0).float().mean(dim=1).std()) == pytest.approx((0.21 / 1000) ** 0.5, rel=0.2)


class Head(nn.Module):
    """A small network whose dropout call is handed in."""

    def __init__(self, call: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.bn = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, 10)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.call(self.bn(self.conv(x))).mean(dim=(2, 3)))


CALLS = {
    "F.dropout": (lambda x: F.dropout(x, 0.3), (6, 26, 26)),
    "F.dropout by keyword": (lambda x: F.dropout(input=x, p=0.3, training=False), (6, 26, 26)),
    "F.dropout in place, result unused": (lambda x: (F.dropout(x, 0.3, False, True), x)[1], (6, 26, 26)),
    "torch.dropout": (lambda x: torch.dropout(x, 0.3, False), (6, 26, 26)),
    "torch.dropout_": (lambda x: (torch.dropout_(x, 0.3, False), x)[1], (6, 26, 26)),
    "torch.feature_dropout": (lambda x: torch.feature_dropout(x, 0.3, False), (6, 1, 1)),
    "F.dropout1d": (lambda x: F.dropout1d(x.flatten(2), 0.3).reshape(x.shape), (6, 1)),
    "F.dropout2d": (lambda x: F.dropout2d(x, 0.3), (6, 1, 1)),
    "F.dropout3d": (lambda x: F.dropout3d(x[:, :, None], 0.3)[:, :, 0], (6, 1, 1, 1)),
    "nn.Dropout2d": (nn.Dropout2d(0.3), (6, 1, 1)),
    "images not first": (lambda x: F.dropout(x.permute(2, 3, 0, 1), 0.3).permute(2, 3, 0, 1), (26, 26, 6)),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_kind_of_call_is_seen(name: str, pixels: Tensor) -> None:
    call, shape = CALLS[name]
    model = as_model(Head(call), 28)
    images = small(pixels)
    before = state_of(model.network)
    plan = prepare(model, images)
    assert not plan.injected
    assert [site.shape for site in plan.sites] == [shape]
    masks = draw_masks(plan, 8, 3)
    logits = mc_logits(model, plan, images, masks)
    assert_as_found(before, model.network)
    features = model.network.bn(model.network.conv(model.normalise(images)))
    for step in range(3):
        mask = masks[0][step]
        if name == "images not first":
            mask = mask.permute(2, 0, 1)
        mask = mask.reshape(6, *mask.shape[1:3]) if mask.ndim > 2 else mask.reshape(6, 1, 1)
        expected = model.network.fc((features * mask).mean(dim=(2, 3)))
        assert torch.allclose(logits[step], expected, atol=1e-5)


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function: object, pixels: Tensor) -> None:
    """Self-normalising: dropped values take the SELU floor, then an affine map restores mean 0 and variance 1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torchs = function(torch.full((200, 20, 5), 0.7), 0.2, True).unique()
    model = as_model(Head(lambda x: function(x, 0.2, False)), 28)
    site = prepare(model, small(pixels)).sites[0]
    site = replace(site, shape=(20, 5), values=(20, 5)) if site.kind == "alpha_dropout" else None
    site = site or replace(prepare(model, small(pixels)).sites[0], shape=(20, 1), values=(20, 5))
    mask = draw_masks(DropoutPlan((site,), False, None, ("",)), 6, 1)[0]
    ours = drop(site, torch.full((2, 20, 5), 0.7), mask, 2).unique()
    assert torch.allclose(ours, torchs, atol=1e-4)

    wide = replace(site, shape=(400_000,), values=(400_000,))
    mask = draw_masks(DropoutPlan((wide,), False, None, ("",)), 6, 1)[0]
    normal = torch.randn(1, 400_000, generator=torch.Generator().manual_seed(2))
    dropped = drop(wide, normal, mask, 1)
    assert float(dropped.mean()) == pytest.approx(0, abs=0.01)
    assert float(dropped.std()) == pytest.approx(1, abs=0.01)


class Broken(nn.Module):
    """Fails in the middle of a pass, on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 10)
        self.fail_after = 10**9

    def forward(self, x: Tensor) -> Tensor:
        self.fail_after -= 1
        x = self.bn(self.conv(x)).mean(dim=(2, 3))
        if self.fail_after < 0:
            raise RuntimeError("broken on demand")
        return self.fc(x)


@pytest.mark.parametrize("fail_after", [0, 1, 3, 5])
def test_left_as_found_when_the_network_raises(fail_after: int, pixels: Tensor) -> None:
    """0 to 3: while it is probed; 5: among the passes of the proof."""
    model = as_model(Broken(), 28)
    before = state_of(model.network)
    model.network.fail_after = fail_after
    with pytest.raises(RuntimeError, match="broken on demand"):
        prepare(model, small(pixels))
    assert_as_found(before, model.network)

    model.network.fail_after = 10**9
    plan = prepare(model, small(pixels))
    assert plan.where == ("fc",)
    model.network.fail_after = 0
    with pytest.raises(RuntimeError, match="broken on demand"):
        mc_logits(model, plan, small(pixels), draw_masks(plan, 1, 4))
    assert_as_found(before, model.network)


def test_dropout_that_changes_nothing_is_refused(pixels: Tensor) -> None:
    network = Head(lambda x: F.dropout(x, 0.3))
    nn.init.zeros_(network.fc.weight)
    model = as_model(network, 28)
    before = state_of(network)
    with pytest.raises(NotEvaluatedError, match="has no effect"):
        prepare(model, small(pixels))
    assert_as_found(before, network)


def test_a_network_without_a_classifier_is_refused(pixels: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(NotEvaluatedError, match="no classifier layer"):
        prepare(as_model(network, 28), small(pixels))


def test_a_network_that_calls_differently_for_more_images_is_refused(pixels: Tensor) -> None:
    network = Head(lambda x: F.dropout(x, 0.3) if len(x) > 1 else x)
    with pytest.raises(NotEvaluatedError, match="for two images than for one"):
        prepare(as_model(network, 28), small(pixels))


def test_a_changed_shape_is_refused(pixels: Tensor) -> None:
    model = as_model(build("test_efficientnet", drop_rate=0.2), 64)
    plan = prepare(model, pixels)
    site = replace(plan.sites[0], shape=(7,), values=(7,))
    wrong = replace(plan, sites=(site,))
    with pytest.raises(NotEvaluatedError, match="when the network was probed"):
        mc_logits(model, wrong, pixels, draw_masks(wrong, 1, 2))
    more = replace(plan, evaluation="expanded", sites=(plan.sites[0], replace(plan.sites[0], call=1)))
    with pytest.raises(NotEvaluatedError, match="another number of dropout calls"):
        mc_logits(model, more, pixels, draw_masks(more, 1, 2))


def test_a_linear_head_that_drops_twice_for_other_images_is_refused(pixels: Tensor) -> None:
    def call(x: Tensor) -> Tensor:
        return F.dropout(F.dropout(x, 0.3) if float(x.mean()) > 100 else x, 0.3)

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(call(x.mean(dim=(2, 3))))

    model = as_model(Late(), 28)
    plan = prepare(model, small(pixels))
    assert plan.evaluation == "linear head"
    with pytest.raises(NotEvaluatedError, match="another number of dropout calls"):
        next(answers_of_passes(model, plan, small(pixels) + 1000, [Draw(1, len(pixels))], 3))


def test_impossible_arguments(pixels: Tensor) -> None:
    model = as_model(build("paper_cnn"), 28)
    images = small(pixels)
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="rate"):
            prepare(model, images, rate=rate)
    with pytest.raises(UsageError, match="Two images"):
        prepare(model, images[:1])
    plan = prepare(model, images)
    with pytest.raises(UsageError, match="At least one pass"):
        draw_masks(plan, 1, 0)
    with pytest.raises(UsageError, match="sites"):
        mc_logits(model, plan, images, ())


def test_describe_says_what_was_done(pixels: Tensor) -> None:
    own = prepare(as_model(build("paper_cnn"), 28), small(pixels)).describe()
    assert "own dropout" in own
    assert "p = 0.5" in own
    injected = prepare(as_model(build("test_efficientnet"), 64), pixels, rate=0.2).describe()
    assert "p = 0.2" in injected
    assert "'classifier'" in injected


# The expanded pass: everything before the first dropout once, all passes as one batch


@pytest.mark.parametrize(
    ("arch", "kwargs", "evaluation"),
    [
        ("paper_cnn", {"img_size": 64}, "linear head"),
        ("test_efficientnet", {"drop_rate": 0.2}, "linear head"),  # functional
        ("test_efficientnet", {}, "linear head"),  # injected
        ("test_vit", {"drop_rate": 0.3}, "linear head"),  # module
        ("resnetv2_18", {}, "expanded"),  # the last layer is a convolution
        ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 2}, "expanded"),  # two heads
        ("vit_tiny_patch16_224", {"pos_drop_rate": 0.1, "img_size": 64}, "expanded"),
        ("test_vit", {"proj_drop_rate": 0.2}, "whole passes"),  # inside residual branches: passes stay apart
    ],
)
def test_shared_passes_equal_whole_passes(arch: str, kwargs: dict[str, float], evaluation: str) -> None:
    torch.manual_seed(0)
    model = as_model(build(arch, **kwargs), 64)
    batch = torch.rand(5, 3, 64, 64)
    before = state_of(model.network)
    plan = prepare(model, batch)
    assert plan.evaluation == evaluation
    assert evaluation in plan.describe_cost()
    masks = draw_masks(plan, 3, 7)
    together = mc_logits(model, plan, batch, masks).softmax(dim=2)
    apart = mc_logits(model, replace(plan, evaluation="whole passes"), batch, masks).softmax(dim=2)
    assert together.shape == (7, 5, together.shape[2])
    assert torch.allclose(together, apart, atol=1e-5)
    assert_as_found(before, model.network)


EVALUATIONS = {
    "linear head": ("test_efficientnet", {"drop_rate": 0.2}),
    "expanded": ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 2}),
    "whole passes": ("test_vit", {"proj_drop_rate": 0.2}),
}


@pytest.mark.parametrize("floats", [1, 2**25])
@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_a_batch_of_several_keys_gives_what_each_gives_alone(
    evaluation: str, floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does memory for one pass at a time."""
    arch, kwargs = EVALUATIONS[evaluation]
    model = as_model(build(arch, **kwargs), 64)
    batch = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    plan = prepare(model, batch)
    assert plan.evaluation == evaluation
    draws = [Draw(7, 2), Draw(8, 1), Draw(9, 2)]
    expected = torch.cat(
        [
            mc_logits(model, replace(plan, evaluation="whole passes"), some, draw_masks(plan, draw.key, 5))
            for some, draw in zip(batch.split([2, 1, 2]), draws, strict=True)
        ],
        dim=1,
    )
    monkeypatch.setattr("spuraudit.models.mc_dropout._FLOATS", floats)
    monkeypatch.setattr("spuraudit.models.linear_head._FLOATS", floats)
    plain, *passes = answers_of_passes(model, plan, batch, draws, 5)
    assert len(passes) == (5 if floats == 1 else 1)
    assert torch.allclose(plain[0], model.logits(batch), atol=1e-5)
    assert torch.allclose(torch.cat(passes), expected, atol=1e-5)
    with pytest.raises(UsageError, match="images"):
        next(answers_of_passes(model, plan, batch, draws[:2], 5))


@pytest.mark.parametrize("pool", [False, True])
def test_changed_features_alone_give_the_same_logits(pool: bool) -> None:
    """One cell swapped: in the paper's network a few hundred of the features change, and only these are multiplied."""
    model = as_model(build("paper_cnn", pool=pool), 28)
    batch = torch.rand(6, 3, 28, 28, generator=torch.Generator().manual_seed(4))
    batch[1:5] = batch[0]
    for number, image in enumerate(batch[1:4]):  # image 4 is the first one again, image 5 another photo
        image[:, 4 * number : 4 * number + 4, 8:12] = 1.0
    plan = prepare(model, batch)
    masks = draw_masks(plan, 3, 50)
    expected = mc_logits(model, replace(plan, evaluation="whole passes"), batch, masks)
    some = read_head(model, plan, batch).part(0, 5)
    changed = (some.features[1:] != some.features[:1]).sum(dim=1)
    assert 0 < int(changed[:3].min()) <= int(changed.max()) < 0.25 * some.features.shape[1]
    assert int(changed[3]) == 0
    kept = masks[0].flatten(1)
    assert torch.allclose(some.passes(kept, 1.0), expected[:, :5], atol=1e-5)
    assert torch.allclose(some.passes(kept, 1.0, few=0.0), expected[:, :5], atol=1e-5)
    assert torch.allclose(mc_logits(model, plan, batch, masks), expected, atol=1e-5)


def test_masks_may_be_drawn_in_any_chunks() -> None:
    for size, p in ((7, 0.3), (50, 0.5), (3, 0.999_999), (3, 0.000_001)):
        call = [DropoutCall("dropout", p, (images, size), "a") for images in (1, 2)]
        (site,), _ = find_sites(call[:1], call[1:])
        whole = draw_kept(site, 2, 99, 0, 40)
        parts = [draw_kept(site, 2, 99, a, b) for a, b in ((0, 1), (1, 4), (4, 29), (29, 40))]
        assert torch.equal(torch.cat(parts), whole)


def test_vggs_head_is_evaluated_as_a_matrix_product(pixels: Tensor) -> None:
    """Its second layer is a 1x1 convolution on a 1x1 map."""
    model = as_model(build("vgg11", drop_rate=0.5), 64)
    plan = prepare(model, pixels)
    assert plan.evaluation == "expanded"
    seen: list[tuple[int, ...]] = []
    hook = model.network.pre_logits.fc2.register_forward_hook(lambda _m, _a, out: seen.append(tuple(out.shape)))
    kernels: list[str] = []
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            mc_logits(model, plan, pixels[:2], draw_masks(plan, 1, 3))
        kernels = [event.key for event in profile.key_averages() for _ in range(event.count)]
    finally:
        hook.remove()
    assert seen == [(6, 4096, 1, 1)]
    assert kernels.count("aten::conv2d") == 9  # 8 in the body and the first of the head, none on the 1x1 map


def test_stochastic_depth_drops_only_when_asked(pixels: Tensor) -> None:
    model = as_model(build("test_vit", img_size=64, drop_path_rate=0.3), 64)
    before = state_of(model.network)
    quiet = prepare(model, pixels)
    assert quiet.injected
    assert quiet.drop_paths == ()
    plan = prepare(model, pixels, drop_path=True)
    assert not plan.injected
    assert len(plan.drop_paths) == len(plan.sites) > 2
    assert "Stochastic depth" in plan.describe()
    logits = mc_logits(model, plan, pixels, draw_masks(plan, 1, 6))
    assert float(logits.std(dim=0).max()) > 0
    # a pass in which every path is kept, unscaled, is the deterministic one
    ones = tuple(torch.ones(1, *site.shape) for site in plan.sites)
    assert torch.allclose(mc_logits(model, plan, pixels, ones)[0], model.logits(pixels), atol=1e-6)
    # all paths dropped: the blocks with a rate (all but the first) do nothing
    zeros = tuple(torch.zeros(1, *site.shape) for site in plan.sites)
    network = model.network
    blocks, network.blocks = network.blocks, network.blocks[:1]
    try:
        expected = model.logits(pixels)
    finally:
        network.blocks = blocks
    assert torch.allclose(mc_logits(model, plan, pixels, zeros)[0], expected, atol=1e-5)
    assert_as_found(before, model.network)
