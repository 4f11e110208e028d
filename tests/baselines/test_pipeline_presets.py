"""Every preset of method=pipeline, on a tiny instance of its class, gives what a call of the pipeline by hand gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from baselines.pipeline import PipelineEditor
from instructedit.cache import StageCache
from instructedit.editor import Edited
from instructedit.latent_diffusion import generator
from instructedit.models import Context, ModelPool
from instructedit.types import Captions, EditRequest, EditResult, Stage
from tests import tiny
from tests.baselines.tiny_pipelines import save

CONF = Path(__file__).resolve().parents[2] / "conf"
PRESETS = sorted(p.stem for p in (CONF / "pipeline").glob("*.yaml") if not p.stem.startswith("_"))
CAPTIONS = Captions("photo of a cat", "photo of a lion")
INSTRUCTION = "Change the cat to a lion"
SIDE = 64
SAMPLE_SIZE = {"instruct_pix2pix", "magicbrush", "ledits_pp"}
"""Presets whose size is that of the denoiser, here 64 pixels."""


def preset(name: str, folder: Path, *overrides: str) -> Any:
    """Return the method's configuration with a checkpoint of this machine, few steps and small pictures."""
    changes = [f"pipeline.checkpoint={{_target_: instructedit.models.Checkpoint, id: '{folder}'}}"]
    steps = "pipeline.first.arguments.num_inversion_steps" if name == "ledits_pp" else None
    changes += [f"{steps or 'pipeline.arguments.num_inference_steps'}=4"]
    changes += [] if name in SAMPLE_SIZE else ["pipeline.size.area=null", f"pipeline.size.longest={SIDE}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["method=pipeline", f"pipeline={name}", "dilate=0", *changes, *overrides])
    config.pipeline.checkpoint = {"_target_": "instructedit.models.Checkpoint", "id": str(folder)}
    return config


def made(config: Any, cache: Path | None = None) -> Any:
    """Return the method, or for masks the editor inside InstructEdit."""
    context = Context(ModelPool(), StageCache(cache), torch.device("cpu"))
    node = config.method.editor if config.pipeline.conditioning == "mask" else config.method
    return instantiate(node, _convert_="all")(context=context)


def edited(method: Any, requests: list[EditRequest]) -> list[Edited | EditResult]:
    masks = [tiny.square_mask(SIDE)] * len(requests)
    is_editor = isinstance(method, PipelineEditor)
    answers = method.edit(requests, [CAPTIONS] * len(requests), masks) if is_editor else method.edit(requests)
    assert all(isinstance(a, Edited | EditResult) for a in answers), answers
    return list(answers)


def requests(count: int = 2) -> list[EditRequest]:
    return [EditRequest(f"s{i}", tiny.picture(i), INSTRUCTION, CAPTIONS, seed=5) for i in range(count)]


def mask() -> Image.Image:
    return Image.fromarray(np.where(tiny.square_mask(SIDE), 255, 0).astype(np.uint8))


def call(pipe: Any, request: EditRequest, **arguments: Any) -> Any:
    return pipe(generator=generator(request, Stage.EDITOR), **arguments).images[0]


def euler(pipe: Any) -> Any:
    pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    return pipe


def ledits(pipe: Any, r: EditRequest) -> Any:
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, algorithm_type="sde-dpmsolver++", solver_order=2
    )
    shared = generator(r, Stage.EDITOR)
    pipe.invert(
        image=r.image, source_prompt="photo of a cat", source_guidance_scale=3.5, num_inversion_steps=4, skip=0.15,
        height=64, width=64, generator=shared,
    )  # fmt: skip
    return pipe(
        editing_prompt=["photo of a lion"], edit_guidance_scale=10.0, edit_threshold=0.75, generator=shared
    ).images[0]


def qwen(pipe: Any, r: EditRequest, image: Any) -> Any:
    return call(
        pipe, r, image=image, prompt=INSTRUCTION, negative_prompt=" ", true_cfg_scale=4.0, height=64, width=64,
        num_inference_steps=4,
    )  # fmt: skip


def inpaint(pipe: Any, r: EditRequest, **arguments: Any) -> Any:
    given = {"prompt": "photo of a lion", "height": 64, "width": 64, "num_inference_steps": 4} | arguments
    return call(pipe, r, image=r.image, mask_image=mask(), **given)


