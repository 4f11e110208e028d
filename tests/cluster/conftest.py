import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm_node import Node, missing_programs


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """A real Slurm, which is started for the tests of this folder."""
    if missing := missing_programs():
        pytest.skip(f"no Slurm on this machine ({', '.join(missing)} not found); `make test-cluster` installs it")
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("time limits are measured, so these tests run alone: `make test-cluster`")
    # Not below pytest's folder, which is closed to other users, because munge wants its socket to be open to them.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        started = Node(Path(folder))
        try:
            started.start()
            yield started
        finally:
            started.stop()
