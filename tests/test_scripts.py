"""The scripts with the shipped models: wrong configurations, one picture, and a small sweep run twice."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from eval.runs.plan import plan
from eval.runs.records import EditRecord
from eval.runs.store import RunStore
from instructedit.models import POOL
from scripts import edit as edit_script
from scripts import run as run_script
from scripts import status as status_script
from scripts import tables as tables_script
from scripts import train as train_script

ROOT = Path(__file__).resolve().parents[1]
BENCHMARK = ROOT / "data" / "picturebook" / "benchmark"
METHODS = ("instructedit", "diffedit", "mdp", "instruct_pix2pix", "sd_inpainting")
Script = Callable[..., int]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    """Run a script's main with arguments, its results under tmp_path; returns the exit code."""
    monkeypatch.chdir(ROOT)

    def call(main: Callable[[], int], *arguments: str, results: bool = True) -> int:
        GlobalHydra.instance().clear()
        extra = [f"results={tmp_path}"] if results else []
        monkeypatch.setattr(sys, "argv", ["script", *arguments, *extra])
        return main()

    return call


def edit_main() -> int:
    return edit_script.main()


def train_main() -> int:
    return train_script.launch(train_script.task, "train")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["ratio=0"], "ratio=0: accepted are numbers above 0 and up to 1"),
        (["ratio=1.5"], "ratio=1.5: accepted are numbers above 0 and up to 1"),
        (["method=photoshop"], "method=photoshop: accepted are"),
        (["benchmark=imagenet"], "benchmark=imagenet: accepted are"),
        (["ratoi=0.5"], "unknown key 'ratoi'; did you mean ratio?"),
        (["batch_size=0"], "batch_size=0: accepted are whole numbers from 1 on"),
        (["benchmark=folder"], "benchmark=folder needs benchmark.folder="),
        (["segmenter.select=all"], "segmenter.select=all: accepted are union, best, first"),
        (["method.editor.blend=poisson"], "blend=poisson: accepted are paper, official"),
        (["device=quantum"], "accepted are auto, cpu, cuda"),
        (["models.sam.id=no/such"], "no such folder, and a hub id needs a pinned revision"),
        (["ratio=["], "ratio=["),
        (["method=diffedit", "theta=1"], "theta=1: accepted are numbers between 0 and 1"),
        (["method=diffedit", "method.variant=best"], "accepted are paper, diffusers, instructedit"),
        (["method=mdp", "start=30", "end=20"], "start=30, end=20: accepted are steps 0 <= start <= end <= 50"),
        (["method=instruct_pix2pix", "method.sampler=heun"], "accepted are ddim, euler_ancestral"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(
    script: Script, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert script(run_script.main, *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert line in error[0]


def test_a_folder_without_a_manifest_is_one_line(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert script(run_script.main, "benchmark=folder", f"benchmark.folder={tmp_path}") == 2
    assert "manifest.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["diffedit", "mdp"])
def test_a_caption_driven_method_needs_a_benchmark_with_captions(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path, method: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "cat.png")
    (folder / "manifest.jsonl").write_text('{"id": "cat", "image": "cat.png", "instruction": "Change the cat"}\n')
    loaded = len(POOL)
    arguments = (f"method={method}", "benchmark=folder", f"benchmark.folder={folder}")
    assert script(run_script.main, *arguments) == 2
    assert (
        f"method={method} is caption-conditioned, and sample cat of benchmark mine has none" in capsys.readouterr().err
    )
    assert len(POOL) == loaded
    picture = f"image={folder / 'cat.png'}"
    assert script(edit_main, f"method={method}", picture, 'instruction="Change the cat"') == 2
    assert f"method={method} takes captions.input=... and captions.edited=..., both" in capsys.readouterr().err


def test_hyperparameters_that_a_method_lacks_leave_its_runs_alone() -> None:
    def run_id(*overrides: str) -> str:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return plan(compose("config", list(overrides))).run_id

    assert run_id("method=mdp", "ratio=0.5") == run_id("method=mdp", "theta=0.3", "image_guidance_scale=2")
    assert run_id("method=diffedit", "start=5") == run_id("method=diffedit")
    assert run_id("method=sd_inpainting", "ratio=0.9") == run_id("method=sd_inpainting")
    assert run_id("method=instruct_pix2pix", "theta=0.3") == run_id("method=instruct_pix2pix")
    ids = {run_id(f"method={m}", "guidance_scale=5") for m in METHODS} | {run_id(f"method={m}") for m in METHODS}
    assert len(ids) == 2 * len(METHODS)


def test_diffedits_theta_sweep_beside_instructedit(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert script(run_script.main, "experiment=theta", "theta=0.4,0.6", "limit=1", "metric=none") == 0
    out = capsys.readouterr().out
    assert "1 jobs share a run with another: no hyperparameter of the run differs" in out
    assert "instructedit ratio=0.7: 1 new" in out  # by the first of the two jobs that share it
    for label in ("instructedit", "theta=0.4", "theta=0.6"):
        assert label in out
    records = [RunStore(tmp_path, folder.name).finished() for folder in (tmp_path / "runs").iterdir()]
    assert len(records) == 3
    costs = [
        r.evaluations for run in records for r in run.values() if isinstance(r, EditRecord) and "mask" in r.evaluations
    ]
    assert sorted(c["mask"] for c in costs) == [0, 20]
    assert len(list((tmp_path / "sheets").glob("*.png"))) == 1


def test_runs_that_differ_in_a_choice_have_labels_that_say_so(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(run_script.main, "-m", "language=local,rules", "limit=1", "metric=none") == 0
    out = capsys.readouterr().out
    assert "instructedit ratio=0.7 language=local: 1 new" in out
    assert "instructedit ratio=0.7 language=rules: 1 new" in out


def test_a_wrong_cell_does_not_end_a_sweep(script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert script(run_script.main, "-m", "ratio=1.5,0.5", "limit=1", "metric=none") == 2
    assert "ratio=1.5" in capsys.readouterr().err
    (run,) = (tmp_path / "runs").iterdir()
    assert len(RunStore(tmp_path, run.name).finished()) == 1


def test_one_picture_leaves_image_mask_panel_and_trace(script: Script, tmp_path: Path) -> None:
    image = next((BENCHMARK / "images").glob("same_01*.png"))
    code = script(
        edit_main, f"image={image}", "instruction='Change the bigger cat to a lion'", "segmenter.box_threshold=0.1",
        f"out={tmp_path / 'out'}",
    )  # fmt: skip
    trace = json.loads((tmp_path / "out" / "trace.json").read_text())
    assert trace["decisions"]["segmentation_prompt"] == "bigger cat"
    assert trace["decisions"]["captions"] == {"input": "photo of a cat", "edited": "photo of a lion"}
    assert code == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"edited.png", "mask.png", "panel.png", "trace.json"}
    assert Image.open(tmp_path / "out" / "edited.png").size == Image.open(image).size


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("Change the cat to a giraffe", ["giraffe", "models=sd15", "language=openai"]),
        ("Change the giraffe to a cat", ["giraffe"]),
    ],
)
def test_a_word_never_seen_is_named_with_what_helps(
    script: Script, capsys: pytest.CaptureFixture[str], instruction: str, message: list[str]
) -> None:
    image = next((BENCHMARK / "images").glob("same_01*.png"))
    assert script(edit_main, f"image={image}", f"instruction='{instruction}'") == 1
    error = capsys.readouterr().err
    assert all(part in error for part in message)


def test_an_instruction_that_names_nothing_in_the_picture_fails_at_the_segmenter(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((BENCHMARK / "images").glob("same_01*.png"))
    code = script(
        edit_main, f"image={image}", "instruction='Change the zebra to a pizza'", "segmenter.box_threshold=0.99"
    )
    assert code == 1
    assert "no box found for 'zebra'" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["image", "instruction"])
def test_what_is_missing_is_asked_for(script: Script, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    given = {"image": "image=a.png", "instruction": "instruction=x"}
    del given[missing]
    assert script(edit_main, *given.values()) == 2
    assert f"{missing}=... is needed" in capsys.readouterr().err


def test_a_picture_that_is_not_there_is_exit_code_2(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert script(edit_main, "image=nowhere.png", "instruction=x") == 2
    assert "nowhere.png: no such file" in capsys.readouterr().err


def test_shards_are_one_run_and_status_counts_it(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    arguments = ["-m", "method=instruct_pix2pix", "method.steps=2", "metric=none", "limit=3", "batch_size=2"]
    assert script(run_script.main, *arguments, "shard=range(3)") == 0
    out = capsys.readouterr().out
    assert "3 new" in out
    assert "share a run" not in out
    assert script(run_script.main, *arguments) == 0
    assert "0 new" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    store = RunStore(tmp_path, folder.name)
    assert set(store.lines().values()) == {1}
    assert "shard: null" in store.read_config()[0]
    lines = (folder / "samples.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "samples.jsonl").write_bytes(b"".join(lines[:1]))
    with store.claim(["claimed"], 1):
        assert script(status_script.main) == 0
    rows = capsys.readouterr().out
    (row,) = [line.split() for line in rows.splitlines() if "instruct_pix2pix" in line]
    assert row[2:6] == ["1", "1", "-", "1"]  # the claimed one is not missing
    (total,) = [line.split() for line in rows.splitlines() if "1 runs" in line]
    assert total == ["1", "runs", "1", "1", "0", "1"]


def test_tables_of_a_page_are_written_and_checked(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(BENCHMARK, pictures)
    (pictures / "manifest.jsonl").write_text("".join((BENCHMARK / "manifest.jsonl").open().readlines()[:2]))
    runs = ["benchmark=folder", f"benchmark.folder={pictures}", "method=instruct_pix2pix", "method.steps=2,3"]
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- table: {' '.join(runs)}; metrics: lpips -->\n\n| run |\n| --- |\n\nafter\n")
    call = (str(page), "--results", str(tmp_path))
    assert script(run_script.main, "-m", *runs, "limit=1") == 0
    assert script(tables_script.main, "check", *call, results=False) == 2
    assert f"{page}:2: 2 of 2 runs are not complete in {tmp_path}; they are made by" in capsys.readouterr().err
    assert script(run_script.main, "-m", *runs) == 0
    out = capsys.readouterr().out
    assert script(tables_script.main, "check", *call, results=False) == 1
    assert script(tables_script.main, "write", *call, results=False) == 0
    before, comment, empty, head, _, *rows, _, after = page.read_text().splitlines()
    assert (before, empty, after) == ("before", "", "after")
    assert head == "| run | n | failed | LPIPS (lower) |"
    for row, steps in zip(rows, (2, 3), strict=True):
        label, n, failed, lpips = (cell.strip() for cell in row.strip("|").split("|"))
        assert (label, n, failed) == (f"instruct_pix2pix guidance=7.5,1.5 steps={steps}", "2", "0")
        assert lpips.split()[0] in out  # the terminal's number
    assert script(tables_script.main, "check", *call, results=False) == 0
    # The last digits depend on the machine.
    near, far = (f"{float(lpips.split()[0]) + by:.3f} {lpips.split(maxsplit=1)[1]}" for by in (0.002, 0.003))
    written = page.read_text()
    page.write_text(written.replace(f"| {lpips} |", f"| **{near}** |"))
    assert script(tables_script.main, "check", *call, results=False) == 0
    page.write_text(written.replace(f"| {lpips} |", f"| **{far}** |"))
    capsys.readouterr()
    assert script(tables_script.main, "check", *call, results=False) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{page}:4: the table differs from its source",
        f"  - {rows[1].replace(lpips, far)}",
        f"  + {rows[1]}",
        f"{page}: 1 tables",
    ]
    page.write_text(page.read_text().replace("lpips -->", "lips -->"))
    assert script(tables_script.main, "check", *call, results=False) == 2
    assert "metrics: lips: accepted are brisque, lpips," in capsys.readouterr().err


def test_rows_of_a_table_come_from_a_csv_file(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, page = tmp_path / "rates.csv", tmp_path / "page.md"
    data.write_text("by,name,rate,paper\nall,a|b,0.125,0.5\nall,c,0.25,\nedit,d,1,1\n")
    comment = f"<!-- csv: {data}; where: by == 'all'; row: {{name}} | {{rate:.1%}} | {{paper:.2f}} -->"
    page.write_text(f"{comment}\n| what | right | paper |\n| --- | --- | --- |\n| old | 1 | 2 |\n")
    assert script(tables_script.main, "check", str(page), results=False) == 1
    assert script(tables_script.main, "write", str(page), results=False) == 0
    head, _, *rows = page.read_text().splitlines()[1:]
    assert [head, *rows] == ["| what | right | paper |", r"| a\|b | 12.5 % | 0.50 |", "| c | 25.0 % | |"]
    assert script(tables_script.main, "check", str(page), results=False) == 0
    for wrong, said in (
        (comment.replace("{name}", "{nam}"), "field 'nam': accepted are by, name, rate, paper"),
        (comment.replace("by ==", "be =="), "name 'be' is not defined"),
        (comment.replace("rates", "rate"), f"{tmp_path / 'rate.csv'} is missing"),
    ):
        page.write_text(f"{wrong}\n| what |\n| --- |\n")
        capsys.readouterr()
        assert script(tables_script.main, "check", str(page), results=False) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"{page}:1: ")
        assert said in error
        assert error.count("\n") == 1


def test_status_without_runs_and_slurm_without_slurm_say_so(
    script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert script(status_script.main) == 2
    assert "no runs in" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert script(run_script.main, "-m", "hydra/launcher=slurm", "limit=1") == 2
    assert "hydra/launcher=slurm: no sbatch on the PATH" in capsys.readouterr().err
    assert script(run_script.main, "shard=-1") == 2
    assert "shard=-1" in capsys.readouterr().err


def test_a_sweep_inverts_once_loads_once_and_does_nothing_twice(
    script: Script, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["-m", "ratio=0.5,0.9", "limit=3", "segmenter.box_threshold=0.05"]
    assert script(run_script.main, *arguments) == 0
    table = capsys.readouterr().out
    assert "ratio=0.5" in table
    assert "ratio=0.9" in table
    stores = [RunStore(tmp_path, p.name) for p in (tmp_path / "runs").iterdir()]
    inversions = [
        [r.evaluations["inversion"] for r in s.finished().values() if isinstance(r, EditRecord)] for s in stores
    ]
    assert sorted(sum(costs) for costs in inversions) == [0, 150]
    lines = {s.run_id: (s.folder / "samples.jsonl").read_bytes() for s in stores}
    assert script(run_script.main, *arguments) == 0
    assert {s.run_id: (s.folder / "samples.jsonl").read_bytes() for s in stores} == lines
    frame = stores[0].read_metrics()
    assert frame is not None
    assert set(frame["metric"]) >= {"brisque", "lpips", "clip_score"}


@pytest.mark.parametrize("component", [None, "stable_diffusion"])
def test_training_names_its_components(
    script: Script, capsys: pytest.CaptureFixture[str], component: str | None
) -> None:
    arguments = [f"component={component}"] if component else []
    assert script(train_main, *arguments, results=False) == 2
    assert "autoencoder" in capsys.readouterr().err