BY_HAND: dict[str, Callable[[Any, EditRequest], Any]] = {
    "instruct_pix2pix": lambda p, r: call(
        euler(p), r, image=r.image, prompt=INSTRUCTION, num_inference_steps=4, guidance_scale=7.5,
        image_guidance_scale=1.5,
    ),
    "magicbrush": lambda p, r: call(
        euler(p), r, image=r.image, prompt=INSTRUCTION, num_inference_steps=4, guidance_scale=7.0,
        image_guidance_scale=1.5,
    ),
    "sdxl_instruct_pix2pix": lambda p, r: call(
        p, r, image=r.image, prompt=INSTRUCTION, height=64, width=64, num_inference_steps=4, guidance_scale=3.0,
        image_guidance_scale=1.5,
    ),
    "flux_kontext": lambda p, r: call(
        p, r, image=r.image, prompt=INSTRUCTION, height=64, width=64, num_inference_steps=4, guidance_scale=2.5,
        max_area=64 * 64, _auto_resize=False,
    ),
    "qwen_image_edit": lambda p, r: qwen(p, r, r.image),
    "qwen_image_edit_plus": lambda p, r: qwen(p, r, [r.image]),
    "qwen_image_edit_2511": lambda p, r: qwen(p, r, [r.image]),
    "longcat_image_edit": lambda p, r: call(
        p, r, image=r.image, prompt=INSTRUCTION, negative_prompt="", num_inference_steps=4, guidance_scale=4.5
    ),
    "omnigen": lambda p, r: call(
        p, r, prompt=f"<img><|image_1|></img> {INSTRUCTION}", input_images=[r.image], height=64, width=64,
        num_inference_steps=4, guidance_scale=2.0, img_guidance_scale=1.6,
    ),
    "flux2_klein": lambda p, r: call(
        p, r, image=[r.image], prompt=INSTRUCTION, height=64, width=64, num_inference_steps=4, guidance_scale=1.0
    ),
    "ledits_pp": ledits,
    "sdxl_inpaint": lambda p, r: inpaint(p, r, strength=0.99, guidance_scale=8.0),
    "sd3_inpaint": lambda p, r: inpaint(p, r, strength=0.6, guidance_scale=7.0),
    "flux_fill": lambda p, r: inpaint(p, r, guidance_scale=30.0),
    "qwen_image_edit_inpaint": lambda p, r: call(
        p, r, image=r.image, mask_image=mask(), prompt=INSTRUCTION, negative_prompt=" ", true_cfg_scale=4.0,
        strength=1.0, num_inference_steps=4,
    ),
    "z_image_inpaint": lambda p, r: inpaint(p, r, strength=1.0, guidance_scale=0.0),
}  # fmt: skip
"""The same edit without the adapter, with the arguments written out."""

NFE = {
    "instruct_pix2pix": {"edit": 12}, "magicbrush": {"edit": 12}, "sdxl_instruct_pix2pix": {"edit": 12},
    "flux_kontext": {"edit": 4}, "qwen_image_edit": {"edit": 8}, "qwen_image_edit_plus": {"edit": 8},
    "qwen_image_edit_2511": {"edit": 8}, "longcat_image_edit": {"edit": 8}, "omnigen": {"edit": 12},
    "flux2_klein": {"edit": 4}, "ledits_pp": {"inversion": 8, "edit": 8}, "sdxl_inpaint": {"edit": 6},
    "sd3_inpaint": {"edit": 6}, "flux_fill": {"edit": 4}, "qwen_image_edit_inpaint": {"edit": 8},
    "z_image_inpaint": {"edit": 4},
}  # fmt: skip
"""Number of function evaluations: steps, times the branches of the guidance."""

LARGE = {"longcat_image_edit", "qwen_image_edit_inpaint"}
"""Presets that return about 1024 x 1024 pixels, whatever they are given."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that saves a pipeline once, by the name of its class."""
    root = tmp_path_factory.mktemp("pipelines")
    return lambda kind: root / kind if (root / kind).is_dir() else save(kind, root / kind)


def test_the_table_has_every_preset() -> None:
    assert sorted(BY_HAND) == PRESETS == sorted(NFE)


@pytest.mark.parametrize("name", PRESETS)
@torch.no_grad()
def test_an_edit_equals_the_call_by_hand(name: str, folders: Callable[[str], Path]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        class_name = compose("config", [f"pipeline={name}"]).pipeline.class_name
    folder = folders(class_name)
    asked = requests(1 if name in LARGE or class_name.startswith("QwenImageEditP") else 2)
    ours = edited(made(preset(name, folder)), asked)
    pipe = getattr(diffusers, class_name).from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    for request, edit in zip(asked, ours, strict=True):
        by_hand = BY_HAND[name](pipe, request)
        sent = edit.call if isinstance(edit, Edited) else edit.decisions.call
        assert sent is not None
        assert sent.returned == by_hand.size
        assert (max(by_hand.size) > 900) == (name in LARGE)
        expected = by_hand.resize(request.image.size, Image.Resampling.LANCZOS)
        difference = np.abs(np.asarray(edit.image, int) - np.asarray(expected, int))
        assert difference.max() <= 1, name  # a batch rounds differently
        assert np.asarray(edit.image).std() > 0.5, "a uniform picture would hide errors"
        assert edit.evaluations == NFE[name]
        texts = str(sent.arguments)
        assert "generator" not in sent.arguments
        assert f"RGB {SIDE} x {SIDE}" in texts
        assert any(text in texts for text in (INSTRUCTION, CAPTIONS.edited))
    if len(ours) == 2:
        assert np.abs(np.asarray(ours[0].image, int) - np.asarray(ours[1].image, int)).max() > 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_where_its_weights_come_from(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["method=pipeline", f"pipeline={name}"])
    pipeline = config.pipeline
    assert pipeline.name == name
    assert config.name == f"pipeline {name}", "presets of one name would be one method in tables"
    assert pipeline.licence
    assert pipeline.memory_gb > 1
    checkpoint = OmegaConf.to_container(pipeline.checkpoint)
    assert isinstance(checkpoint, dict)
    if not str(checkpoint["id"]).startswith("data/"):
        revision = checkpoint["revision"]
        assert revision is None or (len(revision) == 40 and set(revision) <= set("0123456789abcdef"))
        assert (revision is None) == ("no commit could be verified" in (CONF / f"pipeline/{name}.yaml").read_text())
