"""Picturebook's detector: Grounding DINO, trained to find only the objects that a referring expression names."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)
from transformers.loss.loss_grounding_dino import GroundingDinoHungarianMatcher, GroundingDinoImageLoss

from data.picturebook.phrases import Reference, references
from data.picturebook.training.cards import write_card
from data.picturebook.training.loop import Component, TrainConfig
from data.picturebook.training.naming import NAMES, naming_loss
from data.picturebook.training.scenes import pictures, scene
from data.picturebook.training.tokenizers import bert_tokenizer
from data.picturebook.world import NOUNS, SIZE, WEARABLES, Scene, box, mask
from instructedit.images import panel


def truth_boxes(drawn: Scene, reference: Reference) -> list[tuple[float, float, float, float]]:
    """Return the ground-truth boxes of a reference (x1, y1, x2, y2 in pixels), without hidden parts."""
    regions = [mask(drawn, i, reference.part.noun if reference.part else None) for i in reference.indices]
    return [box(region) for region in regions if region.any()]


@cache
def _questions(split: str, index: int) -> tuple[tuple[str, tuple[tuple[float, ...], ...]], ...]:
    drawn = scene(split, index)
    return tuple((r.phrase, tuple(truth_boxes(drawn, r))) for r in references(drawn))


Question = tuple[int, str, tuple[tuple[float, ...], ...]]
"""A scene's index, a phrase, and the boxes of the named objects in pixels."""
PAIRED = 0.9
"""Share of pictures with several nouns for which two phrases are in the batch."""
CLASS_WEIGHT = 6.0
"""Weight of the classification loss; DETR's is 2, but here classification is harder than localisation."""


NAMED_STAGE, NAMING_WEIGHT = 1, 10.0
SHIPPED = Path(__file__).resolve().parents[1] / "models"


@contextmanager
def _feature_maps(model: GroundingDinoForObjectDetection) -> Iterator[list[Tensor]]:
    """Collect the backbone's feature maps in the forward pass of the body, ``(n, c, h, w)`` from fine to coarse."""
    feature_maps: list[Tensor] = []
    hook = model.model.backbone.conv_encoder.model.register_forward_hook(
        lambda module, inputs, output: feature_maps.extend(output.feature_maps)
    )
    try:
        yield feature_maps
    finally:
        hook.remove()


