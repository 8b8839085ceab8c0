"""The time that is left, as lines say it."""

import re
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from search.watching import progress
from search.watching.progress import LineProgress


def test_what_is_left_follows_from_what_was_done_since_the_first_report(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    console = Console(file=StringIO(), width=200)
    lines = LineProgress(console)
    for pass_s in (10.0, 100.0):  # the same work, done again and more slowly
        for done in range(1, 6):
            now += pass_s
            lines("reading", done, 5)
    said = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    left = [found[1] if (found := re.search("about (.*) left", line)) else "" for line in said]
    assert left == ["", "30 s", "20 s", "10 s", "", "", "5 min 00 s", "3 min 20 s", "1 min 40 s", ""]


def test_work_that_broke_off_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    console = Console(file=StringIO(), width=200)
    lines = LineProgress(console)
    for done in (1, 2, 1, 2):
        now += 1000.0 if done == 1 else 10.0
        lines("reading", done, 3)
    assert console.file.getvalue().splitlines()[-1] == "reading: 2 of 3, about 10 s left"  # type: ignore[attr-defined]
