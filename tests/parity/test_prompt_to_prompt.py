"""Prompt-to-Prompt against diffusers' sampling, and against the authors' formulas on diffusers' attention layers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention, AttnProcessor

from baselines.prompt_to_prompt import PromptToPrompt, token_map
from data.picturebook.training.tokenizers import clip_tokenizer
from instructedit import diffusion
from instructedit.cache import StageCache
from instructedit.latent_diffusion import to_images
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, Failure
from tests import tiny
from tests.parity.steps import pipeline_of

STEPS, SCALE = 8, 4.0
SWAP = Captions("photo of a cat", "photo of a lion")
LONGER = Captions("photo of a cat", "photo of a bigger cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_diffusion(tmp_path_factory.mktemp("diffusion"))


def method(folder: Path, cross: float = 0.75, own: float = 0.5, cache: Path | None = None) -> PromptToPrompt:
    context = Context(ModelPool(), StageCache(cache), torch.device("cpu"))
    return PromptToPrompt(context, Checkpoint(str(folder)), cross, own, STEPS, SCALE)


def edited(method: PromptToPrompt, *requests: EditRequest) -> list[EditResult]:
    results = method.edit(requests)
    assert all(isinstance(r, EditResult) for r in results), results
    return [r for r in results if isinstance(r, EditResult)]


@torch.no_grad()
def test_without_replacement_it_is_diffusers_sampling_from_the_inverted_noise(folder: Path) -> None:
    ours = method(folder, 0, 0)
    request = EditRequest("one", tiny.picture(4), "x", SWAP)
    (result,) = edited(ours, request)
    backbone = ours.backbone
    trajectory, _ = backbone.invert([request.image], [SWAP.input], STEPS)
    pipeline = pipeline_of(StableDiffusionPipeline, backbone, tiny.scheduler())
    theirs = pipeline(
        SWAP.edited, height=64, width=64, num_inference_steps=STEPS, guidance_scale=SCALE, latents=trajectory[-1],
        output_type="np",
    ).images[0]  # fmt: skip
    assert np.abs(np.asarray(result.image) / 255 - theirs).max() <= 0.5 / 255 + 1e-4
    assert result.evaluations["edit"] == 2 * STEPS


def mapper(captions: Captions) -> tuple[list[int], torch.Tensor]:
    """The authors' mapper and alphas (AttentionReplace for a swap, AttentionRefine for a new word), by hand."""
    length = clip_tokenizer().model_max_length
    if captions == SWAP:
        return list(range(length)), torch.ones(length)
    # start, photo, of, a, [bigger], cat, end; padding at its own place.
    places = [0, 1, 2, 3, 0, 4, 5, *range(7, length)]
    alphas = torch.ones(length)
    alphas[4] = 0
    return places, alphas


@pytest.mark.parametrize("captions", [SWAP, LONGER], ids=["replace", "refine"])
@torch.no_grad()
def test_an_edit_follows_the_authors_formulas(
    folder: Path, captions: Captions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are [unconditional x 2, conditional x 2] and maps are changed in diffusers' own processor, as there."""
    ours = method(folder)
    request = EditRequest("one", tiny.picture(4), "x", captions)
    (result,) = edited(ours, request)

    backbone = ours.backbone
    trajectory, _ = backbone.invert([request.image], [captions.input], STEPS)
    schedule = diffusion.make_schedule(backbone.scheduler, STEPS)
    states = backbone.embed(["", "", captions.input, captions.edited]).states
    places, alphas = mapper(captions)
    step, plain = 0, Attention.get_attention_scores
    replaced: list[int] = []

    def scores(attn: Any, query: torch.Tensor, key: torch.Tensor, mask: Any = None) -> torch.Tensor:
        maps = plain(attn, query, key, mask)
        base, target = maps[len(maps) // 2 :].unflatten(0, (2, -1))
        if key.shape[1] == len(places):
            if step < 6:
                target = base[:, :, places] * alphas + target * (1 - alphas)
                replaced.append(step)
        elif step < 4 and query.shape[1] <= 64 // 16:
            target = base
        return torch.cat([maps[: len(maps) // 2], base, target])

    own = dict(backbone.unet.attn_processors)
    backbone.unet.set_attn_processor(AttnProcessor())
    monkeypatch.setattr(Attention, "get_attention_scores", scores)
    x = trajectory[-1]
    for step, level in enumerate(range(STEPS, 0, -1)):  # noqa: B007  # scores reads it
        latents = torch.cat([trajectory[level], x, trajectory[level], x])
        out = backbone.unet(latents, schedule.timesteps[level - 1], encoder_hidden_states=states).sample
        guided = out[1:2] + SCALE * (out[3:] - out[1:2])
        x = diffusion.move(x, guided, schedule.alphas[level], schedule.alphas[level - 1])
    monkeypatch.undo()
    backbone.unet.set_attn_processor(own)
    (theirs,) = to_images(backbone.decode(x), [request.image.size])
    assert set(replaced) == set(range(6))
    assert np.abs(np.asarray(result.image, int) - np.asarray(theirs, int)).max() <= 1
    (without,) = edited(method(folder, 0, 0), request)
    assert np.abs(np.asarray(result.image, int) - np.asarray(without.image, int)).max() > 1
    assert result.evaluations["edit"] == 3 * 6 + 2 * 2


@pytest.mark.parametrize("captions", [SWAP, LONGER], ids=["replace", "refine"])
def test_the_token_map_is_the_authors_mapper(captions: Captions) -> None:
    places, alphas = mapper(captions)
    expected = torch.zeros(len(places), len(places))
    for edited_place, source_place in enumerate(places):
        expected[source_place, edited_place] = alphas[edited_place]
    assert torch.equal(token_map(clip_tokenizer(), captions), expected)


def test_neighbours_and_the_cache_change_nothing(folder: Path, tmp_path: Path) -> None:
    asked = [EditRequest(f"s{i}", tiny.picture(i), "x", c) for i, c in enumerate((SWAP, LONGER, SWAP))]
    together = edited(method(folder, cache=tmp_path), *asked)
    again = edited(method(folder, cache=tmp_path), *asked)
    alone = [edited(method(folder), r)[0] for r in asked]
    for first, cached, single in zip(together, again, alone, strict=True):
        assert first.image.tobytes() == cached.image.tobytes()
        assert np.abs(np.asarray(first.image, int) - np.asarray(single.image, int)).max() <= 1
        assert cached.evaluations["edit"] == 0
        assert cached.cached_evaluations["edit"] == first.evaluations["edit"]


def test_the_shared_unet_keeps_its_attention(folder: Path) -> None:
    ours = method(folder)
    before = {name: type(p) for name, p in ours.backbone.unet.attn_processors.items()}
    edited(ours, EditRequest("one", tiny.picture(4), "x", SWAP))
    assert {name: type(p) for name, p in ours.backbone.unet.attn_processors.items()} == before


def test_wrong_values_and_missing_captions(folder: Path) -> None:
    with pytest.raises(ConfigError, match="cross_replace=1.5"):
        method(folder, 1.5)
    first, second = method(folder).edit(
        [EditRequest("a", tiny.picture(1), "x"), EditRequest("b", tiny.picture(2), "x", SWAP)]
    )
    assert isinstance(first, Failure)
    assert isinstance(second, EditResult)
