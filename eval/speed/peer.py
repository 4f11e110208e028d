"""The peer of a sweep: diffusers' own DiffEdit pipeline, one edit after another, as a user would loop over it.

``python -m eval.speed.peer WORK.json`` loads the pipeline once and does the jobs of the file, see :class:`Work`.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoModel, DDIMInverseScheduler, DDIMScheduler, UNet2DConditionModel
from diffusers.configuration_utils import FrozenDict
from diffusers.pipelines.deprecated.stable_diffusion_diffedit.pipeline_stable_diffusion_diffedit import (
    StableDiffusionDiffEditPipeline,
)
from PIL import Image
from transformers import AutoTokenizer, CLIPTextModel

from instructedit.diffusion import encode_unscaled
from instructedit.latent_diffusion import generator
from instructedit.types import EditRequest, Stage

STEPS, GUIDANCE_SCALE, NOISES, STRENGTH, CLAMP = 50, 7.5, 10, 0.5, 3.0


@dataclass(frozen=True)
class Work:
    """Jobs for one process."""

    folder: str
    """A Stable Diffusion folder."""
    dtype: str
    """Precision of the weights, such as float32."""
    samples: list[dict[str, str]]
    """Id, image, and input and edited caption of each sample."""
    jobs: list[tuple[float, float]]
    """Encoding ratio and theta of each job."""
    out: str
    """Folder of the edited images, ``<ratio>_<theta>_<id>.png``."""
    seed: int = 0

    def save(self, path: Path) -> Path:
        """Write the jobs for :func:`main`."""
        path.write_text(json.dumps(asdict(self)))
        return path


@torch.no_grad()
def main(path: Path) -> None:
    """Do the jobs of a file that :meth:`Work.save` wrote."""
    work = Work(**json.loads(path.read_text()))
    pipeline = _pipeline(work.folder, getattr(torch, work.dtype))
    for ratio, theta in work.jobs:
        for sample in work.samples:
            image = Image.open(sample["image"]).convert("RGB")
            request = EditRequest(sample["id"], image, "", seed=work.seed)
            edited = _edit(pipeline, request, sample["input"], sample["edited"], ratio, theta)
            edited.save(Path(work.out) / f"{ratio}_{theta}_{sample['id']}.png")


def _edit(pipeline: Any, request: EditRequest, caption: str, edited: str, ratio: float, theta: float) -> Image.Image:
    source: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE_SCALE}
    mask = pipeline.generate_mask(
        request.image, edited, source_prompt=caption, num_maps_per_mask=NOISES, mask_encode_strength=STRENGTH,
        # The pipeline's own theta is fixed at 0.5; another clamp has the effect of another theta.
        mask_thresholding_ratio=CLAMP * theta / 0.5, generator=generator(request, Stage.MASK), **source,
    )  # fmt: skip
    inverted = pipeline.invert(caption, request.image, inpaint_strength=ratio, **source).latents
    result: Image.Image = pipeline(edited, mask[:1], inverted, inpaint_strength=ratio, **source).images[0]
    return result


class _Autoencoder(torch.nn.Module):
    """Any of diffusers' autoencoders as the ``AutoencoderKL`` that the pipeline knows.

    The pipeline would sample the posterior of an ``AutoencoderKL``; here it gets the mode, as our method does.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, self.decode = vae, vae.decode
        channels = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
        self.config = FrozenDict(vae.config | {"block_out_channels": channels})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vae, name) if name in ("device", "dtype") else super().__getattr__(name)

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        """Return the latents as a distribution of one value."""
        latents = encode_unscaled(self.vae, pixels)
        return SimpleNamespace(latent_dist=SimpleNamespace(sample=lambda generator: latents))


def _pipeline(folder: str, dtype: torch.dtype) -> Any:
    scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    pipeline = StableDiffusionDiffEditPipeline(
        vae=_Autoencoder(AutoModel.from_pretrained(folder, subfolder="vae", torch_dtype=dtype).eval()),
        text_encoder=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=dtype),
        tokenizer=AutoTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype),
        scheduler=scheduler,
        inverse_scheduler=DDIMInverseScheduler.from_config(scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
