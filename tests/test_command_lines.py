"""Command lines as people type them, right and wrong: the exit code, and the one line that they get."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {"report": "report", "publish": "publish", "train": "train"}
CAPTIONS = "takes captions.input=... and captions.edited=..., both"
LION = "Change the bigger cat to a lion"

WRONG = [
    # A value at the top of the configuration
    ("run", ["ratio=abc"], "ratio=abc: accepted are numbers above 0 and up to 1, such as 0.7"),
    ("run", ["ratio=[]"], "ratio=[]: accepted are numbers above 0"),
    ("run", ["ratio=null"], "ratio=None: accepted are numbers above 0"),
    ("run", ["ratio=auto"], "wrapper=auto_ratio chooses one for each sample"),
    ("run", ["ratio=true"], "ratio=True: accepted are numbers above 0"),
    ("run", ["ratio=0"], "ratio=0: accepted are numbers above 0"),
    ("run", ["ratio=1.5"], "ratio=1.5: accepted are numbers above 0"),
    ("run", ["ratio=nan"], "ratio=nan: accepted are numbers above 0"),
    ("run", ["theta=1"], "theta=1: accepted are numbers between 0 and 1"),
    ("run", ["theta=high"], "theta=high: accepted are numbers between 0 and 1"),
    ("run", ["start=-1"], "start=-1: accepted are whole numbers from 0 on"),
    ("run", ["end=2.5"], "end=2.5: accepted are whole numbers from 0 on"),
    ("run", ["guidance_scale=-1"], "guidance_scale=-1: accepted are numbers from 0 on"),
    ("run", ["image_guidance_scale=x"], "image_guidance_scale=x: accepted are numbers from 0 on"),
    ("run", ["dilate=1.5"], "dilate=1.5: accepted are whole numbers"),
    ("run", ["seed=-1"], "seed=-1: accepted are whole numbers from 0 on"),
    ("run", ["seed=0.5"], "seed=0.5: accepted are whole numbers from 0 on"),
    ("run", ["variation=one"], "variation=one: accepted are whole numbers from 0 on"),
    ("run", ["limit=0"], "limit=0: accepted are whole numbers from 1 on"),
    ("run", ["limit=all"], "limit=all: accepted are whole numbers from 1 on"),
    ("run", ["batch_size=0"], "batch_size=0: accepted are whole numbers from 1 on"),
    ("run", ["max_side=10"], "max_side=10: accepted are whole numbers from 64 on, or null"),
    ("run", ["paste_back=1"], "paste_back=1: accepted are true and false"),
    ("run", ["device=gpu"], "device=gpu: accepted are auto, cpu, cuda, cuda:N and mps"),
    ("run", ["retry_failed=no"], "retry_failed=no: accepted are true and false"),
    ("run", ["retry_failed=maybe"], "retry_failed=maybe: accepted are true and false"),
    ("run", ["fail_on_error=abc"], "fail_on_error=abc: accepted are true, false, a share"),
    ("run", ["fail_on_error=-1"], "fail_on_error=-1: accepted are true, false, a share"),
    ("run", ["fail_on_error=0"], "fail_on_error=0: accepted are true, false, a share"),
    ("run", ["fail_on_error=1.5"], "fail_on_error=1.5: accepted are true, false, a share"),
    ("run", ["results=README.md"], "results=README.md: accepted are a folder that can be written"),
    ("run", ["results=/proc/none"], "results=/proc/none: No such file or directory; a folder that can be written"),
    ("run", ["auto.ratios=0.5"], "auto.ratios=0.5: accepted are a list of numbers"),
    ("run", ["auto.ratios=[0.5,2]"], "auto.ratios=2: accepted are numbers above 0"),
    ("run", ["auto.weight=-1"], "auto.weight=-1: accepted are numbers from 0 on"),
    ("run", ["tuning=3"], "tuning=3: accepted are null, or {weight: <number>}"),
    # A value below a component
    ("run", ["segmenter.select=all"], "segmenter.select=all: accepted are union, best, first"),
    ("run", ["segmenter.box_threshold=2"], "segmenter.box_threshold=2: accepted are 0 to 1"),
    ("run", ["method.editor.blend=poisson"], "blend=poisson: accepted are paper, official"),
    ("run", ["method=mdp", "start=30", "end=20"], "start=30, end=20: accepted are steps 0 <= start <= end <= 50"),
    ("run", ["models.sam.id=no/such"], "'no/such': no such folder, and a hub id needs a pinned revision"),
    # A key or a choice
    ("run", ["ratoi=0.5"], "unknown key 'ratoi'; did you mean ratio?"),
    ("run", ["segmenter.box_treshold=0.5"], "did you mean segmenter.box_threshold"),
    ("run", ["method.editor.blnd=paper"], "did you mean method.editor.blend"),
    ("run", ["language.modle=x"], "did you mean language.model"),
    ("run", ["method=photoshop"], "method=photoshop: accepted are blended_latent, diffedit"),
    ("run", ["benchmark=imagenet"], "benchmark=imagenet: accepted are emu_edit, folder"),
    ("run", ["experiment=table2"], "experiment=table2: accepted are ablation"),
    ("run", ["segmenter=sam3"], "segmenter=sam3: accepted are grounded_sam"),
    ("run", ["models=sd3"], "models=sd3: accepted are picturebook"),
    ("run", ["benchmark=folder"], "benchmark=folder needs benchmark.folder="),
    ("run", ["benchmark=folder", "benchmark.folder=nowhere"], "nowhere: no manifest.jsonl there"),
    ("run", ["models=sd15"], "python -m scripts.models fetch models=sd15"),
    # What Hydra's grammar refuses
    ("run", ["lion"], "'lion' cannot be read"),
    ("run", ["ratio=["], "'ratio=[' cannot be read"),
    ("run", ["ratio=0.5,0.7"], "ratio"),
    # Pictures
    ("edit", [], "image=... is needed"),
    ("edit", ["cat.png"], "instruction=... is needed"),
    ("edit", ["instruction=x"], "image=... is needed"),
    ("edit", ["image=cat.png", "instruction="], "instruction=... is needed"),
    ("edit", ["nowhere, or there.png", LION], "nowhere, or there.png: no such file"),
    ("edit", ["README.md", LION], "README.md: not a picture"),
    ("edit", ["conf", LION], "image=conf: no pictures in it; accepted are PNG"),
    ("edit", ["a.png", "b c", "d e"], "'d e' has no key; accepted without one: image and instruction"),
    ("edit", ["{cat}", LION, "ratio=2"], "ratio=2: accepted are numbers above 0"),
    ("edit", ["{cat}", LION, "method=mdp", "captions.input=a cat"], CAPTIONS),
    ("edit", ["{cat}", LION, "method=diffedit"], f"method=diffedit {CAPTIONS}"),
    # Reports and trainings
    ("report", ["results=nowhere"], "no runs in nowhere/runs; python -m scripts.run"),
    ("report", ["pictures=gif"], "pictures=gif: accepted are linked, copied, webp, inline, or null"),
    ("report", ["interval=wald"], "interval=wald: accepted are bca, studentised"),
    ("report", ["samples=0"], "samples=0: accepted are whole numbers from 1 on"),
    ("report", ["benchmark=imagenet"], "benchmark=imagenet: accepted are emu_edit, folder"),
    ("train", [], "component=<name> is needed: accepted are alexnet"),
    ("train", ["component=vae"], "component=vae: accepted are alexnet"),
]  # fmt: skip


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Run a script's main in this process, with its results in a temporary folder."""
    monkeypatch.chdir(ROOT)
    cat = tmp_path / "the cat's, big & small.png"
    Image.new("RGB", (128, 128), "green").save(cat)

    def run(script: str, *arguments: str) -> int:
        GlobalHydra.instance().clear()
        given = [str(cat) if a == "{cat}" else a for a in arguments]
        results = [] if script == "train" or any(a.startswith("results=") for a in given) else [f"results={tmp_path}"]
        monkeypatch.setattr(sys, "argv", [script, *given, *results])
        module = import_module(f"scripts.{script}")
        code: int = module.launch(module.task, CONFIGS[script]) if script in CONFIGS else module.main()
        return code

    return run


