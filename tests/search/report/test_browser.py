"""The page in a real browser: it draws, complains of nothing and asks the network for nothing."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search.report.page import write
from tests.browser import CHROMIUM, FLAGS
from tests.search.report.conftest import MakeStudy
from tests.search.report.pages import parse

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: `apt-get install chromium`")

OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--window-size=1200,1000")

NOBODY = "not an origin"


@dataclass(frozen=True)
class Visit:
    """What a browser made of a file."""

    dom: str
    log: str
    asked: list[str]  # addresses that the page requested


def visit(file: Path, profile: Path) -> Visit:
    net_log = profile.with_suffix(".json")
    command = [str(CHROMIUM), *FLAGS, *OFFLINE, f"--user-data-dir={profile}", f"--log-net-log={net_log}", "--dump-dom"]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return Visit(dom=done.stdout, log=done.stderr, asked=_addresses(json.loads(net_log.read_text())))


def _addresses(net_log: dict[str, Any]) -> list[str]:
    """Return what a page asked for; what the browser asks for on its own account has no initiator."""
    asked = [event.get("params", {}) for event in net_log["events"]]
    return [found["url"] for found in asked if "url" in found and found.get("initiator", NOBODY) != NOBODY]


@pytest.fixture(scope="module")
def net_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Visit:
    """A page that does ask the network, to know that these tests would notice."""
    folder = tmp_path_factory.mktemp("sentinel")
    page = folder / "page.html"
    page.write_text('<!doctype html><img src="http://example.invalid/x.png"><script>console.error("seen")</script>')
    return visit(page, folder / "profile")


def test_a_request_and_a_complaint_would_be_noticed(net_sentinel: Visit) -> None:
    assert any("example.invalid" in url for url in net_sentinel.asked)
    assert "CONSOLE" in net_sentinel.log


def test_report_asks_for_nothing_and_draws_everything(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study()
    for quality in (7.0, 2.0, 0.5):
        study.finish(quality)
    study.finish(0.5, stopped="pruned", n_epochs=2)
    study.fail("<script>alert(1)</script>", "<script>fetch('http://example.invalid')</script>")
    found = visit(write(study.report(), tmp_path), tmp_path / "profile")
    assert "CONSOLE" not in found.log
    assert [url for url in found.asked if not url.startswith("data:")] == []
    page = parse(found.dom)
    assert page.tags["img"] >= 10
    assert page.tags["script"] == 0
