"""Every command in the documentation is parsed, validated, and executed where that takes seconds; links resolve."""

import importlib.util
import re
import runpy
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from eval.benchmarks.manifest import read
from eval.runs.plan import plan
from instructedit.types import ConfigError
from scripts import benchmark, edit, label, models, nerf, report, study, tables, video
from scripts.app import CONF
from scripts.arguments import overrides as overridden

ROOT = Path(__file__).resolve().parents[1]
EXTENDING = ROOT / "docs" / "extending.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "results" / "README.md"]
LINKED += sorted((ROOT / "data").glob("*/*.md")) + sorted((ROOT / "data").glob("*/*/README.md"))
README_BYTES = 8192

CONFIGS = {
    "scripts.run": "config",
    "scripts.edit": "edit",
    "scripts.video": "video",
    "scripts.nerf": "nerf",
    "scripts.report": "report",
    "scripts.publish": "publish",
    "scripts.train": "train",
    "scripts.models": "checkpoints",
    "scripts.benchmark": "benchmark",
    "scripts.status": "status",
    "scripts.bench": "bench",
    "scripts.study": "study",
    "scripts.label": "label",
    "scripts.demo": "demo",
}
"""The configuration of each script that takes Hydra overrides."""
ACTIONS = {
    "scripts.models": models.ACTIONS, "scripts.train": ("chain", "status"), "scripts.study": study.ACTIONS,
    "scripts.label": label.ACTIONS,
}  # fmt: skip
"""First words of a script that are not overrides."""

