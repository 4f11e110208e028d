"""The adapter of method=pipeline: what it refuses, what it sends, and the pitfalls of single pipelines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from PIL import Image

from baselines.instruct_pix2pix import InstructPix2Pix
from baselines.pipeline import PipelineEditor, PipelineMethod
from baselines.preset import SizeRule, filled
from eval.runs.records import from_line, record_of, to_line
from instructedit.cache import StageCache
from instructedit.editor import Edited
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import ConfigError, EditRequest, EditResult, Failure, Sample, StageError
from tests import tiny
from tests.baselines.test_pipeline_presets import CAPTIONS, CONF, INSTRUCTION, edited, made, preset, requests
from tests.baselines.tiny_pipelines import save

ROOT = CONF.parent


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return lambda kind: root / kind if (root / kind).is_dir() else save(kind, root / kind)


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.tobytes() == second.tobytes()


def refused(*overrides: str) -> str:
    """Return the one-line message with which a configuration is refused; no checkpoint exists, so none is loaded."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["method=pipeline", *overrides])
    config.pipeline.checkpoint = {"_target_": "instructedit.models.Checkpoint", "id": "data/picturebook/models/clip"}
    with pytest.raises((ConfigError, InstantiationException)) as caught:
        instantiate(config.wrapper, _convert_="all")(
            context=Context(ModelPool(), StageCache(None), torch.device("cpu"))
        )
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__
    assert error is not None, caught.value
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["pipeline.class_name=FluxKontextsPipeline"], ["diffusers 0.", "has no such class", "FluxKontextPipeline"]),
        (["pipeline.class_name=UNet2DConditionModel"], ["not a pipeline class"]),
        (["pipeline.class_name=no_package.Pipe"], ["no_package cannot be imported"]),
        (["pipeline.conditioning=captain"], ["pipeline.conditioning=captain", "instruction, captions, mask"]),
        (["pipeline.cpu_offload=all"], ["pipeline.cpu_offload=all", "none, model, sequential"]),
        (["pipeline.quantisation=int3"], ["pipeline.quantisation=int3", "none, float8, int8, int4"]),
        (
            ["+pipeline.arguments.guidence_scale=3"],
            ["pipeline.arguments.guidence_scale", "did you mean guidance_scale"],
        ),
        (["+pipeline.components.watermark=false"], ["pipeline.components.watermark", "has no such argument"]),
        (["pipeline.arguments.prompt='{wish}'"], ["{wish}", "{instruction}"]),
        (["pipeline.arguments.prompt='{edited_caption}'"], ["needs pipeline.conditioning=captions"]),
        (["pipeline.arguments.image=null"], ["none is {image}"]),
        (["pipeline.arguments.num_inference_steps=0"], ["num_inference_steps=0", "whole numbers from 1"]),
        (["pipeline=ledits_pp", "pipeline.first.method=invent"], ["pipeline.first.method=invent", "no such method"]),
        (["pipeline=omnigen", "~pipeline.arguments.prompt"], ["OmniGenPipeline.__call__ needs prompt"]),
        (["pipeline.size.area=4", "pipeline.size.longest=4"], ["pipeline.size.longest=4 and area=4"]),
        (["pipeline.scheduler.class_name=Euler"], ["pipeline.scheduler.class_name", "has no such class"]),
        # true_cfg_scale has no effect without a negative prompt.
        (["pipeline=qwen_image_edit", "pipeline.arguments.negative_prompt=null"], ["true_cfg_scale=4.0 has no effect"]),
        (["pipeline=flux_kontext", "+pipeline.arguments.true_cfg_scale=2"], ["true_cfg_scale=2 has no effect"]),
        # int(strength * steps) may be 0.
        (["pipeline=sd3_inpaint", "pipeline.arguments.strength=0.01"], ["strength=0.01 of num_inference_steps=50"]),
        (["pipeline=sd3_inpaint", "pipeline.arguments.strength=2"], ["strength=2", "up to 1"]),
    ],
)
def test_a_wrong_preset_is_one_line_before_anything_loads(overrides: list[str], parts: list[str]) -> None:
    message = refused(*overrides)
    for part in parts:
        assert part in message


def test_a_missing_package_for_quantisation_is_one_line() -> None:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        assert "the package bitsandbytes is not installed" in refused("pipeline.quantisation=int4")
    else:
        pytest.skip("bitsandbytes is installed")


