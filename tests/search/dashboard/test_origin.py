"""A hostile page in a real browser, on another port of this machine, while the dashboard is open."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import optuna
import pytest

from search.dashboard import app
from tests.browser import CHROMIUM, dump_dom
from tests.search.dashboard import studies
from tests.search.dashboard.studies import GOOD
from tests.search.dashboard.test_dashboard import detail, served

pytest.importorskip("optuna_dashboard")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: `apt-get install chromium`")

PAGE = """<!doctype html><p id=read>waiting</p><p id=drawn>waiting</p><img id=img><script>
const say = (id, text) => document.getElementById(id).textContent = text;
fetch("ADDRESS").then(a => a.text()).then(t => say("read", "read " + t.length), () => say("read", "refused"));
img.onload = () => say("drawn", "drawn"); img.onerror = () => say("drawn", "refused"); img.src = "ADDRESS";
</script>"""


@contextmanager
def hostile(address: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE.replace("ADDRESS", address).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def seen(study: optuna.Study, folder: Path) -> str:
    """Return what the hostile page has come to, which guesses the address of a picture."""
    with served(study, folder) as port:
        trial = detail(port, study)["trials"][0]
        [picture] = [one for one in trial["artifacts"] if one["filename"] == "training.svg"]
        path = f"/artifacts/{study._study_id}/{trial['trial_id']}/{picture['artifact_id']}"
        with hostile(f"http://127.0.0.1:{port}{path}") as url:
            return dump_dom(url, folder / "profile")


def test_a_page_of_another_origin_can_neither_read_nor_show_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = studies.make(tmp_path, GOOD)
    dom = seen(study, tmp_path)
    assert ">refused</p>" in dom.split('id="drawn"')[0]
    assert ">refused</p>" in dom.split('id="drawn"')[1]
    monkeypatch.setattr(app, "guarded", lambda unguarded: unguarded)  # this test would notice
    dom = seen(study, tmp_path)
    assert ">read " in dom
    assert ">drawn</p>" in dom