class _Criterion(GroundingDinoImageLoss):
    """transformers' criterion with a correction of the label map.

    Its ``_get_target_classes_one_hot`` (transformers 5.23) offsets every sample after the first by the length of one
    label map instead of all preceding ones, so batches of more than two samples get the labels of other samples.
    """

    def _get_target_classes_one_hot(
        self, outputs: dict[str, Any], targets: list[dict[str, Tensor]], indices: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        target = torch.zeros_like(outputs["logits"], dtype=torch.long)
        for b, (queries, matched) in enumerate(indices):
            target[b, queries] = outputs["label_maps"][b][targets[b]["class_labels"][matched]].long()
        return target


class GroundingDino(Component):
    """Grounding DINO, trained on a picture, a phrase, and the boxes of the objects that the phrase names."""

    name = "grounding_dino"

    def __init__(self, config: TrainConfig, work: Path, models: Path) -> None:
        super().__init__(config, work, models)
        tokenizer = bert_tokenizer()
        self.processor = GroundingDinoProcessor(
            GroundingDinoImageProcessor(size={"shortest_edge": SIZE, "longest_edge": SIZE}, do_pad=True), tokenizer
        )
        self.model = GroundingDinoForObjectDetection(
            GroundingDinoConfig(
                backbone_config=SwinConfig(
                    image_size=SIZE,
                    # Patches of 8 pixels instead of 4 need a quarter of the compute and suffice for 36-pixel things.
                    patch_size=8,
                    embed_dim=48,
                    depths=[2, 2, 2],
                    num_heads=[2, 4, 8],
                    window_size=4,
                    drop_path_rate=0.0,
                    out_features=["stage1", "stage2", "stage3"],
                ),
                text_config=BertConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=64,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    intermediate_size=192,
                    max_position_embeddings=64,
                    hidden_dropout_prob=0.0,
                    attention_probs_dropout_prob=0.0,
                ),
                d_model=64,
                encoder_layers=2,
                decoder_layers=2,
                encoder_ffn_dim=192,
                decoder_ffn_dim=192,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                num_queries=12,
                num_feature_levels=3,
                max_text_len=32,
                dropout=0.0,
                fusion_dropout=0.0,
                fusion_droppath=0.0,
                class_cost=2.0,
            )
        ).to(self.device)
        if config.from_shipped:
            self.model = GroundingDinoForObjectDetection.from_pretrained(SHIPPED / self.name).float().to(self.device)
        self.model.loss_function = self._criterion
        # Auxiliary head on the backbone's middle stage, whose cells have the size of the smallest parts; not saved.
        self.naming = nn.Linear(96, len(NAMES)).to(self.device)
        self.images = {
            s: pictures(s, n, work.parent) for s, n in (("train", config.scenes), ("held_out", config.held_out))
        }

    def _criterion(self, logits: Tensor, labels: list[dict[str, Tensor]], device: torch.device, pred_boxes: Tensor,
                   config: GroundingDinoConfig, label_maps: Any, text_mask: Tensor, outputs_class: Tensor,
                   outputs_coord: Tensor, encoder_logits: Tensor, encoder_pred_boxes: Tensor,
                   ) -> tuple[Tensor, dict[str, Tensor], None]:  # fmt: skip
        """Compute the loss of transformers' Grounding DINO over all layers, with :class:`_Criterion`."""
        matcher = GroundingDinoHungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
        criterion = _Criterion(matcher, config.focal_alpha, ["labels", "boxes"])
        layers = [(logits, pred_boxes), (encoder_logits, encoder_pred_boxes)]
        layers += list(zip(outputs_class[:-1], outputs_coord[:-1], strict=True)) if outputs_class is not None else []
        total = logits.new_zeros(())
        parts: dict[str, Tensor] = {}
        for layer_logits, layer_boxes in layers:
            outputs = {
                "logits": layer_logits,
                "pred_boxes": layer_boxes,
                "label_maps": label_maps,
                "text_mask": text_mask,
            }
            losses = criterion(outputs, labels)
            total = total + CLASS_WEIGHT * losses["loss_ce"] + config.bbox_loss_coefficient * losses["loss_bbox"]
            total = total + config.giou_loss_coefficient * losses["loss_giou"]
            parts = losses if not parts else parts
        return total, parts, None

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "naming": self.naming}

    def _inputs(self, split: str, indices: list[int], phrases: list[str]) -> Any:
        images = [Image.fromarray(self.images[split][i]) for i in indices]
        return self.processor(images=images, text=[[p] for p in phrases], padding=True, return_tensors="pt").to(
            self.device
        )

    def _batch(self, rng: np.random.Generator) -> list[Question]:
        """Sample questions about random pictures; most pictures with several nouns get a pair of questions.

        The target of one question of a pair is a negative of the other. Without pairs, the model learns to find any
        thing, and places such as "on the left", long before it learns nouns.
        """
        batch: list[Question] = []
        while len(batch) < self.config.batch_size:
            index = int(rng.integers(self.config.scenes))
            questions = [(index, *q) for q in _questions("train", index) if q[1]]
            nouns = [q for q in questions if q[1] in NOUNS and len(q[2]) == 1]
            if rng.random() < PAIRED and len(nouns) > 1:
                batch += [nouns[int(k)] for k in rng.choice(len(nouns), 2, replace=False)]
            elif questions:
                batch.append(questions[int(rng.integers(len(questions)))])
        return batch[: self.config.batch_size]

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = self._batch(np.random.default_rng([self.config.seed, 21, step]))
        labels = [
            {
                "class_labels": torch.zeros(len(b), dtype=torch.long, device=self.device),
                "boxes": (box_convert(torch.tensor(b), "xyxy", "cxcywh") / SIZE).to(self.device),
            }
            for _, _, b in batch
        ]
        indices = [i for i, _, _ in batch]
        with _feature_maps(self.model) as feature_maps:
            out = self.model(**self._inputs("train", indices, [p for _, p, _ in batch]), labels=labels)
        naming = naming_loss(self.naming, feature_maps[NAMED_STAGE].flatten(2).transpose(1, 2), "train", indices)
        losses = {k: out.loss_dict[k].item() for k in ("loss_ce", "loss_bbox", "loss_giou")}
        return out.loss + NAMING_WEIGHT * naming, losses | {"naming": naming.item()}

    def _best(self, indices: list[int], phrases: list[str]) -> list[tuple[Tensor, float]]:
        """Return the box with the highest score for each question, and the score."""
        inputs = self._inputs("held_out", indices, phrases)
        detections = self.processor.post_process_grounded_object_detection(
            self.model(**inputs),
            inputs.input_ids,
            threshold=0.0,
            text_threshold=0.25,
            target_sizes=[(SIZE, SIZE)] * len(indices),
        )
        return [(d["boxes"][d["scores"].argmax()].cpu(), d["scores"].max().item()) for d in detections]

    def evaluate(self) -> dict[str, float]:
        questions = [
            (i, p, b) for i in range(self.config.held_out) for p, b in _questions("held_out", i) if len(b) == 1
        ][:800]
        hits: dict[str, list[float]] = {
            "referred_object_found": [],
            "parts_found": [],
            "by_size_or_place_found": [],
            "among_different_things_found": [],
            "score_over_0.3": [],
        }
        for start in range(0, len(questions), 50):
            chunk = questions[start : start + 50]
            for (index, phrase, boxes), (best, score) in zip(
                chunk, self._best([c[0] for c in chunk], [c[1] for c in chunk]), strict=True
            ):
                hit = float(box_iou(best[None], torch.tensor(boxes)).max() >= 0.5)
                hits["referred_object_found"].append(hit)
                hits["score_over_0.3"].append(float(score > 0.3))
                nouns = [thing.noun for thing in scene("held_out", index).things]
                if phrase.split()[-1] in WEARABLES:
                    hits["parts_found"].append(hit)
                elif len(nouns) > 1 and len({*nouns}) == len(nouns):
                    hits["among_different_things_found"].append(hit)
                if " the " in phrase or phrase.startswith(("bigger", "smaller")):
                    hits["by_size_or_place_found"].append(hit)
        return {name: float(np.mean(values)) for name, values in hits.items()}

    def sheet(self) -> Image.Image:
        questions = [(i, p) for i in range(24) for p, b in _questions("held_out", i)[-1:] if b][:12]
        labelled = []
        for (i, phrase), (best, score) in zip(
            questions, self._best([a[0] for a in questions], [a[1] for a in questions]), strict=True
        ):
            picture = Image.fromarray(self.images["held_out"][i])
            ImageDraw.Draw(picture).rectangle(best.tolist(), outline=(255, 0, 0), width=2)
            labelled.append((picture, f"{phrase} {score:.2f}"))
        return panel([p for p, _ in labelled], [t for _, t in labelled], side=160)

    def save(self, scores: dict[str, Any]) -> None:
        if self.config.from_shipped:
            scores = scores | {"initialised_with": json.loads((SHIPPED / self.name / "card.json").read_text())}
        folder = self.models / "grounding_dino"
        self.model.half().save_pretrained(folder)
        self.model.float()
        self.processor.save_pretrained(folder)
        text = (
            "GroundingDinoForObjectDetection with a small Swin and a small BERT; finds what a phrase refers to. The "
            "Swin also learnt to name what each cell shows."
        )
        write_card(folder, "Picturebook Grounding DINO", text, scores)
