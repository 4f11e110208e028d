"""Checkpoints are identified by content and loaded once."""

import hashlib
import os
import shutil
import time
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from instructedit import checkpoints
from instructedit.cache import StageCache
from instructedit.models import Checkpoint, Context, ModelPool
from instructedit.types import ConfigError
from tests import tiny


def test_a_checkpoint_is_what_is_in_it_not_where_it_lies(tmp_path: Path) -> None:
    tiny.unet().save_pretrained(tmp_path / "a" / "unet")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "README.md").write_text("other words")
    first, second = Checkpoint(str(tmp_path / "a")), Checkpoint(str(tmp_path / "b"))
    assert first.fingerprint == second.fingerprint
    tiny.unet(in_channels=8).save_pretrained(tmp_path / "c" / "unet")
    assert Checkpoint(str(tmp_path / "c")).fingerprint != first.fingerprint
    assert Checkpoint(str(tmp_path / "a"), dtype="float16").fingerprint != first.fingerprint


def test_a_hub_id_needs_a_pinned_revision() -> None:
    with pytest.raises(ConfigError, match="pinned revision"):
        Checkpoint("somebody/model")
    assert Checkpoint("somebody/model", "abc").fingerprint["revision"] == "abc"


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="float32, float16, bfloat16"):
        Checkpoint(str(tmp_path), dtype="int4")


def test_a_model_loads_once_without_gradients(tmp_path: Path) -> None:
    tiny.unet().save_pretrained(tmp_path / "unet")
    pool, checkpoint, cpu = ModelPool(), Checkpoint(str(tmp_path)), torch.device("cpu")
    first = pool.model(UNet2DConditionModel, checkpoint, cpu, "unet")
    assert pool.model(UNet2DConditionModel, checkpoint, cpu, "unet") is first
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())
    pool.clear()
    assert len(pool) == 0


def test_a_folder_without_safetensors_is_one_clear_line(tmp_path: Path) -> None:
    tiny.unet().save_pretrained(tmp_path / "unet", safe_serialization=False)
    with pytest.raises(ConfigError, match="UNet2DConditionModel cannot be loaded from .*unet"):
        ModelPool().model(UNet2DConditionModel, Checkpoint(str(tmp_path)), torch.device("cpu"), "unet")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="accepted are auto, cpu, cuda"):
        Context.create(None, "quantum")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            Context.create(None, "cuda")
    assert Context.create(None, "cpu").cache.root is None
    assert StageCache(None).root is None


def test_a_folder_is_hashed_again_only_when_a_file_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(checkpoints, "SETTLED_SECONDS", 0)
    weights, read = tmp_path / "model" / "model.safetensors", list[str]()
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    digest = hashlib.file_digest

    def reading(file: BufferedReader, name: str) -> Any:
        read.append(file.name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", reading)

    def hashed() -> str:
        checkpoints.folder_hash.cache_clear()
        return checkpoints.folder_hash(weights.parent)

    time.sleep(0.05)
    first = hashed()
    assert hashed() == first
    assert len(read) == 1
    times = weights.stat()
    weights.write_bytes(b"two")  # of the same size, and with its time set back
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hashed() != first
    assert len(read) == 2
    (entry,) = (tmp_path / "kept").iterdir()
    entry.write_text("{")
    time.sleep(0.05)
    assert hashed() != first


def test_models_that_wait_make_room_for_the_next_one(tmp_path: Path) -> None:
    """On a device that holds two of the three networks, beside what is kept free."""
    folder = tiny.save_diffusion(tmp_path / "sd")
    device, moved = torch.device("cpu"), list[str]()

    class Watched(UNet2DConditionModel):
        def to(self, *args: Any, **kwargs: Any) -> Any:
            moved.append(f"{self.number} to {args[0]}")
            return super().to(*args, **kwargs)

    kinds = [type(f"UNet{n}", (Watched,), {"number": n}) for n in range(3)]
    size = sum(p.numel() * p.element_size() for p in tiny.unet().parameters())
    capacity = 2 * size + 2**30  # GiB are kept free
    pool = ModelPool(lambda _: capacity - size * len(pool._resident))
    pool.offload = 1.0

    def use(number: int) -> Any:
        return pool.model(kinds[number], Checkpoint(str(folder)), device, "unet")

    first, second = use(0), use(1)
    assert use(0) is first  # used later than the second now
    moved.clear()
    third = use(2)
    assert moved == ["1 to cpu", "2 to cpu"]
    moved.clear()
    assert (use(0), use(2)) == (first, third)
    assert moved == []  # both are where they are needed
    assert use(1) is second
    assert moved == ["0 to cpu", "1 to cpu"]


def test_a_compiled_noise_predictor_gives_the_same(tmp_path: Path) -> None:
    folder = tiny.save_diffusion(tmp_path / "sd")
    plain, compiled = ModelPool(), ModelPool()
    compiled.compiler = "eager"  # the tracing is that of other backends, without their compiler
    latents, states = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 32)
    first, second = (
        pool.model(UNet2DConditionModel, Checkpoint(str(folder)), torch.device("cpu"), "unet")
        for pool in (plain, compiled)
    )
    assert second._compiled_call_impl is not None
    with torch.no_grad():
        torch.testing.assert_close(first(latents, 1, states).sample, second(latents, 1, states).sample)