FEW = ("limit=1", "metric=none")
EXECUTED = {
    "scripts.models list models=sd15": (),
    "scripts.models check models=sd15": (),
    "scripts.models list models=finetuned --config-dir my_conf": (),
    "scripts.train status": ("work={tmp}",),
    "scripts.models list pipeline=flux_kontext": (),
    "scripts.run method=diffedit theta=0.3 --cfg job": (),
    "scripts.run --config-dir my_conf method=blur radius=1,4 -m": ("results={tmp}", *FEW),
    "scripts.run --config-dir my_conf benchmark=pairs benchmark.folder=/my/pictures": (
        "results={tmp}", "benchmark.folder={tmp}/pictures", "method=blur", "metric=none",
    ),
}  # fmt: skip
"""Commands that take seconds, and the overrides that keep them small and out of the checkout."""
EXECUTED_SLOWLY = {
    "scripts.edit data/picturebook/benchmark/images/single_02_glasses_to_sunglasses.png "
    "'Turn the glasses into sunglasses'": ("results={tmp}",),
    "scripts.run method=instructedit ratio=0.5,0.7,0.9 -m": ("results={tmp}", "limit=1"),
    "scripts.run --config-dir my_conf method=instructedit,blur -m": ("results={tmp}", *FEW),
    "scripts.run --config-dir my_conf metric=changed": ("results={tmp}", "limit=1"),
    "scripts.run +metrics.changed._target_=my_package.change.ChangedPixels": ("results={tmp}", "limit=1"),
    "scripts.run method=instructedit,pipeline -m": ("results={tmp}", *FEW, "pipeline.arguments.num_inference_steps=4"),
    "scripts.run --config-dir my_conf method=pipeline pipeline=sdedit pipeline.arguments.strength=0.4,0.6 -m": (
        "results={tmp}",
        *FEW,
        "pipeline.arguments.num_inference_steps=5",
    ),
    "scripts.run benchmark=picturebook_ablation ratio=0.9": ("results={tmp}", *FEW),
    "scripts.bench 'parts=[peak]'": ("out={tmp}",),
    "scripts.run wrapper=auto_ratio captioner=blip2": ("results={tmp}", *FEW, "auto.ratios=[0.5,0.7]"),
}
"""Likewise, for commands that load models."""
NOT_EXECUTED = {
    r"scripts\.models fetch .*": "downloads checkpoints, or writes 8 GB",
    r"scripts\.run .*models=(sd15|sd15_random|finetuned)\b.*": "needs the real checkpoints, or 8 GB of random ones",
    r"scripts\.run .*segmenter=grounded_sam_original .*": "needs converted checkpoints",
    r"scripts\.convert .*": "needs the released .pth files",
    r"scripts\.run benchmark=folder benchmark\.folder=/my/pictures.*": "needs pictures of one's own",
    r"scripts\.benchmark check folder=/my/gie_bench .*": "needs the benchmark; tests/eval/benchmarks has small ones",
    r"scripts\.run .*method=outputs .*": "needs edits made elsewhere; tests/baselines/test_outputs.py scores some",
    r"scripts\.run metric=viescore .*": "needs a server; tests/eval/metrics/test_viescore.py runs one",
    r"scripts\.benchmark check /my/pictures": "needs pictures of one's own; tests/eval/benchmarks/test_check.py",
    r"scripts\.edit (cat\.png|image=photos/) .*": "needs pictures of one's own",
    r"scripts\.video .*": "needs a clip of one's own; tests/test_scripts_video.py edits one",
    r"scripts\.nerf .*": "minutes, or needs a scene of one's own; tests/test_scripts_nerf.py edits one",
    r"scripts\.draw benchmarks": "writes the shipped benchmarks again; tests/data/test_benchmarks.py draws them",
    r"scripts\.draw scenes": "writes the shipped benchmark again; tests/data/test_cards.py draws a part of it",
    r"scripts\.draw clips": "writes the shipped benchmark again; tests/data/test_clips.py draws a part of it",
    r"scripts\.run experiment=.*": "minutes to hours; tests/test_scripts.py runs small sweeps",
    r"scripts\.run metric=full logger=wandb": "writes a W&B folder; tests/eval/loggers/test_loggers.py does so",
    r"scripts\.report.*": "needs finished runs; tests/eval/report/test_report.py makes the page of small ones",
    r"scripts\.run -m hydra/launcher=slurm .*": "needs Slurm; tests/cluster runs sweeps through one",
    r"scripts\.bench 'parts=\[race\]' .*": "five minutes; tests/eval/speed compares one edit of the race",
    r"scripts\.tables .*": "needs finished runs; tests/test_scripts.py checks a table of small ones",
    r"scripts\.status": "needs finished runs; tests/test_scripts.py shows small ones",
    r"tests\.cluster\.slurm_node.*": "starts Slurm, which tests/cluster does",
    r"scripts\.publish": "needs finished runs and a W&B account; tests/eval/loggers/test_loggers.py",
    r"scripts\.train (chain|component=\w+).*": "hours; tests/data/test_training.py trains tiny models",
    r"scripts\.bench( models=sd15_random.*)?": "minutes to hours; tests/eval/speed measures tiny models",
    r"scripts\.inversion": "a minute of two cores",
    r"scripts\.interval_coverage": "minutes; tests/eval/test_coverage.py simulates a few",
    r"scripts\.judge.*": "minutes; writes the cards of the shipped models",
    r"scripts\.(study|label|demo).*": "serves pages, or needs answers of people; tests/browser",
    r"(ruff|mypy|pytest) .*|mypy": "the tools that run these tests",
}
"""Commands by regular expression, and why no test executes them."""


