"""Any editing pipeline of diffusers as a method: the adapter from a request to the pipeline's call, and back.

:class:`PipelineMethod` is for pipelines that get the instruction or the captions, :class:`PipelineEditor` for those
that also get a mask, which InstructEdit's language processor and segmenter make. What differs between pipelines is in
their :class:`~baselines.preset.Preset`.
"""

import gc
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from jaxtyping import Bool
from PIL import Image

from baselines.autoencoders import DeterministicAutoencoder
from baselines.base import MaskEditor, with_captions
from baselines.preset import PER_SAMPLE, Preset, filled, placeholders
from instructedit.cache import StageCache, code_of, hash_image
from instructedit.editor import Edited, finished_edits
from instructedit.images import mask_image
from instructedit.latent_diffusion import generator
from instructedit.models import Context
from instructedit.stages import Progress, run_stages
from instructedit.types import (
    Captions,
    ConfigError,
    EditRequest,
    EditResult,
    Failure,
    Method,
    PipelineCall,
    Stage,
    StageError,
)

DENOISERS = ("transformer", "unet")
"""Names of the part that predicts noise or velocity."""


class PipelineMethod(Method):
    """A pipeline that is conditioned on the instruction or on the captions.

    Args:
        context: Models, cache and device.
        preset: The pipeline.
    """

    def __init__(self, context: Context, preset: Preset) -> None:
        self.runner = PipelineRunner(context, preset)
        self.needs_captions = preset.conditioning == "captions"

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | Failure]:
        """Edit a batch. A request fails if the pipeline needs captions and it has none."""
        return run_stages(requests, (Stage.EDITOR, self._edit))

    def _edit(self, alive: list[Progress]) -> None:
        if self.needs_captions:
            alive = with_captions(alive, self.runner.preset.name)
        captions = [p.decisions.captions for p in alive]
        edits = self.runner.edit([p.request for p in alive], captions, [None] * len(alive))
        for p, edited in zip(alive, edits, strict=True):
            p.decisions = replace(p.decisions, call=edited.call)
            p.image, p.evaluations, p.cached_evaluations = edited.image, edited.evaluations, edited.cached


class PipelineEditor(MaskEditor):
    """An :class:`instructedit.editor.Editor` on a pipeline that edits inside a mask.

    Args:
        context: Models, cache and device.
        preset: The pipeline.
    """

    def __init__(self, context: Context, preset: Preset) -> None:
        self.runner, self.dilate = PipelineRunner(context, preset), preset.dilate

    def _edit(
        self, requests: list[EditRequest], captions: list[Captions], masks: list[Bool[np.ndarray, "_ _"]]
    ) -> list[Edited]:
        return self.runner.edit(requests, captions, masks)


