"""``scripts.models``, and runs with missing checkpoints, on caches that the tests create."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instructedit import hub
from instructedit.checkpoints import Checkpoint, checkpoints
from scripts.download import convert
from tests import hub_cache

Command = Callable[..., subprocess.CompletedProcess[str]]
SAM, CLIP = "facebook/sam-vit-huge", "openai/clip-vit-large-patch14"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``python -m MODULE ARGUMENTS`` on the cache ``tmp_path/home/hub``, offline unless told otherwise."""

    def call(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # A process of its own: the hub's package reads its variables when it is imported.
        where = {"HF_HOME": str(tmp_path / "home"), "INSTRUCTEDIT_MODELS": str(tmp_path / "weights")}
        kept = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT")}
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env={**kept, "HF_HUB_OFFLINE": "1", **where, **environment},
            cwd=hub_cache.ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def place(tmp_path: Path, key: str, *files: str) -> Path:
    """Empty files of a checkpoint of ``models=sd15`` in the cache; returns the snapshot."""
    folder = hub_cache.snapshot(tmp_path / "home" / "hub", hub_cache.preset()[key])
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_an_empty_cache_is_told_in_full_before_anything_loads(command: Command, tmp_path: Path) -> None:
    began = processor_seconds()
    done = command("scripts.run", "models=sd15", "captioner=blip2", f"results={tmp_path}")
    seconds = processor_seconds() - began
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2
    unused = ("instruct_pix2pix", "inpainting")
    for key, checkpoint in hub_cache.preset().items():
        assert (Path(checkpoint.id).name in line) != (key in unused), key
    assert line.endswith("fetch them with: python -m scripts.models fetch models=sd15")
    # Some 2 s, on an idle machine by the clock too; what imports torch first takes several times as long.
    assert seconds < 5


def processor_seconds() -> float:
    """Return the CPU seconds of finished child processes, which hardly depend on the machine's load."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def test_nothing_on_that_way_imports_torch() -> None:
    code = "import sys, scripts.run, scripts.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=hub_cache.ROOT, check=False).returncode == 0


def test_what_was_changed_stands_in_the_command(command: Command, tmp_path: Path) -> None:
    change = "models.sam=${models.optional.sam_base}"
    done = command("scripts.run", "models=sd14_official", change, f"results={tmp_path}")
    assert "facebook/sam-vit-base" in done.stderr
    assert "CompVis/stable-diffusion-v1-4" in done.stderr
    assert done.stderr.strip().endswith(f"scripts.models fetch models=sd14_official '{change}'")


def test_what_is_optional_is_fetched_by_its_key(command: Command, tmp_path: Path) -> None:
    done = command("scripts.run", "models=sd15", "segmenter=grounded_sam2", f"results={tmp_path}")
    keys = done.stderr.strip().partition("scripts.models fetch models=sd15 ")[2]
    assert keys == "'only=[language_model,grounding_dino,optional.sam2,diffusion,brisque,lpips,clip]'"


@pytest.mark.parametrize(("variant", "end"), [(None, ".safetensors"), ("fp16", ".fp16.safetensors")])
def test_the_files_of_a_transformer_pipeline_are_those_of_its_parts(
    tmp_path: Path, variant: str | None, end: str
) -> None:
    index = {
        "_class_name": "FluxPipeline", "image_encoder": [None, None],
        "transformer": ["diffusers", "FluxTransformer2DModel"], "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"], "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }  # fmt: skip
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert hub.missing_files(tmp_path, variant) == [
        "transformer/config.json", f"transformer/diffusion_pytorch_model{end}", "text_encoder/config.json",
        f"text_encoder/model{end}", "tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json",
    ]  # fmt: skip


def test_check_names_the_files_that_lack(command: Command, tmp_path: Path) -> None:
    place(tmp_path, "sam", "config.json", "model.safetensors")
    place(tmp_path, "clip", "config.json")
    place(tmp_path, "inpainting", "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.bin")
    shards = place(tmp_path, "blip2", "config.json", "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    done = command("scripts.models", "check", "models=sd15", "only=[sam,clip,inpainting,blip2,diffusion]")
    assert done.returncode == 1
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert "sam" not in lines
    assert lines["clip"] == f"{CLIP}: model.safetensors"
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in lines["inpainting"]
    assert lines["blip2"].endswith(": model-00002-of-00002.safetensors")
    assert "is not in the hub's cache" in lines["diffusion"]
    assert "python -m scripts.models fetch models=sd15" in done.stdout
    assert command("scripts.models", "check", "only=[sam]").returncode == 0


def test_list_says_what_each_is_and_where_it_lies(command: Command, tmp_path: Path) -> None:
    folder = place(tmp_path, "sam", "config.json", "model.safetensors")
    done = command("scripts.models", "list", "models=sd15", "models.clip.revision=main")
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["sam"].endswith(str(folder))
    assert "Apache-2.0" in lines["sam"]
    assert "2.6 GB" in lines["sam"]
    assert lines["diffusion"].endswith("missing")
    assert "not pinned: main" in lines["clip"]
    assert "optional.sam_base" in lines
    for key, line in lines.items():
        assert "unknown" not in line, key


def test_a_folder_of_ones_own_wins(command: Command, tmp_path: Path) -> None:
    shutil.copytree(hub_cache.SHIPPED / "sam", tmp_path / "mine")
    assert command("scripts.models", "check", "only=[sam]", f"models.sam.id={tmp_path / 'mine'}").returncode == 0
    (tmp_path / "mine" / "model.safetensors").unlink()
    done = command("scripts.models", "fetch", "only=[sam]", f"models.sam.id={tmp_path / 'mine'}")
    assert done.returncode == 1
    assert "a folder of your own" in done.stderr


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("lst", "action=lst: accepted are list, fetch, check"),
        ("only=[sma]", "only=[sma]: accepted are diffusion"),
    ],
)
def test_a_wrong_word_is_one_line(command: Command, word: str, line: str) -> None:
    done = command("scripts.models", word)
    assert done.returncode == 2
    assert line in done.stderr


class Hub(BaseHTTPRequestHandler):
    """Implements the part of the hub's protocol that a download needs."""

    FILES = {"config.json": b"{}", "model.safetensors": b"weights", "pytorch_model.bin": b"pickle", "README.md": b"-"}
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        if SAM in self.path:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif CLIP not in self.path:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif "/tree/" in self.path:
            files = [{"type": "file", "path": k, "size": len(v), "oid": "0" * 40} for k, v in self.FILES.items()]
            self._send(200, json.dumps(files).encode(), {"Content-Type": "application/json"})
        elif "/resolve/" in self.path:
            name = self.path.rpartition("/")[2]
            self._send(200, self.FILES[name], {"X-Repo-Commit": COMMIT, "ETag": f'"{name}"'})
        else:
            about = {"id": CLIP, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.FILES]}
            self._send(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A hub on loopback: CLIP is there, SAM is gated, all else was removed."""
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_cannot_be_fetched_leaves_the_others_alone(command: Command, endpoint: str, tmp_path: Path) -> None:
    arguments = ("fetch", "models=sd15", "only=[sam,grounding_dino,clip]", "models.clip.revision=main")
    online = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint}
    done = command("scripts.models", *arguments, **online)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert f"models.sam: {SAM}: gated: accept its licence at {endpoint}/{SAM}" in errors[0]
    assert "models.grounding_dino" in errors[1]
    assert "no such repository" in errors[1]
    assert f"main is {COMMIT} today; pin it with models.clip.revision={COMMIT}" in done.stdout
    folder = tmp_path / "home" / "hub" / f"models--{CLIP.replace('/', '--')}" / "snapshots" / COMMIT
    # Pickles and web pages are not downloaded.
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    downloads = sum("GET" in line and "/resolve/" in line for line in Hub.asked)
    pinned = ("only=[clip]", f"models.clip.revision={COMMIT}")
    assert command("scripts.models", "check", *pinned).returncode == 0
    assert command("scripts.models", "fetch", *pinned, **online).returncode == 0
    assert sum("GET" in line and "/resolve/" in line for line in Hub.asked) == downloads


def test_offline_fetching_says_so(command: Command) -> None:
    done = command("scripts.models", "fetch", "only=[sam]")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set: unset it" in done.stderr


def test_brisque_is_fetched_as_safetensors(command: Command, tmp_path: Path) -> None:
    published = tmp_path / "brisque_svm_weights.pt"
    torch.save((torch.ones(3, 1), torch.ones(3, 36)), published)
    done = command("scripts.models", "fetch", "only=[brisque]", f"models.brisque.source={published.as_uri()}")
    assert done.returncode == 0, done.stderr
    tensors = load_file(tmp_path / "weights" / "brisque" / "model.safetensors")
    assert tensors["support_vectors"].shape == (3, 36)


def test_another_file_is_not_taken_for_alexnet(tmp_path: Path) -> None:
    forged = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save({"features.0.weight": torch.ones(1)}, forged)
    with pytest.raises(hub.FetchError, match="not the expected file"):
        convert(forged.as_uri(), tmp_path / "lpips")
    assert not (tmp_path / "lpips").exists()


def test_every_commit_is_a_commit() -> None:
    for checkpoint in hub_cache.preset().values():
        assert checkpoint.source or hub.is_pinned(str(checkpoint.revision)), checkpoint.id


def test_presets_have_the_keys_of_picturebook() -> None:
    assert set(hub_cache.preset()) == set(hub_cache.preset("models=picturebook"))
    assert set(hub_cache.preset("models=sd14_official")) == set(hub_cache.preset())


def test_checkpoints_inside_lists_are_found() -> None:
    node = {"_target_": "instructedit.models.Checkpoint", "id": "a/b", "revision": COMMIT}
    assert list(checkpoints({"methods": [{"diffusion": node}]})) == [Checkpoint("a/b", COMMIT)]
