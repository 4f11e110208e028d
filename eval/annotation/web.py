"""What all pages for people share: templates, security headers, refusal of foreign requests, and the server."""

import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eval.report.page import TEMPLATES as REPORT
from eval.report.text import visible
from instructedit.types import ConfigError

log = logging.getLogger(__name__)
TEMPLATES = Path(__file__).parent / "templates"
LARGEST_BODY = 64 * 1024
"""Greatest size of a form in bytes."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # The address of a page is a participant's key.
    (b"referrer-policy", b"no-referrer"),
)
_OWN_FETCH_SITES = (None, "same-origin", "none")
_STYLES = REPORT / "palette.css", TEMPLATES / "people.css"
_PNG_AGE = "private, max-age=86400, immutable"


class Guard:
    """Sets the security headers, and refuses large bodies and forms of other sites."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request as ASGI asks."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (refusal := _refusal(Request(scope))) is not None:
            await refusal(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                headers += _HEADERS
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, guarded)


def _refusal(request: Request) -> Response | None:
    if request.method in ("GET", "HEAD"):
        return None
    # Browsers name the site of the page that sends a form; scripts send no such header.
    if request.headers.get("sec-fetch-site") not in _OWN_FETCH_SITES:
        return PlainTextResponse("this form was sent by another site", 403)
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > LARGEST_BODY:
        return PlainTextResponse(f"a form has at most {LARGEST_BODY} bytes", 413)
    return None


class Pages:
    """Renders the templates of this package; all text is escaped, and control characters are shown as escapes."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page."""
        return HTMLResponse(visible(self._environment.get_template(template).render(**values)), status)


def png(data: bytes) -> Response:
    """Return a picture, which the browser may keep."""
    return Response(data, media_type="image/png", headers={"cache-control": _PNG_AGE})


def application(pages: Pages, public_url: str | None) -> FastAPI:
    """Return an application with the style sheet, the script, error pages and no other routes.

    Args:
        pages: Renders the error pages.
        public_url: The address by which others reach the server; None if only this machine does. Requests for any
            other host are refused, because a foreign site could have its own name point to this machine.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    hosts = [*LOOPBACK] + ([urlsplit(public_url).hostname or ""] if public_url else [])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(Guard)
    style = "\n".join(path.read_text() for path in _STYLES)
    script = (TEMPLATES / "people.js").read_text()

    @app.get("/people.css")
    def style_sheet() -> Response:
        return Response(style, media_type="text/css", headers={"cache-control": "no-cache"})

    @app.get("/people.js")
    def javascript() -> Response:
        return Response(script, media_type="text/javascript", headers={"cache-control": "no-cache"})

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> HTMLResponse:
        return pages.render("message.html", error.status_code, title="Not found", text=str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> HTMLResponse:
        return pages.render("message.html", 422, title="Not accepted", text="This form is not complete.")

    return app


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens on a port, before anything is said to be there.

    Raises:
        ConfigError: The port is in use, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            raise ConfigError(
                f"host={host} port={port}: {error.strerror or error}; accepted are an address of this machine, and a "
                "free port or 0 for any"
            ) from None
        yield listener


def address(host: str, listener: socket.socket) -> str:
    """Return the address of a listening socket."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}/"


def serve(app: FastAPI, host: str, port: int, lines: Sequence[str]) -> None:
    """Serve until Ctrl-C.

    Args:
        app: The pages.
        host: Address to listen on.
        port: Port; 0 takes any.
        lines: Printed once the port is taken; ``{url}`` is the address.
    """
    with listening(host, port) as listener:
        for line in lines:
            print(line.replace("{url}", address(host, listener)), flush=True)
        # No access log: addresses are participants' keys, and Prolific's ids are in them.
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=3, server_header=False
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
