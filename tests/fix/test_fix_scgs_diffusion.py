"""Inpainting by diffusers: the plumbing, with tiny pipelines of random weights that are saved to disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from spuraudit.errors import ModelError, SpurauditError, UsageError
from spuraudit.fix.scgs import diffusion
from spuraudit.fix.scgs.diffusion import DiffusionGenerator, DiffusionSettings, load_diffusion
from spuraudit.fix.scgs.generate import Order, Scene

QUICK = DiffusionSettings(size=64, steps=2)


def tokenizer(folder: Path) -> Any:
    """CLIP's tokenizer over single bytes: no merges."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = letters + [f"{letter}</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77), len(words)


def text_config(words: int) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=32,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )


def autoencoder(diffusers: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        sample_size=64,
    )


def unet(diffusers: Any, channels: int, **more: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    )


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A StableDiffusionInpaintPipeline on disk."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra scgs)")
    from transformers import CLIPTextModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    words, count = tokenizer(folder / "words")
    diffusers.StableDiffusionInpaintPipeline(
        vae=autoencoder(diffusers),
        text_encoder=CLIPTextModel(text_config(count)),
        tokenizer=words,
        unet=unet(diffusers, 9, cross_attention_dim=32, attention_head_dim=8),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain text-to-image StableDiffusionXLPipeline on disk: four channels, not made for inpainting."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra scgs)")
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-xl")
    words, count = tokenizer(folder / "words")
    diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(diffusers),
        text_encoder=CLIPTextModel(text_config(count)),
        text_encoder_2=CLIPTextModelWithProjection(text_config(count)),
        tokenizer=words,
        tokenizer_2=words,
        unet=unet(
            diffusers,
            4,
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=80,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading"),
        add_watermarker=False,
    ).save_pretrained(folder / "pipeline")
    return folder / "pipeline"


@pytest.fixture(scope="module")
def generator(inpainting: Path) -> DiffusionGenerator:
    return load_diffusion(str(inpainting), QUICK, device="cpu")