class PipelineRunner:
    """Calls a pipeline for requests. Edits are cached, with the size that the pipeline returned.

    Args:
        context: Models, cache and device.
        preset: The pipeline.
    """

    def __init__(self, context: Context, preset: Preset) -> None:
        self.context, self.preset = context, preset

    @property
    def pipeline(self) -> Any:
        """The pipeline, which is loaded once; the process keeps one, because two may not fit into a GPU's memory."""
        preset, pool, device = self.preset, self.context.pool, self.context.device
        parts = {"components": dict(preset.components), "scheduler": dict(preset.scheduler)}
        options = preset.quantisation, preset.cpu_offload, json.dumps(parts, sort_keys=True)
        key = (preset.kind, preset.checkpoint, str(device), *options)
        loaded: dict[Any, Any] = pool.get((PipelineRunner,), dict)
        if key not in loaded:
            loaded.clear()
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            loaded[key] = _placed(load(preset), preset, device, pool.compiler)
        return loaded[key]

    def edit(
        self,
        requests: Sequence[EditRequest],
        captions: Sequence[Captions | None],
        masks: Sequence[Bool[np.ndarray, "_ _"] | None],
    ) -> list[Edited]:
        """Edit images; the results have the requests' sizes.

        Args:
            requests: The requests.
            captions: One pair per request, or None if the preset uses no captions.
            masks: One per request, of its size, or None if the preset uses no mask.
        """
        values = [self._values(*one) for one in zip(requests, captions, masks, strict=True)]
        keys = [self._key(r, v) for r, v in zip(requests, values, strict=True)]
        edits = finished_edits(
            self.context.cache, keys, lambda some: self._compute([requests[i] for i in some], [values[i] for i in some])
        )
        return [
            replace(e, image=_resized(e.image, r.image.size), call=PipelineCall(self._described(v), e.image.size))
            for e, r, v in zip(edits, requests, values, strict=True)
        ]

    def _values(
        self, request: EditRequest, captions: Captions | None, mask: Bool[np.ndarray, "_ _"] | None
    ) -> dict[str, Any]:
        """Return the value of each placeholder for a request."""
        size = self.preset.size.apply(request.image.size, self._sample_size)
        values = {
            "image": _resized(request.image, size), "instruction": request.instruction, "width": size[0],
            "height": size[1], "area": size[0] * size[1],
        }  # fmt: skip
        if captions is not None:
            values |= {"input_caption": captions.input, "edited_caption": captions.edited}
        if mask is not None:
            values["mask"] = mask_image(mask).resize(size, Image.Resampling.NEAREST)
        return values

    def _sample_size(self) -> int:
        pipeline = self.pipeline
        return int(denoiser(pipeline).config["sample_size"]) * int(pipeline.vae_scale_factor)

    def _described(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of all calls as JSON values; pictures are described by mode and size."""
        described = {
            name: f"{value.mode} {value.width} x {value.height}" if isinstance(value, Image.Image) else value
            for name, value in values.items()
        }
        sent: dict[str, Any] = {}
        for _, method, arguments in self.preset.calls:
            prefix = "" if method == "__call__" else f"{method}."
            sent |= {f"{prefix}{name}": value for name, value in filled(dict(arguments), described).items()}
        return sent

    def _key(self, request: EditRequest, values: Mapping[str, Any]) -> str:
        preset = self.preset
        pictures = {name: hash_image(values[name]) for name in ("image", "mask") if name in values}
        return StageCache.key(
            Stage.EDIT, code_of(PipelineRunner, Preset), **pictures, sent=self._described(values), sample=request.id,
            seed=request.seed, pipeline=preset.class_name, scheduler=dict(preset.scheduler),
            components=dict(preset.components), quantisation=preset.quantisation, diffusers=version("diffusers"),
            model=preset.checkpoint.fingerprint,
        )  # fmt: skip

    def _compute(self, requests: list[EditRequest], values: list[dict[str, Any]]) -> list[Edited]:
        """Call the pipeline: once per sample, or once per working size if the preset is batched."""
        groups = [[i] for i in range(len(requests))]
        if self.preset.batched:
            sizes = [v["image"].size for v in values]
            groups = [[i for i, size in enumerate(sizes) if size == one] for one in dict.fromkeys(sizes)]
        edits: dict[int, Edited] = {}
        for group in groups:
            images, nfe = self._call([requests[i] for i in group], [values[i] for i in group])
            edits |= {i: Edited(image, dict(nfe)) for i, image in zip(group, images, strict=True)}
        return [edits[i] for i in range(len(requests))]

    @torch.no_grad()
    def _call(
        self, requests: list[EditRequest], values: list[dict[str, Any]]
    ) -> tuple[list[Image.Image], dict[str, int]]:
        preset, pipeline = self.preset, self.pipeline
        # Each sample has a generator of its own, which all calls for it use in turn.
        generators = [generator(r, Stage.EDITOR) for r in requests]
        nfe: dict[str, int] = {}
        output: Any = None
        for _, method, arguments in preset.calls:
            given = merged(arguments, values) if preset.batched else filled(dict(arguments), values[0])
            if preset.takes_generator(method):
                given["generator"] = generators if preset.batched else generators[0]
            function = pipeline if method == "__call__" else getattr(pipeline, method)
            with counted(denoiser(pipeline)) as counts:
                output = function(**given)
            stage = Stage.EDIT if method == "__call__" else Stage.INVERSION
            nfe[stage] = round(sum(counts) / len(requests))
        images = [image.convert("RGB") for image in output.images]
        if len(images) != len(requests):
            raise StageError(Stage.EDITOR, f"{preset.name} returned {len(images)} images for {len(requests)} samples")
        return images, nfe


def merged(arguments: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the arguments of a call for several samples: lists for what differs, and for all prompts."""
    return {
        name: [filled(template, one) for one in values]
        if set(placeholders(template)).intersection(PER_SAMPLE) or name.startswith(("prompt", "negative_prompt"))
        else filled(template, values[0])
        for name, template in arguments.items()
    }


def denoiser(pipeline: Any) -> Any:
    """Return the part of a pipeline that predicts noise or velocity.

    Raises:
        ConfigError: It has none of :data:`DENOISERS`.
    """
    for name in DENOISERS:
        if (part := getattr(pipeline, name, None)) is not None:
            return part
    raise ConfigError(f"pipeline.class_name={type(pipeline).__name__}: it has no part named {' or '.join(DENOISERS)}")


@contextmanager
def counted(network: torch.nn.Module) -> Iterator[list[int]]:
    """Record the batch size of each forward pass of a network, whose sum is the number of function evaluations."""
    counts: list[int] = []

    def count(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counts.append(len(args[0] if args else next(iter(kwargs.values()))))

    handle = network.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield counts
    finally:
        handle.remove()


def load(preset: Preset) -> Any:
    """Load a pipeline from safetensors, on the CPU: by its ``model_index.json``, or from the parts of its folder.

    Raises:
        ConfigError: The checkpoint is missing or cannot be loaded.
    """
    checkpoint, kind = preset.checkpoint, preset.kind
    folder = checkpoint.folder
    options: dict[str, Any] = {"torch_dtype": getattr(torch, checkpoint.dtype), "use_safetensors": True}
    if checkpoint.variant and any(folder.glob(f"*/*.{checkpoint.variant}*.safetensors")):
        options["variant"] = checkpoint.variant
    try:
        if (folder / "model_index.json").is_file():
            if preset.quantisation in ("int8", "int4"):
                options["quantization_config"] = _bitsandbytes(preset.quantisation, checkpoint.dtype)
            pipeline = kind.from_pretrained(str(folder), local_files_only=True, **options, **preset.components)
        elif preset.quantisation in ("int8", "int4"):
            raise ConfigError(f"pipeline.quantisation={preset.quantisation}: {checkpoint.id} has no model_index.json")
        else:
            required = [n for n, p in inspect.signature(kind).parameters.items() if p.default is p.empty]
            names = [n for n in required if n not in preset.components]
            parts = {name: _part(checkpoint.part_folder(name) / name, options) for name in names}
            if isinstance(vae := parts.get("vae"), DeterministicAutoencoder):
                vae.describe_as_kl(parts["unet"].config["sample_size"])
            pipeline = kind(**parts, **preset.components)
    except (OSError, ValueError, TypeError) as error:
        line = str(error).splitlines()[0]
        raise ConfigError(f"{preset.class_name} cannot be loaded from {checkpoint.id}: {line}") from error
    pipeline.set_progress_bar_config(disable=True)
    if preset.scheduler:
        changes = {k: v for k, v in preset.scheduler.items() if k != "class_name"}
        scheduler = getattr(diffusers, str(preset.scheduler["class_name"]))
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **changes)
    return pipeline


def _placed(pipeline: Any, preset: Preset, device: torch.device, compiler: str | None) -> Any:
    network = denoiser(pipeline)
    if preset.quantisation == "float8":
        dtype = getattr(torch, preset.checkpoint.dtype)
        network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    if compiler:
        network.compile(backend=compiler)
    if preset.cpu_offload == "none" or device.type == "cpu":
        return pipeline.to(device)
    offload = {"model": "enable_model_cpu_offload", "sequential": "enable_sequential_cpu_offload"}[preset.cpu_offload]
    getattr(pipeline, offload)(device=device)
    return pipeline


def _bitsandbytes(quantisation: str, dtype: str) -> Any:
    bits = quantisation.removeprefix("int")
    options: dict[str, Any] = {f"load_in_{bits}bit": True}
    if bits == "4":
        options["bnb_4bit_compute_dtype"] = getattr(torch, dtype)
    return diffusers.PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{bits}bit", quant_kwargs=options, components_to_quantize=list(DENOISERS)
    )


def _part(folder: Path, options: Mapping[str, Any]) -> Any:
    """Load a part of the class that its own configuration names."""
    if (folder / "scheduler_config.json").is_file():
        kind = getattr(diffusers, json.loads((folder / "scheduler_config.json").read_text())["_class_name"])
        return kind.from_pretrained(str(folder), local_files_only=True)
    if (folder / "tokenizer_config.json").is_file():
        return transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    config = json.loads((folder / "config.json").read_text())
    options = {k: v for k, v in options.items() if k != "variant"}
    if "_class_name" in config:
        name = config["_class_name"]
        kind = DeterministicAutoencoder if name == "AutoencoderDC" else getattr(diffusers, name)
        return kind.from_pretrained(str(folder), local_files_only=True, **options).eval()
    kind = getattr(transformers, config["architectures"][0])
    options["dtype"] = options.pop("torch_dtype")
    return kind.from_pretrained(str(folder), local_files_only=True, **options).eval()


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
