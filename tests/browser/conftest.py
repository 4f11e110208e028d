"""A real headless Chromium, and servers in a thread or in a process of their own."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from eval.annotation.web import address, listening

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ROOT = Path(__file__).resolve().parents[2]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
Serve = Callable[[FastAPI], str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's Chromium, driven by playwright."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: it is in the extra `dev`")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: `make browser-packages` installs one on Debian and Ubuntu")
    from playwright.sync_api import sync_playwright

    # A sandbox needs a user other than root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of a browser without cookies; errors of its scripts fail the test."""
    contexts, errors = [], []

    def open_page(**settings: Any) -> Any:
        contexts.append(browser.new_context(**settings))
        contexts[-1].set_default_timeout(60_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an application in a thread, and return its address."""
    servers: list[tuple[uvicorn.Server, threading.Thread]] = []
    sockets = contextlib.ExitStack()

    def start(app: FastAPI) -> str:
        listener = sockets.enter_context(listening("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.02)
        return address("127.0.0.1", listener)

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)
    sockets.close()


class Process:
    """A server in a process of its own, which can be killed and started again on its port."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path, self.url = kind, path, ""
        self.start()

    def start(self) -> None:
        port = self.url.rstrip("/").rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "tests.browser.server", self.kind, str(self.path), port]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, "the server did not start"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def process() -> Iterator[Callable[[str, Path], Process]]:
    """Start a server in a process of its own."""
    started: list[Process] = []

    def start(kind: str, path: Path) -> Process:
        started.append(Process(kind, path))
        return started[-1]

    yield start
    for server in started:
        server.kill()
