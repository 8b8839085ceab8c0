"""A server on the loopback interface that hands out one file, with the faults that a test asks for."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class Served:
    """What is served, how, and what was asked."""

    content: bytes
    etag: str | None = '"1"'
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # bytes of each coming answer, until the list is used up
    failures: list[int] = field(default_factory=list)  # status codes of the coming answers
    headers: dict[str, str] = field(default_factory=dict)
    refuses_ranges: bool = False  # with 416
    redirect: str = ""  # where every request is sent
    ranges: list[str | None] = field(default_factory=list)  # of the requests so far
    url: str = ""


def encrypted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return the context of a server whose certificate this process trusts until `monkeypatch` is undone."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    made = [openssl, "req", *kind, *subject, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


@contextmanager
def serving(
    served: Served,
    tls: ssl.SSLContext | None = None,
    do_post: Callable[[BaseHTTPRequestHandler], None] | None = None,
) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, served)

        def do_POST(self) -> None:
            assert do_post is not None
            do_post(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        served.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/file.bin"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def answer(handler: BaseHTTPRequestHandler, served: Served) -> None:
    asked = handler.headers.get("Range")
    served.ranges.append(asked)
    if served.failures:
        handler.send_error(served.failures.pop(0))
        return
    if served.redirect:
        handler.send_response(302)
        handler.send_header("Location", served.redirect)
        handler.end_headers()
        return
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.knows_ranges else 0
    if handler.headers.get("If-Range") not in (None, served.etag):
        start = 0
    if start and (start >= len(served.content) or served.refuses_ranges):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(served.content)}")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    body = served.content[start:]
    headers = {"Content-Length": str(len(body))} | ({"ETag": served.etag} if served.etag else {})
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(served.content) - 1}/{len(served.content)}"
    for name, value in (headers | served.headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body[: served.breaks_after.pop(0)] if served.breaks_after else body)
