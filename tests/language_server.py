"""A loopback server with OpenAI's chat completions API whose replies a test defines."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from instructedit.language.openai import OpenAILanguage

SETTINGS = {
    "model": "m", "revision": None, "structured": "never", "temperature": 0.0, "max_tokens": 200, "timeout": 20.0,
    "max_retries": 0, "concurrency": 4, "api_key_env": "OPENAI_API_KEY",
}  # fmt: skip
GOOD = 'Segmentation prompt: Dog. Editing prompt 1: "Photo of a dog". Editing prompt 2: "Photo of a cat".'


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: a completion unless ``body`` says otherwise."""

    content: str | None = GOOD
    finish_reason: str = "stop"
    status: int = 200
    body: str | None = None
    content_type: str = "application/json"
    delay: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: tuple[int, int] | None = (1, 1)
    """Tokens of prompt and completion; None where the server does not count."""

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        message = {"role": "assistant", "content": self.content, "refusal": None}
        choice = {"index": 0, "finish_reason": self.finish_reason, "message": message}
        completion = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        if self.usage is not None:
            read, wrote = self.usage
            usage = {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
            completion["usage"] = usage
        return json.dumps(completion).encode()


@dataclass
class Server:
    """The server's address and the requests that it received."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def openai_language(base_url: str | None, **settings: Any) -> OpenAILanguage:
    """Return the backend for a server, by default with the paper's template and without retries."""
    return OpenAILanguage(base_url=base_url, **(SETTINGS | settings))


@contextlib.contextmanager
def serve(answer: Callable[[dict[str, Any], int], Answer]) -> Iterator[Server]:
    """Run a server in a thread.

    Args:
        answer: Of a request's JSON and its number (from 0).
    """
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                server.requests.append({"path": self.path, **body})
                server.keys.append(self.headers["Authorization"])
                number = len(server.requests) - 1
            said = answer(body, number)
            time.sleep(said.delay)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(said.status)
                self.send_header("Content-Type", said.content_type)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.bytes())))
                self.end_headers()
                self.wfile.write(said.bytes())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