class Deterministic(diffusers.StableDiffusionInstructPix2PixPipeline):
    """A pipeline that takes no generator."""

    def __call__(self, image: Any = None, prompt: Any = None, num_inference_steps: int = 2) -> Any:
        raise NotImplementedError


def test_a_pipeline_without_a_generator_is_refused() -> None:
    message = refused(
        f"pipeline.class_name={__name__}.Deterministic", "~pipeline.arguments.guidance_scale",
        "~pipeline.arguments.image_guidance_scale",
    )  # fmt: skip
    assert "takes no generator" in message


@pytest.mark.parametrize(
    ("rule", "size", "sent"),
    [
        (SizeRule(8), (128, 96), (128, 96)),
        (SizeRule(16), (100, 50), (96, 48)),
        (SizeRule(8, longest=512), (128, 96), (512, 384)),
        (SizeRule(8, longest="sample_size"), (128, 64), (256, 128)),
        (SizeRule(16, area=1024 * 1024), (640, 480), (1184, 880)),
        (SizeRule(32, longest=128), (128, 10), (128, 32)),
        (SizeRule(16, least=64), (48, 32), (96, 64)),
    ],
)
def test_the_size_that_is_sent(rule: SizeRule, size: tuple[int, int], sent: tuple[int, int]) -> None:
    assert rule.apply(size, lambda: 256) == sent


def test_placeholders_are_filled_at_any_depth_and_values_are_not_read_as_templates() -> None:
    values = {"instruction": "Add {image}", "image": object(), "width": 64}
    template = {"a": ["{image}", "{instruction}!"], "b": 3, "c": "{width}", "d": {"e": "no {braces} here"}}
    out = filled({k: v for k, v in template.items() if k != "d"}, values)
    assert out == {"a": [values["image"], "Add {image}!"], "b": 3, "c": 64}


def test_the_record_has_what_was_sent_and_the_size_that_came_back(folders: Callable[[str], Path]) -> None:
    method = made(preset("flux_kontext", folders("FluxKontextPipeline"), "pipeline.size.longest=48"))
    (result,) = method.edit([EditRequest("s", tiny.picture(1, (64, 40)), "Make it red", seed=1)])
    assert isinstance(result, EditResult)
    assert result.image.size == (64, 40)
    record = record_of(result, Sample("s", Path("s.png"), "Make it red"))
    again = from_line(to_line(record))
    assert again == record
    call = again.decisions.call
    assert call is not None
    assert call.returned == (48, 32)
    assert call.arguments["image"] == "RGB 48 x 32"
    assert (call.arguments["height"], call.arguments["width"], call.arguments["max_area"]) == (32, 48, 32 * 48)
    assert call.arguments["_auto_resize"] is False
    assert call.arguments["prompt"] == "Make it red"


@torch.no_grad()
def test_kontext_chooses_a_size_of_its_own_without_the_presets_arguments(folders: Callable[[str], Path]) -> None:
    pipe = diffusers.FluxKontextPipeline.from_pretrained(folders("FluxKontextPipeline"))
    given = {"image": tiny.picture(1), "prompt": "x", "height": 64, "width": 64, "num_inference_steps": 1}
    assert pipe(**given, max_area=64 * 64, _auto_resize=False).images[0].size == (64, 64)
    seen: list[int] = []
    pipe.transformer.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["hidden_states"].shape[1]), with_kwargs=True
    )
    pipe(**given, max_area=64 * 64)  # the condition is enlarged to about 1024 x 1024
    pipe(**given, max_area=64 * 64, _auto_resize=False)
    assert seen[0] > 100 * seen[1]


@torch.no_grad()
def test_klein_gets_sides_of_64_at_least(folders: Callable[[str], Path]) -> None:
    folder = folders("Flux2KleinPipeline")
    pipe = diffusers.Flux2KleinPipeline.from_pretrained(folder)
    small = tiny.picture(1, (48, 32))
    with pytest.raises(ValueError, match="64"):
        pipe(image=[small], prompt="x", num_inference_steps=1)
    (result,) = made(preset("flux2_klein", folder, "pipeline.size.longest=null")).edit([EditRequest("s", small, "x")])
    assert isinstance(result, EditResult)
    assert result.decisions.call is not None
    assert result.decisions.call.returned == (96, 64)
    assert result.image.size == (48, 32)


