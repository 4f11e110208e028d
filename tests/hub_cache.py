"""A hub cache of tiny models of the real families, under the ids and commits of ``models=sd15``."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import PNDMScheduler
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torchvision.models import alexnet

from instructedit.checkpoints import CHECKPOINT, named
from instructedit.models import Checkpoint
from tests import tiny
from tests.eval import tiny_clip

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "data" / "picturebook" / "models"


def preset(*overrides: str, group: str = "models") -> dict[str, Checkpoint]:
    """The checkpoints of ``models=sd15`` by key, or those of its ``group=models.optional``."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        chosen = OmegaConf.select(compose("checkpoints", list(overrides)), group)
    models = OmegaConf.to_container(chosen, resolve=True)
    assert isinstance(models, dict)
    return {str(k): named(v) for k, v in models.items() if isinstance(v, dict) and v.get("_target_") == CHECKPOINT}


def snapshot(cache: Path, checkpoint: Checkpoint) -> Path:
    """Return the snapshot's folder of a checkpoint in the hub's cache; ``main`` refers to it."""
    folder = cache / f"models--{checkpoint.id.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(str(checkpoint.revision))
    return folder / "snapshots" / str(checkpoint.revision)


def fill(cache: Path, weights: Path) -> None:
    """Save a tiny model for each checkpoint of ``models=sd15`` and of the presets that change it.

    Hub ids go into ``cache``, what is on no hub into ``weights``.
    """
    savers: Mapping[str, Callable[[Path], object]] = {
        "diffusion": stable_diffusion,
        "instruct_pix2pix": lambda folder: tiny.save_diffusion(folder, in_channels=8),
        "inpainting": half_precision_inpainting,
        "blip2": lambda folder: tiny.save_blip2(folder, encoder_decoder=True),
        "grounding_dino": tiny.save_grounding_dino,
        "sam": tiny.save_sam,
        "language_model": lambda folder: shutil.copytree(SHIPPED / "language_model", folder),
        "clip": clip,
    }
    checkpoints = preset()
    for key, save in savers.items():
        save(snapshot(cache, checkpoints[key]))
    assert set(checkpoints) - set(savers) == {"lpips", "brisque"}
    others: Mapping[str, Callable[[Path], object]] = {
        "blip2_opt": lambda folder: shutil.copytree(SHIPPED / "blip2", folder),
        "grounding_dino_base": tiny.save_grounding_dino,
        "sam_large": tiny.save_sam,
        "sam_base": tiny.save_sam,
        "clip_b32": clip,
        "sam2": tiny.save_sam2,
        "mm_grounding_dino": lambda folder: tiny.save_grounding_dino(folder, newer=True),
    }
    optional = preset(group="models.optional")
    # Those of metric=pie_bench and of a judge are tested with their metrics.
    assert set(optional) - set(others) == {"dino", "squeezenet", "vlm"}
    for key, save in others.items():
        save(snapshot(cache, optional[key]))
    stable_diffusion(snapshot(cache, preset("models=sd14_official")["diffusion"]))
    tiny.save_diffusion(snapshot(cache, preset("models=sd21")["diffusion"]), prediction_type="v_prediction")
    tiny.sdxl().to(torch.float16).save_pretrained(snapshot(cache, preset("models=sdxl")["diffusion"]), variant="fp16")
    (weights / "lpips").mkdir(parents=True)
    torch.manual_seed(7)
    features = {f"features.{k}": v for k, v in alexnet(weights=None).features.state_dict().items()}
    save_file(features, weights / "lpips" / "model.safetensors")
    shutil.copytree(SHIPPED / "brisque", weights / "brisque")


def stable_diffusion(folder: Path) -> None:
    """With the scheduler that SD v1.5 is published with."""
    tiny.save_diffusion(folder)
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")


def half_precision_inpainting(folder: Path) -> None:
    """Weights in float16 under the names of that variant only."""
    tiny.save_diffusion(folder, in_channels=9)
    for part, network in {"unet": tiny.unet(9), "vae": tiny.vae(), "text_encoder": tiny.text_encoder()}.items():
        shutil.rmtree(folder / part)
        network.half().save_pretrained(folder / part, variant="fp16")


def clip(folder: Path) -> None:
    """Model, tokenizer and preprocessing."""
    for part in (tiny_clip.model(), tiny_clip.tokenizer(), tiny_clip.image_processor()):
        part.save_pretrained(folder)
