"""Every method on both kinds of diffusers autoencoder, of 4 channels at f=8 and of 8 channels at f=4."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from baselines.diffedit import DiffEdit
from baselines.instruct_pix2pix import InstructPix2Pix
from baselines.mdp import MDP
from baselines.sd_inpainting import InpaintingEditor
from eval.runs.store import RunStore
from instructedit import diffusion
from instructedit.cache import StageCache
from instructedit.editor import Edited, MaskGuidedEditor, latent_mask
from instructedit.latent_diffusion import LatentDiffusion
from instructedit.models import POOL, Checkpoint, Context, ModelPool
from instructedit.types import Captions, ConfigError, EditRequest, EditResult, StageError
from scripts import edit as edit_script
from scripts import run as run_script
from tests import tiny

ROOT = Path(__file__).resolve().parents[1]
CAPTIONS = Captions("photo of a cat", "photo of a lion")


@dataclass(frozen=True)
class Kind:
    """Checkpoints that share one autoencoder."""

    save: Callable[[Path, int], Path]
    channels: int
    factor: int


KINDS = {"kl": Kind(tiny.save_diffusion, 4, 8), "dc": Kind(tiny.save_diffusion_dc, 8, 4)}


@dataclass(frozen=True)
class Family:
    """The three checkpoints that the methods take."""

    kind: Kind
    plain: Checkpoint
    instructed: Checkpoint
    inpainting: Checkpoint


@pytest.fixture(scope="module", params=KINDS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    kind, folder = KINDS[request.param], tmp_path_factory.mktemp(request.param)
    c = kind.channels
    plain, instructed, inpainting = (
        Checkpoint(str(kind.save(folder / str(channels), channels))) for channels in (c, 2 * c, 2 * c + 1)
    )
    return Family(kind, plain, instructed, inpainting)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(ModelPool(), StageCache(tmp_path / "cache"), torch.device("cpu"))


def image_of(answer: Edited | StageError) -> Image.Image:
    assert isinstance(answer, Edited), answer
    return answer.image


def request_of(size: tuple[int, int] = (64, 64)) -> EditRequest:
    return EditRequest("s", tiny.picture(1, size), "Change the cat to a lion", CAPTIONS)


def test_latents_have_the_autoencoders_channels_and_grid(family: Family, context: Context) -> None:
    backbone = LatentDiffusion(context, family.plain)
    assert backbone.vae_scale_factor == family.kind.factor
    assert backbone.sample_size == 8 * family.kind.factor
    image = tiny.picture(0, (64, 32))
    latents = backbone.encode([image])
    assert latents.shape == (1, family.kind.channels, 4, 8)
    scale = float(backbone.vae.config["scaling_factor"])
    assert torch.allclose(
        latents, scale * backbone.encode_unscaled([image.resize(backbone.size(image), Image.Resampling.LANCZOS)])
    )
    pixels = backbone.pixels([image])
    encoded = backbone.vae.encode(pixels)
    expected = encoded.latent_dist.mode() if family.kind.channels == 4 else encoded.latent
    assert torch.equal(latents, expected * scale)
    assert diffusion.decode(backbone.vae, latents).shape == pixels.shape


METHODS = {
    "diffedit": lambda c, f: DiffEdit(c, f.plain, 0.5, theta=0.4, steps=6),
    "mdp": lambda c, f: MDP(c, f.plain, 1, 4, steps=6),
    "mdp null-text": lambda c, f: MDP(c, f.plain, 0, 2, steps=3, null_text=True),
    "instruct_pix2pix": lambda c, f: InstructPix2Pix(c, f.instructed, steps=4),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_each_method_edits(name: str, size: tuple[int, int], family: Family, context: Context) -> None:
    request = request_of(size)
    (edited,) = METHODS[name](context, family).edit([request])
    assert isinstance(edited, EditResult), edited
    assert edited.image.size == size
    assert np.asarray(edited.image).std() > 1
    (again,) = METHODS[name](context, family).edit([request])
    assert isinstance(again, EditResult)
    assert edited.image.tobytes() == again.image.tobytes()


def test_the_mask_guided_editor_keeps_the_outside(family: Family, context: Context) -> None:
    editor = MaskGuidedEditor(context, family.plain, 0.9, steps=10)
    request, mask = request_of(), tiny.square_mask()
    edited = np.asarray(image_of(editor.edit([request], [CAPTIONS], [mask])[0])).astype(int)
    backbone = editor.backbone
    side = backbone.sample_size
    decoded = backbone.decode(backbone.encode([request.image]))[0].permute(1, 2, 0)
    kept = np.asarray(
        Image.fromarray(decoded.add(1).mul(127.5).round().byte().numpy()).resize((64, 64), Image.Resampling.LANCZOS)
    ).astype(int)
    inside = latent_mask(mask, (8, 8))[0].numpy().astype(bool)
    # Two latents away from the mask, because Lanczos resampling reaches over its boundary.
    far = ~np.asarray(Image.fromarray(inside).resize((64, 64), Image.Resampling.NEAREST))
    rows, columns = np.nonzero(inside)
    far[max(0, rows.min() * 8 - 16) : rows.max() * 8 + 24, max(0, columns.min() * 8 - 16) : columns.max() * 8 + 24] = 0
    assert side in (32, 64)
    assert np.abs(edited - kept)[far].max() <= 1
    assert np.abs(edited - kept)[16:32, 16:48].max() > 3


def test_inpainting_paints_the_hole(family: Family, context: Context) -> None:
    editor = InpaintingEditor(context, family.inpainting, steps=4)
    image = image_of(editor.edit([request_of()], [CAPTIONS], [tiny.square_mask()])[0])
    assert image.size == (64, 64)
    assert np.asarray(image).std() > 1


# --- through the scripts ----------------------------------------------------------------------------------------------


def models(family: Family) -> list[str]:
    names = {"diffusion": family.plain, "instruct_pix2pix": family.instructed, "inpainting": family.inpainting}
    return [f"models.{name}.id={checkpoint.id}" for name, checkpoint in names.items()]


@pytest.mark.parametrize("method", ["instructedit", "diffedit", "mdp", "instruct_pix2pix", "sd_inpainting"])
def test_a_run_with_metrics(method: str, family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    GlobalHydra.instance().clear()
    overrides = [f"method={method}", "limit=1", "segmenter.box_threshold=0.05", f"results={tmp_path}", *models(family)]
    monkeypatch.setattr(sys, "argv", ["run", *overrides])
    try:
        assert run_script.main() == 0
    finally:
        POOL.clear()
    (run,) = (tmp_path / "runs").iterdir()
    frame = RunStore(tmp_path, run.name).read_metrics()
    assert frame is not None
    assert set(frame["metric"]) >= {"lpips", "clip_score", "brisque"}


def test_one_picture(family: Family, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    GlobalHydra.instance().clear()
    image = next((ROOT / "data/picturebook/benchmark/images").glob("same_01*.png"))
    overrides = [f"image={image}", "instruction='Change the bigger cat to a lion'", f"out={tmp_path / 'out'}"]
    monkeypatch.setattr(
        sys, "argv", ["edit", *overrides, "segmenter.box_threshold=0.05", f"results={tmp_path}", *models(family)]
    )
    try:
        assert edit_script.main() == 0
    finally:
        POOL.clear()
    assert Image.open(tmp_path / "out" / "edited.png").size == Image.open(image).size


# --- parts that checkpoints share -------------------------------------------------------------------------------------


def test_a_checkpoint_borrows_the_parts_that_it_lacks(tmp_path: Path, context: Context) -> None:
    base = tiny.save_diffusion_dc(tmp_path / "base")
    tiny.unet(17, out_channels=8).save_pretrained(tmp_path / "own" / "unet")
    borrowing = Checkpoint(str(tmp_path / "own"), base=str(base))
    whole = Checkpoint(str(tiny.save_diffusion_dc(tmp_path / "whole", 17)))
    images = [
        image_of(InpaintingEditor(context, c, steps=3).edit([request_of()], [CAPTIONS], [tiny.square_mask()])[0])
        for c in (borrowing, whole)
    ]
    assert images[0].tobytes() == images[1].tobytes()


def test_what_is_borrowed_is_not_missing(tmp_path: Path) -> None:
    base = tiny.save_diffusion_dc(tmp_path / "base")
    tiny.unet(17, out_channels=8).save_pretrained(tmp_path / "own" / "unet")
    borrowing = Checkpoint(str(tmp_path / "own"), base=str(base))
    assert borrowing.missing() is None
    assert "vae/config.json" in (Checkpoint(str(tmp_path / "own")).missing() or "")
    (base / "vae" / "config.json").unlink()
    assert borrowing.missing() == f"{base}/vae/config.json"


def test_what_is_borrowed_counts_in_the_fingerprint(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny.unet(17, out_channels=8).save_pretrained(tmp_path / name / "own" / "unet")
        tiny.save_diffusion_dc(tmp_path / name / "base")
    first, second = (Checkpoint(str(tmp_path / n / "own"), base=str(tmp_path / n / "base")) for n in ("a", "b"))
    alone = Checkpoint(str(tmp_path / "a" / "own"))
    assert first.fingerprint == second.fingerprint != alone.fingerprint
    tiny.vae().save_pretrained(tmp_path / "c" / "base" / "vae")
    other = Checkpoint(str(tmp_path / "b" / "own"), base=str(tmp_path / "c" / "base"))
    assert other.fingerprint != first.fingerprint


def test_a_base_that_is_not_there_is_named(tmp_path: Path) -> None:
    tiny.unet(17, out_channels=8).save_pretrained(tmp_path / "own" / "unet")
    with pytest.raises(ConfigError, match="nowhere"):
        Checkpoint(str(tmp_path / "own"), base=str(tmp_path / "nowhere"))