def test_ledits_gets_multiples_of_32(folders: Callable[[str], Path]) -> None:
    folder = folders("LEditsPPPipelineStableDiffusion")
    pipe = diffusers.LEditsPPPipelineStableDiffusion.from_pretrained(folder)
    with pytest.raises(ValueError, match="factor of 32"):
        pipe.invert(image=tiny.picture(1), num_inversion_steps=2, height=40, width=64)
    request = EditRequest("s", tiny.picture(1, (64, 40)), INSTRUCTION, CAPTIONS)
    (result,) = made(preset("ledits_pp", folder, "pipeline.size.longest=128")).edit([request])
    assert isinstance(result, EditResult)
    assert result.decisions.call is not None
    assert result.decisions.call.returned == (128, 64)
    assert result.decisions.call.arguments["invert.source_prompt"] == CAPTIONS.input
    assert result.image.size == (64, 40)


def test_a_caption_conditioned_pipeline_fails_without_captions(folders: Callable[[str], Path]) -> None:
    method = made(preset("ledits_pp", folders("LEditsPPPipelineStableDiffusion")))
    assert method.needs_captions
    with_captions, without = requests(1)[0], EditRequest("t", tiny.picture(2), INSTRUCTION)
    first, second = method.edit([with_captions, without])
    assert isinstance(first, EditResult)
    assert isinstance(second, Failure)
    assert "needs captions" in second.message


@torch.no_grad()
def test_qwen_edit_plus_takes_one_sample_a_call(folders: Callable[[str], Path]) -> None:
    folder = folders("QwenImageEditPlusPipeline")
    pictures = [r.image for r in requests()]
    pipe = diffusers.QwenImageEditPlusPipeline.from_pretrained(folder)
    with pytest.raises(ValueError, match="batch_size=1"):
        pipe(image=pictures, prompt=["a", "b"], num_inference_steps=1)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        presets = [compose("config", [f"pipeline=qwen_image_edit{end}"]).pipeline for end in ("_plus", "_2511")]
    assert not any(p.batched for p in presets)


@torch.no_grad()
def test_true_cfg_scale_needs_a_negative_prompt(folders: Callable[[str], Path]) -> None:
    """The pipeline ignores the scale without one, which the preset's " " prevents."""
    pipe = diffusers.FluxKontextPipeline.from_pretrained(folders("FluxKontextPipeline"))
    pipe.set_progress_bar_config(disable=True)

    def edit(**given: Any) -> np.ndarray:
        sizes = {"height": 64, "width": 64, "max_area": 64 * 64, "_auto_resize": False}
        seed = torch.Generator().manual_seed(1)
        out = pipe(image=tiny.picture(1), prompt="x", num_inference_steps=2, generator=seed, **sizes, **given)
        return np.asarray(out.images[0], int)

    plain = edit()
    assert (edit(true_cfg_scale=4.0) == plain).all()
    assert (edit(true_cfg_scale=4.0, negative_prompt=" ") != plain).any()


def test_each_sample_has_a_generator_of_its_own(folders: Callable[[str], Path]) -> None:
    """Order, neighbours and repetition change nothing; the run's seed does."""
    method = made(preset("flux2_klein", folders("Flux2KleinPipeline")))
    first, second = edited(method, requests())
    again = edited(method, requests()[::-1])
    assert same(again[1].image, first.image)
    assert same(again[0].image, second.image)
    (other,) = method.edit([EditRequest("s0", tiny.picture(0), INSTRUCTION, CAPTIONS, seed=6)])
    assert not same(other.image, first.image)


def test_a_batch_is_one_call_per_size_and_changes_nothing(folders: Callable[[str], Path]) -> None:
    folder = folders("StableDiffusionInstructPix2PixPipeline")
    method = made(preset("instruct_pix2pix", folder))
    asked = [*requests(), EditRequest("wide", tiny.picture(3, (64, 32)), "Make it blue", seed=5)]
    calls: list[int] = []
    network = method.runner.pipeline.unet
    handle = network.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    together = edited(method, asked)
    handle.remove()
    assert sorted(set(calls)) == [3, 6]  # three guidance branches of one sample, and of two
    alone = [edited(made(preset("instruct_pix2pix", folder)), [r])[0] for r in asked]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(np.asarray(one.image, int) - np.asarray(other.image, int)).max() <= 1
        assert one.evaluations == other.evaluations == {"edit": 12}


def test_edits_are_cached_with_their_call(folders: Callable[[str], Path], tmp_path: Path) -> None:
    config = preset("flux_kontext", folders("FluxKontextPipeline"))
    first, cached = (edited(made(config, tmp_path), requests(1))[0] for _ in range(2))
    assert isinstance(first, EditResult)
    assert isinstance(cached, EditResult)
    assert same(first.image, cached.image)
    assert cached.evaluations == {"edit": 0}
    assert cached.cached_evaluations == first.evaluations == {"edit": 4}
    assert cached.decisions.call == first.decisions.call


