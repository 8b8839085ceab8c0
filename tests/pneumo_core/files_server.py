"""A server on the loopback interface that hands out one file, with the faults that a test asks for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What is served, how, and what was asked."""

    content: bytes
    etag: str | None = '"1"'
    knows_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # bytes of each coming answer, until the list is used up
    failures: list[int] = field(default_factory=list)  # status codes of the coming answers
    headers: dict[str, str] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)  # of the requests so far
    url: str = ""


@contextmanager
def serving(served: Served, do_post: Callable[[BaseHTTPRequestHandler], None] | None = None) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, served)

        def do_POST(self) -> None:
            assert do_post is not None
            do_post(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/file.bin"
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
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and served.knows_ranges else 0
    if handler.headers.get("If-Range") not in (None, served.etag):
        start = 0
    if start and start >= len(served.content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(served.content)}")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
    if served.etag:
        handler.send_header("ETag", served.etag)
    for name, value in served.headers.items():
        handler.send_header(name, value)
    body = served.content[start:]
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: served.breaks_after.pop(0)] if served.breaks_after else body)
