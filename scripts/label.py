"""Let people say of each edit which components were right (paper §5, Fig. 10).

python -m scripts.label run=v2-0123          # serves the pages; several annotators may use them at once
python -m scripts.label export               # the table that `python -m scripts.report labels=...` reads
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from instructedit.checks import require_one_of
from instructedit.files import write_aside
from instructedit.types import ConfigError
from scripts.app import OK, launch
from scripts.study import check_server
from scripts.values import chosen_runs

if TYPE_CHECKING:
    from eval.annotation.label import LabelStore

ACTIONS = ("serve", "export")
VERBATIM = ("public_url",)
POSITIONAL = ("action",)


def task(config: DictConfig) -> int:
    """Serve or export."""
    require_one_of("action", config.action, ACTIONS)
    check_server(config)
    if config.run is not None:
        chosen_runs("run", config.run)
    return serve(config) if config.action == "serve" else export(config)


def path_of(config: DictConfig) -> Path:
    """Return the file of cases and labels."""
    return Path(str(config.results)) / "labels" / f"{config.name}.sqlite"


def serve(config: DictConfig) -> int:
    """Add the cases of the runs, and serve the pages until Ctrl-C."""
    from eval.annotation.cases import cases
    from eval.annotation.label import LabelStore
    from eval.annotation.label_pages import pages
    from eval.annotation.web import serve as serve_pages
    from eval.report.build import selected
    from eval.report.study import studies

    if config.run is None:
        store = _begun(config)
    else:
        found = studies(selected(Path(str(config.results)), chosen_runs("run", config.run), None), {}, "")
        for note in (note for study in found for note in study.notes):
            print(f"left out: {note}")
        if not any(study.runs for study in found):
            raise ConfigError(f"run={config.run}: none of these runs can be labelled")
        store = LabelStore(path_of(config))
        store.add(case for study in found for case in cases(study))
    total = store.progress("").total
    if not total:
        raise ConfigError(f"run={config.run}: the runs have no edits to label")
    public = None if config.public_url is None else str(config.public_url)
    so_far = f"{len(store.table())} labels of {len(store.annotators())} annotators so far"
    serve_pages(pages(store, public), str(config.host), config.port, [
        f"{total} cases to label: {public or '{url}'}",
        f"{so_far}, in {path_of(config)}; Ctrl-C ends",
    ])  # fmt: skip
    return OK


def export(config: DictConfig) -> int:
    """Write the labels, one row for each case and annotator."""
    table = _begun(config).table()
    out = Path(str(config.out)) if config.out is not None else path_of(config).with_suffix(".csv")
    with write_aside(out) as file:
        file.write(table.to_csv(index=False).encode())
    print(f"{out}: {len(table)} labels of {table['annotator'].nunique()} annotators")
    return OK


def _begun(config: DictConfig) -> "LabelStore":
    from eval.annotation.label import LabelStore

    if not path_of(config).is_file():
        raise ConfigError(f"name={config.name}: no {path_of(config)}; run=<run id> begins it")
    return LabelStore(path_of(config))


def main() -> int:
    """Run the action that is named without a key; the other arguments are Hydra's overrides."""
    return launch(task, "label", VERBATIM, POSITIONAL)


if __name__ == "__main__":
    sys.exit(main())