def test_a_pipeline_loads_once_and_a_process_keeps_one(folders: Callable[[str], Path]) -> None:
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    klein, kontext = (
        instantiate(preset(name, folders(kind)).method, _convert_="all")(context=context).runner
        for name, kind in (("flux2_klein", "Flux2KleinPipeline"), ("flux_kontext", "FluxKontextPipeline"))
    )
    first = klein.pipeline
    assert klein.pipeline is first
    assert isinstance(kontext.pipeline, diffusers.FluxKontextPipeline)
    assert klein.pipeline is not first


def test_an_empty_mask_fails_alone(folders: Callable[[str], Path]) -> None:
    editor = made(preset("flux_fill", folders("FluxFillPipeline")))
    assert isinstance(editor, PipelineEditor)
    masks = [np.zeros((64, 64), bool), tiny.square_mask()]
    empty, edit = editor.edit(requests(), [CAPTIONS] * 2, masks)
    assert isinstance(empty, StageError)
    assert isinstance(edit, Edited)


def test_float8_weights_give_nearly_the_same_edit(folders: Callable[[str], Path]) -> None:
    folder = folders("Flux2KleinPipeline")
    plain = made(preset("flux2_klein", folder))
    small = made(preset("flux2_klein", folder, "pipeline.quantisation=float8"))
    (first,), (second,) = (edited(m, requests(1)) for m in (plain, small))
    stored = {p.dtype for p in small.runner.pipeline.transformer.transformer_blocks.parameters()}
    assert torch.float8_e4m3fn in stored
    difference = np.abs(np.asarray(first.image, int) - np.asarray(second.image, int))
    assert 0 < difference.mean() < 40


def test_the_dtype_is_that_of_the_checkpoint(folders: Callable[[str], Path]) -> None:
    config = preset("flux2_klein", folders("Flux2KleinPipeline"))
    config.pipeline.checkpoint = {**config.pipeline.checkpoint, "dtype": "bfloat16"}
    method = made(config)
    assert method.runner.pipeline.transformer.dtype == torch.bfloat16
    edited(method, requests(1))


def test_the_shipped_instruct_pix2pix_equals_the_projects_own() -> None:
    """The folder has no model_index.json, so the pipeline is made from its parts."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["method=pipeline", "pipeline.arguments.num_inference_steps=6"])
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    method = instantiate(config.method, _convert_="all")(context=context)
    assert isinstance(method, PipelineMethod)
    shipped = Checkpoint("data/picturebook/models/instruct_pix2pix", base="data/picturebook/models/diffusion")
    own = InstructPix2Pix(context, shipped, 7.5, 1.5, 6)
    image = Image.open(ROOT / "data/picturebook/benchmark/images/same_02_oranges_to_apples.png").convert("RGB")
    asked = [EditRequest("a", image, "Replace the oranges with apples", seed=0)]
    (ours,), (theirs,) = method.edit(asked), own.edit(asked)
    assert isinstance(ours, EditResult)
    assert isinstance(theirs, EditResult)
    assert np.abs(np.asarray(ours.image, int) - np.asarray(theirs.image, int)).max() <= 1
    assert ours.evaluations == theirs.evaluations == {"edit": 18}


def test_a_masked_pipeline_follows_instructedits_language_and_segmenter(folders: Callable[[str], Path]) -> None:
    """The whole method on a picture of the shipped benchmark: its models find the mask and write the caption."""
    config = preset("flux_fill", folders("FluxFillPipeline"), "pipeline.arguments.num_inference_steps=1")
    context = Context(ModelPool(), StageCache(None), torch.device("cpu"))
    method = instantiate(config.method, _convert_="all")(context=context)
    image = Image.open(ROOT / "data/picturebook/benchmark/images/same_02_oranges_to_apples.png").convert("RGB")
    (result,) = method.edit([EditRequest("a", image, "Replace the oranges with apples", seed=0)])
    assert isinstance(result, EditResult)
    assert result.mask is not None
    assert result.decisions.captions is not None
    assert result.decisions.call is not None
    assert result.decisions.call.arguments["prompt"] == result.decisions.captions.edited
    assert result.decisions.call.arguments["mask_image"] == "L 64 x 64"