def scene(
    height: int = 40, width: int = 56, seed: int = 0, keep: NDArray[np.bool_] | None = None, name: str = "disc"
) -> Scene:
    if keep is None:
        keep = np.zeros((height, width), dtype=bool)
        keep[:, : width // 2] = True
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Scene(Order("source.png", 1, name, seed), pixels, keep)


@pytest.mark.parametrize(("height", "width"), [(40, 56), (64, 64), (33, 7), (97, 130)])
def test_the_kept_half_is_the_sources_and_the_other_is_drawn(
    generator: DiffusionGenerator, height: int, width: int
) -> None:
    asked = scene(height, width)
    drawn = generator.draw(asked)
    assert drawn.pixels.shape == asked.pixels.shape
    assert drawn.pixels.dtype == np.uint8
    assert np.array_equal(drawn.pixels[asked.keep], asked.pixels[asked.keep])
    changed = (drawn.pixels != asked.pixels).any(axis=-1)
    assert changed[~asked.keep].mean() > 0.9


def test_the_pipeline_is_told_to_repaint_what_is_not_kept(
    generator: DiffusionGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """White is repainted: what the pipeline hands to its autoencoder is blank there, and the image where it is kept."""
    masks: list[torch.Tensor] = []
    hidden: list[torch.Tensor] = []
    pipeline = generator.pipeline
    prepare = type(pipeline).prepare_mask_latents

    def spy(self: Any, mask: torch.Tensor, masked_image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        masks.append(mask)
        hidden.append(masked_image)
        return prepare(self, mask, masked_image, *args, **kwargs)

    monkeypatch.setattr(type(pipeline), "prepare_mask_latents", spy)
    asked = scene(64, 64)
    generator.draw(asked)
    assert masks[0].shape == (1, 1, 64, 64)
    assert (masks[0][..., :32] == 0).all()
    assert (masks[0][..., 32:] == 1).all()
    assert (hidden[0][..., 32:] == 0).all()
    expected = torch.from_numpy(asked.pixels[:, :32].astype(np.float32) / 127.5 - 1).permute(2, 0, 1)
    torch.testing.assert_close(hidden[0][0, :, :, :32], expected, atol=1e-5, rtol=0)


def test_equal_seeds_give_equal_images_and_others_differ(generator: DiffusionGenerator) -> None:
    torch.manual_seed(1)
    first = generator.draw(scene(seed=1))
    torch.manual_seed(2)
    again = generator.draw(scene(seed=1))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.facts == again.facts
    assert not np.array_equal(first.pixels, generator.draw(scene(seed=2)).pixels)


def test_the_prompt_names_the_class_and_changes_the_image(generator: DiffusionGenerator) -> None:
    drawn = generator.draw(scene(name="{odd} {0}"))
    assert drawn.facts["prompt"] == "a photo of a {odd} {0}"
    assert not np.array_equal(drawn.pixels, generator.draw(scene(name="disc")).pixels)


def test_facts_say_how_the_image_was_made(generator: DiffusionGenerator, inpainting: Path) -> None:
    facts = generator.draw(scene()).facts
    assert facts == {
        "generator": "diffusion",
        "pipeline": str(inpainting),
        "pipeline_class": "StableDiffusionInpaintPipeline",
        "diffusers": facts["diffusers"],
        "steps": 2,
        "guidance": 7.5,
        "strength": 1.0,
        "seam": 1,  # of 64 pixels
        "precision": "fp32",
        "device": "cpu",
        "prompt": "a photo of a disc",
        "width": 80,
        "height": 64,
        "attempts": 1,
    }


def test_a_plain_xl_pipeline_inpaints(xl: Path) -> None:
    loaded = load_diffusion(str(xl), QUICK, device="cpu")
    assert loaded.facts["pipeline_class"] == "StableDiffusionXLInpaintPipeline"
    asked = scene()
    drawn = loaded.draw(asked)
    assert np.array_equal(drawn.pixels[asked.keep], asked.pixels[asked.keep])
    assert (drawn.pixels != asked.pixels).any(axis=-1)[~asked.keep].mean() > 0.9
    assert np.array_equal(drawn.pixels, loaded.draw(asked).pixels)


def test_reduced_precision(inpainting: Path) -> None:
    try:
        loaded = load_diffusion(str(inpainting), QUICK, device="cpu", precision="bf16")
    except UsageError as error:
        pytest.skip(error.message)
    assert loaded.pipeline.unet.dtype == torch.bfloat16
    asked = scene()
    assert np.array_equal(loaded.draw(asked).pixels[asked.keep], asked.pixels[asked.keep])


def test_blackened_images_are_drawn_again(generator: DiffusionGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pipeline's own checking step, whose verdict alone is replaced."""
    verdicts = iter([True, True, False])

    def check(self: Any, image: Any, device: Any, dtype: Any) -> Any:
        return image, [next(verdicts, True)]

    monkeypatch.setattr(type(generator.pipeline), "run_safety_checker", check)
    drawn = generator.draw(scene())
    assert drawn.facts["attempts"] == 3
    with pytest.raises(ModelError, match=r"source.png: .*blackened 5 images in a row for 'a photo of a disc'"):
        generator.draw(scene())


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(224, 224, (512, 512)), (640, 480, (592, 448)), (1, 5000, (64, 1024)), (5000, 1, (1024, 64))],
)
def test_the_working_size_keeps_proportions_and_stays_affordable(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    size = diffusion._working_size(width, height, 512)
    assert size == expected
    assert all(side % 8 == 0 for side in size)


def test_hub_pipelines_are_not_fetched_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra scgs)")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ModelError, match="nothing is downloaded without being asked to") as caught:
        load_diffusion("nobody/absent-pipeline", QUICK, device="cpu")
    assert caught.value.hint
    assert "--allow-download" in caught.value.hint
    assert "composites" in caught.value.hint
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        load_diffusion("nobody/absent-pipeline", QUICK, device="cpu", allow_download=True)


def test_what_is_no_pipeline_is_refused(tmp_path: Path, inpainting: Path) -> None:
    (tmp_path / "file").write_text("x")
    broken = tmp_path / "broken"
    broken.mkdir()
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        load_diffusion(str(broken), QUICK, device="cpu")
    for index in ("{", "{}", '{"_class_name": "NoSuchPipeline"}', '{"_class_name": "StableDiffusionInpaintPipeline"}'):
        (broken / "model_index.json").write_text(index)
        with pytest.raises(ModelError, match="no inpainting pipeline could be read"):
            load_diffusion(str(broken), QUICK, device="cpu")
    for text in (str(tmp_path / "file"), str(tmp_path / "absent"), "one-word", "a/b/c", "", " ", "./x"):
        with pytest.raises(ModelError, match="neither a folder nor a hub repository"):
            load_diffusion(text, QUICK, device="cpu")
    with pytest.raises(SpurauditError, match="names no repository"):
        load_diffusion("bad id/x", QUICK, device="cpu")
    with pytest.raises(UsageError, match="device"):
        load_diffusion(str(inpainting), QUICK, device="tpu")


def test_a_pipeline_that_lacks_a_setting_is_refused(inpainting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diffusers = pytest.importorskip("diffusers")

    class Odd(diffusers.StableDiffusionInpaintPipeline):  # type: ignore[misc, name-defined]
        def __call__(self, prompt: str, image: Image.Image, mask_image: Image.Image, generator: Any) -> Any:
            raise AssertionError

    real = diffusers.StableDiffusionInpaintPipeline.from_pretrained
    monkeypatch.setattr(
        diffusers.AutoPipelineForInpainting,
        "from_pretrained",
        lambda where, **kwargs: Odd(**real(where, **kwargs).components, requires_safety_checker=False),
    )
    with pytest.raises(ModelError, match="takes no height, width, num_inference_steps, guidance_scale, strength"):
        load_diffusion(str(inpainting), QUICK, device="cpu")


def test_without_diffusers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusion, "find_spec", lambda name: None if name == "diffusers" else object())
    with pytest.raises(ModelError, match="needs diffusers, not installed here") as caught:
        load_diffusion("anywhere/anything", QUICK, device="cpu")
    assert "pip install 'spuraudit[scgs]'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a photo"},
        {"size": 0},
        {"size": 100},
        {"size": 4096},
        {"steps": 0},
        {"strength": 0.0},
        {"strength": 1.5},
        {"strength": float("nan")},
        {"guidance": -1.0},
        {"guidance": float("inf")},
        {"seam": -1},
    ],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        DiffusionSettings(**change)
    assert caught.value.hint
