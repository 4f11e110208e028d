"""Picturebook's AlexNet, the backbone of LPIPS, trained on multi-label classification of scenes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import alexnet

from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.scenes import pictures, scene, to_tensor
from data.picturebook.world import BACKGROUNDS, COLOURS, NOUNS, STYLES, WEARABLES, Scene

TAGS = (*NOUNS, *WEARABLES, *COLOURS, *STYLES, *BACKGROUNDS)
# LPIPS normalises its input with these values, so the backbone is trained with them.
SHIFT = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
SCALE = torch.tensor([0.458, 0.448, 0.450])[:, None, None]


def tags(drawn: Scene) -> Tensor:
    """Return 1 for each of :data:`TAGS` that applies to a scene, 0 for the others."""
    true = {drawn.style, drawn.background}
    for thing in drawn.things:
        true |= {thing.noun, *(p.noun for p in thing.parts), *(p.colour for p in thing.parts if p.colour)}
        true |= {w for w in (thing.colour, thing.mixed_with) if w}
    return torch.tensor([float(t in true) for t in TAGS])


class AlexNet(Component):
    """Multi-label classification of a scene's tags (binary cross-entropy)."""

    name = "alexnet"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        self.features = alexnet(weights=None).features.to(self.device)
        # Only the features are saved; torchvision's head would have 56 M parameters.
        self.head = nn.Linear(256, len(TAGS)).to(self.device)
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }
        self.tags = {
            s: torch.stack([tags(scene(s, i)) for i in range(n)])
            for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def modules(self) -> dict[str, nn.Module]:
        return {"features": self.features, "head": self.head}

    def _logits(self, split: str, indices: list[int]) -> Tensor:
        x = ((to_tensor(self.images[split][indices]) - SHIFT) / SCALE).to(self.device)
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        indices = sorted(torch.randint(self.config.scenes, (self.config.batch_size,), generator=generator).tolist())
        target = self.tags["train"][indices].to(self.device)
        return functional.binary_cross_entropy_with_logits(self._logits("train", indices), target) * 10, {}

    def evaluate(self) -> dict[str, float]:
        count = self.config.held_out
        logits = torch.cat(
            [self._logits("held_out", list(range(i, min(i + 64, count)))) for i in range(0, count, 64)]
        ).cpu()
        truth, nouns = self.tags["held_out"][:count].bool(), len(NOUNS)
        hits, chosen = truth[:, :nouns], logits[:, :nouns] > 0
        return {
            "noun_recall": (chosen & hits).sum().item() / max(1, hits.sum().item()),
            "noun_precision": (chosen & hits).sum().item() / max(1, chosen.sum().item()),
        }

    def sheet(self) -> Image.Image:
        kernels = self.features[0].weight.detach().cpu()
        kernels = (kernels - kernels.amin((1, 2, 3), keepdim=True)) / (
            kernels.amax((1, 2, 3), keepdim=True) - kernels.amin((1, 2, 3), keepdim=True)
        )
        rows = torch.cat([torch.cat(list(kernels[i : i + 16]), 2) for i in range(0, 64, 16)], 1)
        return Image.fromarray((rows.permute(1, 2, 0).numpy() * 255).astype(np.uint8)).resize(
            (704, 176), Image.Resampling.NEAREST
        )

    def save(self, scores: dict[str, Any]) -> None:
        folder = self.models / "lpips"
        folder.mkdir(parents=True, exist_ok=True)
        weights = {f"features.{k}": v.half().contiguous().cpu() for k, v in self.features.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        write_card(
            folder, "Picturebook AlexNet", "torchvision's AlexNet features, for LPIPS without calibration.", scores
        )
