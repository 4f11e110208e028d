"""A package outside of the tree adds one of everything, and all of it is in the sweep, its summary and the report."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image

from eval.runs.run import Run, read_runs
from scripts import report as report_script
from scripts import run as run_script
from scripts.app import OK

ROOT = Path(__file__).resolve().parents[1]
PICTURES = 3
PACKAGE = {
    "guest/__init__.py": "",
    "guest/method.py": '''
from PIL import ImageEnhance
from instructedit.types import EditResult


class Dim:
    """Has a method's shape and derives from nothing of the harness."""

    needs_captions = takes_ratio = False
    NON_IDENTITY_KEYS = frozenset({"server"})

    def __init__(self, context, diffusion, strength, server):
        self.strength = strength

    def edit(self, requests):
        return [EditResult(r.id, ImageEnhance.Brightness(r.image).enhance(self.strength)) for r in requests]
''',
    "guest/metric.py": """
import numpy as np
from eval.metrics.base import Metric, Score


class Brightness(Metric):
    name, unit, bounds, higher_is_better = "brightness", "", (0.0, 1.0), True

    def details(self):
        return {"implementation": "mean of all pixels"}

    def score(self, sample, source, result, captions):
        return Score(float(np.asarray(result.image, float).mean()) / 255)
""",
    "guest/reader.py": """
from eval.benchmarks.base import Benchmark, revision
from instructedit.types import Sample


def read(folder, masks=None):
    samples = tuple(Sample(p.stem, p, f"Dim {p.stem}", image_id=p.stem) for p in sorted(folder.glob("*.png")))
    return Benchmark("guestbook", revision(b"", (s.image for s in samples)), samples)
""",
    "guest/section.py": """
from markupsafe import Markup
from eval.report.section import Section


def brightest(study, page):
    frame = study.frame[study.frame["metric"] == "brightness"]
    best = frame.groupby("label")["value"].mean().idxmax()
    return Section(f"brightest-{study.key}", "The guest's section", Markup("<p>brightest: {}</p>").format(best))
""",
    "conf/method/dim.yaml": """# @package _global_
name: dim
label: ${name} strength=${strength}${oc.select:models.note,""}
strength: 0.5
method:
  _target_: guest.method.Dim
  _partial_: true
  diffusion: ${models.diffusion}
  strength: ${strength}
  server: ${oc.env:GUEST_SERVER}
""",
    "conf/metric/brightness.yaml": """# @package _global_
metrics:
  brightness:
    _target_: guest.metric.Brightness
""",
    "conf/benchmark/guestbook.yaml": "name: guestbook\nfolder: ???\nreader: guest.reader.read\n",
    "conf/models/guest.yaml": """
defaults:
  - picturebook
  - _self_
note: ", guest's models"
diffusion:
  id: data/picturebook/models/inpainting
  base: data/picturebook/models/diffusion
""",
}


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package on the Python path, its configuration folder, and pictures."""
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pictures").mkdir()
    for i in range(PICTURES):
        Image.new("RGB", (64, 64), (250 - 40 * i, 120, 60)).save(tmp_path / "pictures" / f"p{i}.png")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(ROOT)
    yield tmp_path
    GlobalHydra.instance().clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "guest"]:
        del sys.modules[name]


def sweep(outside: Path, monkeypatch: pytest.MonkeyPatch, server: str = "here") -> list[Run]:
    monkeypatch.setenv("GUEST_SERVER", server)
    GlobalHydra.instance().clear()
    words = [
        "method=dim", "strength=0.4,0.8", "models=guest", "metric=brightness", "benchmark=guestbook",
        f"benchmark.folder={outside / 'pictures'}", f"results={outside / 'results'}",
        "--config-dir", str(outside / "conf"), "-m",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["run", *words])
    assert run_script.main() == OK
    return list(read_runs(outside / "results"))


def test_all_that_a_guest_adds_is_in_sweep_summary_and_report(
    outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = sweep(outside, monkeypatch)
    labels = {f"dim strength={strength}, guest's models" for strength in (0.4, 0.8)}
    assert {run.label for run in runs} == labels
    for run in runs:
        assert (run.edited, run.failed) == (PICTURES, 0)
        assert run.metrics["metric"].tolist() == ["brightness"] * PICTURES
        assert set(run.checkpoints) == {"data/picturebook/models/inpainting"}
    printed = " ".join(capsys.readouterr().out.split())
    for shown in ("dim strength=0.4", "dim strength=0.8", "brightness"):
        assert shown in printed

    words = [f"results={outside / 'results'}", "+sections.guest=guest.section.brightest"]
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["report", *words])
    assert report_script.launch(report_script.task, "report") == OK
    page = (outside / "results" / "report" / "index.html").read_text()
    for text in ("The guest&#39;s section", "brightest: dim strength=0.8, guest&#39;s models", "guestbook", "Dim p1"):
        assert text in page
    table = (outside / "results" / "report" / "guestbook" / "tables" / "table_1.csv").read_text()
    assert table.count(",brightness,") == 2
    manifest = json.loads((outside / "results" / "runs" / runs[0].run_id / "manifest.json").read_text())
    assert manifest["sessions"][0]["checkpoints"].popitem()[1] in page


def test_what_a_guests_method_declares_to_change_nothing_makes_no_new_run(
    outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = {run.run_id for run in sweep(outside, monkeypatch)}
    assert {run.run_id for run in sweep(outside, monkeypatch, server="there")} == first
    assert len(first) == 2


@pytest.mark.parametrize("path", ["guest.section.gone", "nowhere.section", "guest.section", "guest..section"])
def test_a_section_that_is_none_is_refused_by_name(
    path: str, outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", f"results={outside}", f"+sections.guest={path}"])
    assert report_script.launch(report_script.task, "report") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: sections.guest={path}: ")
    assert line.endswith("accepted is the dotted path of a function")