@dataclass(frozen=True)
class Command:
    """One ``python -m`` command of a page."""

    words: tuple[str, ...]
    """From the module on."""
    place: str

    @property
    def text(self) -> str:
        return shlex.join(self.words)


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and content of each line in a fenced or indented code block, continuation lines joined."""
    is_fenced, joined = False, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            joined += line.strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
            else:
                yield number, joined
                joined = ""


def parsed(line: str) -> Iterator[tuple[str, ...]]:
    """The words of each ``python -m`` command in a shell line, from the module on."""
    for part in line.split(" && "):
        found = re.match(r"(?:[A-Z_]+=\S+ |nohup |nice )*python -m (.+)", part.strip())
        if found:
            yield tuple(w for w in shlex.split(found.group(1), comments=True) if w != "&")


def in_blocks(page: Path) -> list[Command]:
    lines = code_lines(page.read_text())
    return [Command(words, f"{page.name}:{number}") for number, line in lines for words in parsed(line)]


def in_sentences(page: Path) -> list[Command]:
    """Commands in inline code, but for those with a gap (``...``, ``<preset>``)."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    spans = [s for s in re.findall(r"`([^`]+)`", prose) if "..." not in s and "<" not in s]
    return [Command(words, page.name) for span in spans for words in parsed(" ".join(span.split()))]


def unique(commands: list[Command]) -> list[Any]:
    by_text: dict[str, Command] = {}
    for command in commands:
        by_text.setdefault(command.text, command)
    return [pytest.param(c, id=f"{c.place} {c.text}"[:100]) for c in by_text.values()]


BLOCKS = [command for page in PAGES for command in in_blocks(page)]
ALL = BLOCKS + [command for page in PAGES for command in in_sentences(page)]


def files_of_extending() -> dict[str, str]:
    """The files that the page shows, by path."""
    found = re.findall(r"^`(my_\S+)`:\n\n```\w+\n(.*?)^```", EXTENDING.read_text(), re.S | re.M)
    return dict(found)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files of docs/extending.md, on the Python path."""
    folder = tmp_path_factory.mktemp("workspace")
    for name, text in files_of_extending().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture(autouse=True)
def _in_checkout(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


def composed(name: str, overrides: list[str], full: bool = False) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, overrides, return_hydra_config=full)


def jobs(name: str, overrides: list[str], multirun: bool) -> list[list[str]]:
    """The overrides of one job for each value of each sweep, the other sweeps at their first value."""

    def expand(texts: list[str]) -> list[list[str]]:
        made = []
        for override in OverridesParser.create().parse_overrides(texts):
            swept = override.is_sweep_override()
            values = list(override.sweep_string_iterator()) if swept else []
            made.append([f"{override.get_key_element()}={v}" for v in values] or [str(override.input_line)])
        return made

    choices = expand(overrides)
    hydra = composed(name, [values[0] for values in choices], full=True).hydra
    choices = expand([f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]) + choices
    if any(len(values) > 1 for values in choices) and not (multirun or str(hydra.mode).endswith("MULTIRUN")):
        raise ConfigError(f"{' '.join(overrides)}: a sweep needs -m")
    first = [values[0] for values in choices]
    varied = [[*first[:i], v, *first[i + 1 :]] for i, values in enumerate(choices) for v in values[1:]]
    return [first, *varied]


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [value] if key == "_target_" else targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


def runnable_here(overrides: list[str]) -> list[str]:
    """The overrides of a run with the shipped models and a shipped benchmark, where it names what is not here."""
    is_elsewhere = any(o.startswith("benchmark") and not o.startswith("benchmark=picturebook") for o in overrides)
    missing_here = (
        "models", "hydra/", "hydra.launcher", "segmenter=grounded_sam_original", "metric=pie_bench", "vlm=local",
        "outputs.", "pipeline=flux_kontext",
    )  # fmt: skip
    dropped = (*missing_here, "benchmark") if is_elsewhere else missing_here
    kept = [o for o in overrides if not o.lstrip("+").startswith(dropped)]
    if {"method=outputs", "experiment=judge_audit"} & set(kept):
        kept += ["outputs.folder=data/picturebook/benchmark", "outputs.model=edited"]
    # This one has captions, masks and paraphrases.
    return [*kept, "benchmark=picturebook_ablation"] if is_elsewhere else kept


def check(command: Command, workspace: Path) -> None:
    """Validate a command without loading a model.

    Raises:
        Exception: The module, an option, a key or a value is wrong.
    """
    module, *words = command.words
    assert importlib.util.find_spec(module) is not None, f"{module}: no such module"
    if module not in CONFIGS:
        wrong = [word for word in words if re.match(r"\w+=", word)]
        assert not wrong, f"{module} takes no overrides: {wrong}"
        return
    action = words.pop(0) if words and words[0] in ACTIONS.get(module, ()) else None
    if module == "scripts.edit":
        words = overridden(words, edit.VERBATIM, edit.POSITIONAL)
    elif module == "scripts.nerf":
        words = overridden(words, nerf.VERBATIM, nerf.POSITIONAL)
    elif module == "scripts.video":
        words = overridden(words, video.VERBATIM, video.POSITIONAL)
    elif module == "scripts.benchmark":
        words = overridden(words, positional=benchmark.POSITIONAL)
    elif module == "scripts.study":
        words = overridden(words, study.VERBATIM)
    given = get_args_parser().parse_args(words)
    name, extra = CONFIGS[module], [f"action={action}"] if module == "scripts.models" else []
    if given.config_dir:
        extra.append(f"hydra.searchpath=[file://{workspace / given.config_dir}]")
    for overrides in jobs(name, [*given.overrides, *extra], given.multirun):
        config = composed(name, overrides)
        described = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
        for target in targets(described):
            get_object(target)
        if module == "scripts.run":
            plan(composed(name, [*runnable_here(overrides), f"results={workspace / 'results'}"])).method()
        elif module == "scripts.edit":
            missing = [key for key in ("image", "instruction") if OmegaConf.is_missing(config, key)]
            assert not missing, f"{missing} are needed"
        elif module == "scripts.benchmark":
            assert config.action in benchmark.ACTIONS
            assert not OmegaConf.is_missing(config, "folder"), "folder is needed"
        elif module == "scripts.report":
            report.request(config)
        elif module == "scripts.study":
            study.check(config)
        elif module == "scripts.train" and action is None:
            assert config.component is not None, "component= is needed"


@pytest.mark.parametrize("command", unique(ALL))
def test_a_command_of_the_documentation_is_valid(command: Command, workspace: Path) -> None:
    check(command, workspace)


@pytest.mark.parametrize(
    "line",
    [
        "python -m scripts.runs",
        "python -m scripts.run ratoi=0.5",
        "python -m scripts.run ratio=1.5",
        "python -m scripts.run ratio=0.5,1.5 -m",
        "python -m scripts.run ratio=0.5,0.7",
        "python -m scripts.run method=photoshop",
        "python -m scripts.run method.editor.blnd=paper",
        "python -m scripts.run method=diffedit method.variant=best models=sd15 benchmark=pie_bench",
        "python -m scripts.run experiment=table2",
        "python -m scripts.run ratio=0.5 -m limit=1",
        "python -m scripts.edit image=cat.png",
        "python -m scripts.benchmark check",
        "python -m scripts.benchmark list /my/pictures",
        "python -m scripts.study checks=-1",
        "python -m scripts.study completion_url=http://a.b",
        "python -m scripts.label runs=all",
        "python -m scripts.report pictures=jpeg",
        "python -m scripts.models fetch model=sd15",
        "python -m scripts.train component=vae",
        "python -m scripts.train",
        "python -m scripts.inversion steps=10",
    ],
)
def test_a_wrong_command_is_found(line: str, workspace: Path) -> None:
    (words,) = parsed(line)
    with pytest.raises((Exception, SystemExit)):
        check(Command(words, "here"), workspace)


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = "a\n\n    python -m a.b x=1  # why\n\n```bash\npython -m c \\\n  --d\nX=1 nohup python -m e &\n```\n"
    text += "python -m f\n"
    found = [words for _, line in code_lines(text) for words in parsed(line)]
    assert found == [("a.b", "x=1"), ("c", "--d"), ("e",)]
    assert {Path(c.place.partition(":")[0]).name for c in BLOCKS} >= {"README.md", "quickstart.md", "extending.md"}


def test_every_command_is_executed_or_says_why_not() -> None:
    texts = {command.text for command in BLOCKS}
    for text in texts:
        reasons = [reason for pattern, reason in NOT_EXECUTED.items() if re.fullmatch(pattern, text)]
        is_executed = text in EXECUTED or text in EXECUTED_SLOWLY
        assert is_executed != bool(reasons), f"{text}: executed {is_executed}, not executed because {reasons}"
    assert not [text for text in (*EXECUTED, *EXECUTED_SLOWLY) if text not in texts], "no longer in the documentation"
    stale = [p for p in NOT_EXECUTED if not any(re.fullmatch(p, text) for text in texts)]
    assert not stale, "no longer in the documentation"


def execute(text: str, extra: tuple[str, ...], workspace: Path, tmp_path: Path, patch: pytest.MonkeyPatch) -> int:
    """Run a command as ``python -m`` does; returns its exit code."""
    module, *words = shlex.split(text)
    flags: list[str] = []
    for option in ("--config-dir", "--cfg"):
        if option in words:
            at = words.index(option)
            flags += [option, words[at + 1].replace("my_conf", str(workspace / "my_conf"))]
            del words[at : at + 2]
    if "-m" in words:
        words.remove("-m")
        flags.append("-m")
    replaced = [word for word in words if not any(word.startswith(e.partition("=")[0] + "=") for e in extra)]
    patch.setattr(sys, "argv", [module, *replaced, *(e.format(tmp=tmp_path) for e in extra), *flags])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module was imported before
        with pytest.raises(SystemExit) as caught:
            runpy.run_module(module, run_name="__main__")
    return int(caught.value.code or 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder for the reader of docs/extending.md."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(next((ROOT / "data/picturebook/benchmark/images").glob("same_01*.png")), folder / "cats.png")
    (folder / "pairs.tsv").write_text("cats.png\tChange the bigger cat to a lion\n")
    return folder


@pytest.mark.parametrize("text", EXECUTED)
def test_a_quick_command_runs(
    text: str, workspace: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = execute(text, EXECUTED[text], workspace, tmp_path, monkeypatch)
    # A machine without the real checkpoints says so by exit code 1.
    assert code in ((0, 1) if text.startswith("scripts.models check") else (0,))


@pytest.mark.slow
@pytest.mark.parametrize("text", EXECUTED_SLOWLY)
def test_a_command_that_loads_models_runs(
    text: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(text, EXECUTED_SLOWLY[text], workspace, tmp_path, monkeypatch) == 0


def test_the_manifests_of_the_quick_start_are_the_same_benchmark(tmp_path: Path) -> None:
    shown = re.findall(
        r"^`(manifest\.\w+)`:\n\n```\w+\n(.*?)^```", (ROOT / "docs/quickstart.md").read_text(), re.S | re.M
    )
    samples = []
    for name, text in shown:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / name).write_text(text)
        samples.append(read(tmp_path / "mine").samples)
        shutil.rmtree(tmp_path / "mine")
    assert [name for name, _ in shown] == ["manifest.jsonl", "manifest.csv"]
    assert samples[0] == samples[1]
    assert [s.id for s in samples[0]] == ["cats", "dog"]


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
            assert anchor in [slug(h) for h in headings], f"{page.name}: {target}"


def test_every_choice_and_key_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    groups = (
        "pipeline",
        "models",
        "captioner",
        "language",
        "segmenter",
        "benchmark",
        "metric",
        "judge",
        "logger",
        "wrapper",
    )
    choices = [path.stem for group in (*groups, "experiment", "method") for path in (CONF / group).glob("[!_]*.yaml")]
    config = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(config, DictConfig)
    keys = [str(key) for key in config if key not in ("defaults", "hydra", "auto")]
    missing = [word for word in (*choices, *keys) if not re.search(rf"`(?:[\w.]+=)?{re.escape(word)}`", text)]
    assert not missing


def test_the_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= README_BYTES
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT)})" in text


def test_pre_commit_hooks_are_local_and_run_what_make_test_runs() -> None:
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert {hook["language"] for hook in repos[0]["hooks"]} == {"system"}
    makefile = (ROOT / "Makefile").read_text()
    for tool in ("ruff check", "ruff format --check", "mypy"):
        assert f"-m {tool}" in makefile
        assert any(f"-m {tool}" in hook["entry"] for hook in repos[0]["hooks"])


def test_the_citation_is_that_of_the_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    text = (ROOT / "README.md").read_text()
    assert paper["title"] in text
    assert " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"]) in text


@pytest.mark.parametrize("page", [p for p in PAGES if "<!-- csv: " in p.read_text()], ids=lambda p: p.name)
def test_tables_equal_the_example_report(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables_only = re.findall(r"^<!-- csv: .+ -->\n+(?:\|.*\n)+", page.read_text(), re.M)
    assert all(table.startswith("<!-- csv: results/example/report/") for table in tables_only)
    copy = tmp_path / page.name
    copy.write_text("\n".join(tables_only))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["tables", "check", str(copy)])
    assert tables.main() == 0, capsys.readouterr().out
