"""Presets of ``method=pipeline``: a pipeline class, its checkpoint, and how a request becomes arguments of its call.

A preset is checked against the signatures of its class before a model loads.
"""

import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, ClassVar

from diffusers import DiffusionPipeline

from instructedit.checks import is_number, require, require_one_of, require_whole
from instructedit.models import Checkpoint
from instructedit.parameters import check_dilate, check_flag
from instructedit.types import ConfigError

CONDITIONINGS = ("instruction", "captions", "mask")
CPU_OFFLOADS = ("none", "model", "sequential")
QUANTISATIONS = ("none", "float8", "int8", "int4")
LIBRARIES = {"int8": "bitsandbytes", "int4": "bitsandbytes"}
"""The package that each quantisation needs in addition to torch."""
CAPTIONS = ("input_caption", "edited_caption")
PER_SAMPLE = ("image", "mask", "instruction", *CAPTIONS)
"""Placeholders whose value differs between the samples of a batch."""
PLACEHOLDERS = (*PER_SAMPLE, "width", "height", "area")
"""What ``{...}`` in an argument may name; ``width``, ``height`` and ``area`` are those of the picture that is sent."""
SAMPLE_SIZE = "sample_size"
"""Value of ``size.longest`` for the side in pixels of the pictures that the denoiser was trained on."""
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class SizeRule:
    """The size at which a picture is sent: its aspect ratio is kept up to the rounding to multiples."""

    multiple: int
    """Both sides are multiples of this number of pixels."""
    longest: int | str | None = None
    """The longest side in pixels, or ``sample_size``; None keeps the request's."""
    area: int | None = None
    """The number of pixels; None keeps the request's."""
    least: int = 0
    """Minimum of the shorter side in pixels, to which smaller pictures are enlarged."""

    def __post_init__(self) -> None:
        require_whole("pipeline.size.multiple", self.multiple, 1)
        require_whole("pipeline.size.least", self.least, 0)
        if self.area is not None:
            require_whole("pipeline.size.area", self.area, 1)
        if self.longest not in (None, SAMPLE_SIZE):
            is_side = isinstance(self.longest, int) and self.longest > 0
            require(is_side, "pipeline.size.longest", self.longest, f"pixels, {SAMPLE_SIZE} and null")
        both = f"{self.longest} and area={self.area}"
        require(self.longest is None or self.area is None, "pipeline.size.longest", both, "one of the two, or none")

    def apply(self, size: tuple[int, int], sample_size: Callable[[], int]) -> tuple[int, int]:
        """Return the width and height at which a picture of ``size`` is sent.

        Args:
            size: Width and height of the request's picture.
            sample_size: Returns the denoiser's side in pixels.
        """
        width, height = size
        scale = 1.0
        if self.area is not None:
            scale = (self.area / (width * height)) ** 0.5
        elif self.longest is not None:
            longest = sample_size() if isinstance(self.longest, str) else self.longest
            scale = longest / max(size)
        scale = max(scale, self.least / min(size))
        unit = self.multiple
        lowest = -(-max(self.least, 1) // unit) * unit
        return max(round(width * scale / unit) * unit, lowest), max(round(height * scale / unit) * unit, lowest)


@dataclass(frozen=True)
class FirstCall:
    """A call before the main one, such as LEDITS++'s ``invert``."""

    method: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """A pipeline of diffusers, or of any package, as an editing method.

    Raises:
        ConfigError: A value is not accepted, or the class is missing or does not take an argument.
    """

    NON_IDENTITY_KEYS: ClassVar[frozenset[str]] = frozenset({"name", "licence", "memory_gb", "cpu_offload"})

    name: str
    """Shown in labels and messages."""
    class_name: str
    """The pipeline's class: a name in diffusers, or a dotted path."""
    checkpoint: Checkpoint
    conditioning: str
    """What the pipeline gets beside the picture. For ``mask``, InstructEdit's language processor and segmenter come
    first."""
    arguments: Mapping[str, Any]
    """Arguments of the call; texts and lists may contain :data:`PLACEHOLDERS`. The generator is always added."""
    size: SizeRule
    licence: str
    """Licence of the weights."""
    memory_gb: float | None
    """Gigabytes of the weights in the checkpoint's dtype, from the number of parameters; None if they are not fixed."""
    cpu_offload: str
    """On a GPU: ``model`` moves whole parts to it when they are needed, ``sequential`` single layers; or ``none``."""
    quantisation: str
    """Of the denoiser's weights: ``float8`` (stored in 8 bits, computed in the checkpoint's dtype), ``int8`` or
    ``int4`` (bitsandbytes, CUDA only), or ``none``."""
    scheduler: Mapping[str, Any]
    """Class (``class_name``) and options of a scheduler that replaces the checkpoint's, with its noise schedule."""
    components: Mapping[str, Any]
    """Arguments of the constructor that replace those of the checkpoint; null leaves a part out."""
    first: FirstCall | None = None
    batched: bool = False
    """Whether one call gets a batch of samples, as lists; otherwise each sample has a call of its own."""
    dilate: int = 0
    """Pixels by which masks are dilated."""

    def __post_init__(self) -> None:
        require_one_of("pipeline.conditioning", self.conditioning, CONDITIONINGS)
        require_one_of("pipeline.cpu_offload", self.cpu_offload, CPU_OFFLOADS)
        require_one_of("pipeline.quantisation", self.quantisation, QUANTISATIONS)
        check_dilate(self.dilate)
        check_flag(self.batched, "pipeline.batched")
        library = LIBRARIES.get(self.quantisation)
        if library and find_spec(library) is None:
            raise ConfigError(
                f"pipeline.quantisation={self.quantisation}: the package {library} is not installed; "
                "accepted without it are none and float8"
            )
        self._check_arguments()
        self._check_placeholders()
        self._check_values()

    @cached_property
    def kind(self) -> Any:
        """The pipeline's class."""
        return pipeline_class(self.class_name)

    @property
    def calls(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        """The key, the method and the arguments of each call, in order."""
        if self.first is not None:
            yield "pipeline.first.arguments", self.first.method, self.first.arguments
        yield "pipeline.arguments", "__call__", self.arguments

    def takes_generator(self, method: str) -> bool:
        """Return whether a method of the pipeline has a parameter named ``generator``."""
        return "generator" in inspect.signature(getattr(self.kind, method)).parameters

    def _check_arguments(self) -> None:
        for key, method, arguments in self.calls:
            function = getattr(self.kind, method, None)
            if not callable(function):
                raise ConfigError(f"pipeline.first.method={method}: {self.class_name} has no such method")
            _check_names(key, f"{self.class_name}.{method}", function, arguments, ("self", "generator"))
        _check_names("pipeline.components", self.class_name, self.kind.__init__, self.components, (), is_whole=False)
        if not any(self.takes_generator(method) for _, method, _ in self.calls):
            raise ConfigError(f"pipeline.class_name={self.class_name}: its call takes no generator, so no seed")
        if self.scheduler:
            name = self.scheduler.get("class_name")
            _attribute("pipeline.scheduler.class_name", f"diffusers.{name}")

    def _check_placeholders(self) -> None:
        used = {name for _, _, arguments in self.calls for name in placeholders(arguments)}
        for name in sorted(used):
            require_one_of("pipeline.arguments: placeholder", f"{{{name}}}", [f"{{{p}}}" for p in PLACEHOLDERS])
        needed = {"instruction": (), "captions": ("edited_caption",), "mask": ("mask",)}[self.conditioning]
        for name in ("image", *needed):
            if name not in used:
                raise ConfigError(
                    f"pipeline.arguments: none is {{{name}}}, which conditioning={self.conditioning} needs"
                )
        refused = {"instruction": (*CAPTIONS, "mask"), "captions": ("mask",), "mask": ()}[self.conditioning]
        for name in used.intersection(refused):
            other = "mask" if name == "mask" else "captions"
            raise ConfigError(f"pipeline.arguments: {{{name}}} needs pipeline.conditioning={other}")

    def _check_values(self) -> None:
        parameters = inspect.signature(self.kind.__call__).parameters

        def value(name: str) -> Any:
            default = parameters[name].default if name in parameters else None
            return self.arguments.get(name, default)

        steps, strength, scale = value("num_inference_steps"), value("strength"), value("true_cfg_scale")
        if steps is not None:
            require_whole("pipeline.arguments.num_inference_steps", steps, 1, 1000)
        if strength is not None:
            is_share = is_number(strength) and 0 < strength <= 1
            require(is_share, "pipeline.arguments.strength", strength, "numbers above 0 and up to 1")
            if steps is not None and int(strength * steps) < 1:
                raise ConfigError(
                    f"pipeline.arguments.strength={strength} of num_inference_steps={steps} leaves no step; "
                    "raise one of them"
                )
        if is_number(scale) and scale > 1 and "negative_prompt" in parameters and value("negative_prompt") is None:
            raise ConfigError(
                f"pipeline.arguments.true_cfg_scale={scale} has no effect without a negative_prompt; "
                'set pipeline.arguments.negative_prompt=" ", or true_cfg_scale=1'
            )


def pipeline_class(class_name: str) -> Any:
    """Return a pipeline class by its name in diffusers or its dotted path.

    Raises:
        ConfigError: There is no such class, or it is not a pipeline.
    """
    key = "pipeline.class_name"
    found = _attribute(key, class_name if "." in class_name else f"diffusers.{class_name}")
    if not (inspect.isclass(found) and issubclass(found, DiffusionPipeline)):
        raise ConfigError(f"{key}={class_name}: not a pipeline class; accepted are subclasses of DiffusionPipeline")
    return found


def placeholders(template: Any) -> Iterator[str]:
    """Yield the names in braces of an argument, a list of arguments or a mapping of arguments."""
    if isinstance(template, str):
        yield from _PLACEHOLDER.findall(template)
    elif isinstance(template, Mapping):
        yield from (name for value in template.values() for name in placeholders(value))
    elif isinstance(template, Sequence):
        yield from (name for value in template for name in placeholders(value))


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Replace placeholders by their values; a text that is one placeholder becomes the value itself."""
    if isinstance(template, str):
        if whole := _PLACEHOLDER.fullmatch(template):
            return values[whole.group(1)]
        return _PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), template)
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    return [filled(value, values) for value in template] if isinstance(template, list | tuple) else template


def _attribute(key: str, path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        imported = importlib.import_module(module)
        return getattr(imported, name)
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"{key}={path}: {module} cannot be imported: {str(error).splitlines()[0]}") from None
    except AttributeError:
        near = difflib.get_close_matches(name, dir(imported), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"{key}={name}: {_installed(module)} has no such class{hint}") from None


def _installed(module: str) -> str:
    try:
        return f"{module} {version(module)}"
    except PackageNotFoundError:
        return module


def _check_names(
    key: str, owner: str, function: Any, given: Mapping[str, Any], added: tuple[str, ...], is_whole: bool = True
) -> None:
    """Check names of arguments against a signature; ``**kwargs`` accepts none, as diffusers has it for old names."""
    named = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    parameters = {n: p for n, p in inspect.signature(function).parameters.items() if p.kind not in named}
    accepted = [n for n in parameters if n not in ("self", *added)]
    for name in given:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"accepted are {', '.join(accepted)}"
            raise ConfigError(f"{key}.{name}: {owner} has no such argument; {hint}")
    lacking = [n for n in accepted if parameters[n].default is inspect.Parameter.empty and n not in given]
    if is_whole and lacking:
        raise ConfigError(f"{key}: {owner} needs {', '.join(lacking)}")
