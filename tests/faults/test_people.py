"""Pages for people under load and under kills: no acknowledged answer is lost, none is counted twice."""

import asyncio
import contextlib
import multiprocessing
import random
import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from eval.annotation.web import listening, serve
from tests.browser.server import study_app
from tests.eval.annotation.made import study
from tests.faults.conftest import Tally

PARTICIPANTS, SECONDS = 100, 60
KILLS = 20
PLACE = re.compile(r"Page (\d+) of (\d+)")


@dataclass
class Log:
    """What the clients saw."""

    acknowledged: dict[tuple[str, int], str] = field(default_factory=dict)
    """Choices by the participant's path and the place of the item."""
    seconds: list[float] = field(default_factory=list)
    """Of each request."""
    refused: int = 0
    """Requests without an answer."""
    started: int = 0


class Server:
    """A server in a forked process, which is there at once, and can be killed and started again on its port."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with listening("127.0.0.1", 0) as listener:
            self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self) -> None:
        forked = multiprocessing.get_context("fork")
        self.process = forked.Process(target=_serve, args=(self.path, self.port), daemon=True)
        self.process.start()
        while self.process.is_alive():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _serve(path: Path, port: int) -> None:
    serve(study_app(path), "127.0.0.1", port, [])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = study(tmp_path / "study.sqlite", count=30)
    forked = Server(made.database.path)
    yield forked
    forked.kill()


def stored(server: Server) -> dict[tuple[str, int], str]:
    rows = sqlite3.connect(server.path).execute(
        "SELECT token, place, choice FROM answers JOIN participants ON participants.id = participant"
    )
    found = rows.fetchall()
    assert len({row[:2] for row in found}) == len(found)
    return {(f"/p/{token}", place): choice for token, place, choice in found}


async def request(client: httpx.AsyncClient, log: Log, method: str, path: str, **form: str) -> httpx.Response:
    """Send a request until it is answered, as the pages' script does; an answer that is an error fails the test."""
    while True:
        start = time.monotonic()
        try:
            response = await client.request(method, path, data=form or None)
        except httpx.TransportError:
            log.refused += 1
            await asyncio.sleep(0.2)
            continue
        log.seconds.append(time.monotonic() - start)
        assert response.status_code in (200, 303), f"{method} {path}: {response.status_code}"
        return response


async def participant(client: httpx.AsyncClient, log: Log, seed: int, is_over: Callable[[], bool]) -> None:
    """Take part in the study, again and again, with double submits."""
    chance = random.Random(seed)
    while not is_over():
        log.started += 1
        page = (await request(client, log, "GET", "/?another=true")).text
        visit = re.search(r'name="visit" value="([^"]+)"', page)
        assert visit is not None
        joined = await request(client, log, "POST", "/join", visit=visit[1], consent="yes", another="true")
        path = joined.headers["location"]
        while not is_over():
            page = (await request(client, log, "GET", path)).text
            place = PLACE.search(page)
            if place is None:
                assert "Thank you" in page
                break
            for image in ("input", "left", "right"):
                await request(client, log, "GET", f"{path}/{place[1]}/{image}.png")
            choice = chance.choice(["left", "right"])
            answers = [request(client, log, "POST", f"{path}/{place[1]}", choice=choice)]
            if chance.random() < 0.1:  # a double click
                answers.append(request(client, log, "POST", f"{path}/{place[1]}", choice=choice))
            for answer in await asyncio.gather(*answers):
                assert answer.headers["location"] == path
            log.acknowledged[path, int(place[1])] = choice


async def everyone(url: str, count: int, seconds: float) -> Log:
    log, until = Log(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=2 * count)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, cookies=None) as client:
        await asyncio.gather(*(participant(client, log, s, lambda: time.monotonic() > until) for s in range(count)))
    return log


@pytest.mark.slow
def test_a_hundred_participants_at_once(server: Server, tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    log = asyncio.run(everyone(server.url, PARTICIPANTS, SECONDS))
    kept = stored(server)
    wrong = sum(kept.get(key) != choice for key, choice in log.acknowledged.items())
    assert log.refused == 0
    assert len(kept) == len(log.acknowledged)
    assert log.started >= PARTICIPANTS
    tally(f"{PARTICIPANTS} participants of a study at once for {SECONDS} s: answers", len(kept), wrong)
    half, most, worst = np.quantile(log.seconds, [0.5, 0.99, 1])
    with capsys.disabled():
        rate = f"{len(log.seconds) / SECONDS:.0f} requests and {len(kept) / SECONDS:.0f} answers a second"
        print(f"\n{rate}; a request takes {half:.2f} s (median), {most:.2f} s (99 %), {worst:.2f} s (longest)")


async def _killed(server: Server) -> Log:
    """Kill the server at random moments while five people take part."""
    log, stop = Log(), asyncio.Event()
    async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
        people = [asyncio.create_task(participant(client, log, seed, stop.is_set)) for seed in range(5)]
        for _ in range(KILLS):
            await asyncio.sleep(random.uniform(0.2, 1))
            server.kill()
            await asyncio.to_thread(server.start)
        stop.set()
        await asyncio.gather(*people)
    return log


@pytest.mark.slow
def test_a_server_that_is_killed_again_and_again(server: Server, tally: Tally) -> None:
    log = asyncio.run(_killed(server))
    kept = stored(server)
    assert log.refused > 0
    # An answer in flight when the test ended may be stored without an acknowledgement, but not the other way around.
    wrong = sum(kept.get(key) != choice for key, choice in log.acknowledged.items())
    tally(f"SIGKILL of a study's server ({KILLS}): answers that it had acknowledged", len(log.acknowledged), wrong)