@pytest.mark.parametrize(("script", "arguments", "line"), WRONG, ids=[" ".join([s, *a])[:60] for s, a, _ in WRONG])
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    call: Callable[..., int], capfd: pytest.CaptureFixture[str], script: str, arguments: list[str], line: str
) -> None:
    assert call(script, *arguments) == 2
    (said,) = capfd.readouterr().err.strip().splitlines()
    assert line in said


def run_module(*arguments: str, folder: Path = ROOT) -> tuple[int, str, float]:
    """Run ``python -m`` in a process of its own; returns the exit code, all output and the CPU seconds."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return done.returncode, done.stdout, spent


@pytest.mark.parametrize("arguments", [["ratio=abc"], ["segmenter.box_treshold=0.5"], ["experiment=table2"]])
def test_a_wrong_value_is_refused_before_torch_is_imported(arguments: list[str]) -> None:
    code, said, seconds = run_module("scripts.run", *arguments)
    assert code == 2
    assert said.count("\n") == 1
    assert seconds < 6  # measured: 1 s with bytecode


@pytest.mark.parametrize("script", ["run", "edit", "report", "publish", "models"])
def test_help_is_quick(script: str) -> None:
    code, said, seconds = run_module(f"scripts.{script}", "--help")
    assert code == 0
    assert "key=value" in said or "==" in said
    assert seconds < 7  # measured: 1.0 to 1.6 s with bytecode


def test_commands_run_from_any_folder(tmp_path: Path) -> None:
    code, said, _ = run_module("scripts.run", "limit=1", "metric=none", folder=tmp_path)
    assert code == 0, said
    assert {p.name for p in tmp_path.iterdir()} == {"results"}
    code, said, _ = run_module("scripts.report", folder=tmp_path)
    assert code == 0, said
    assert (tmp_path / "results" / "report" / "index.html").is_file()


@pytest.mark.parametrize("seconds", [0.0, 2.0])
def test_an_interruption_is_one_line(tmp_path: Path, seconds: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.run", f"results={tmp_path}", "limit=2"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    # The interpreter itself takes a moment before it runs any of our code.
    time.sleep(0.15 + seconds)
    process.send_signal(2)
    said, _ = process.communicate(timeout=120)
    assert process.returncode in (130, -2)
    assert "Traceback" not in said
    assert said.count("interrupted") == 1
