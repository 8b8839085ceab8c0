"""A crash of a decoder ends one scan, and costs the next one that file alone."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pneumo_core.data.journal import Journal
from tests.pneumo_core.data import crashing
from tests.search.light import ROOT

NAMES = ["a.jpeg", "a line\nbreak", "+", "-x", "Latin-1 \udce9"]


def scan(source: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", crashing.__name__, str(source), str(cache))
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_a_file_that_makes_the_decoder_crash_is_left_out_by_the_next_scan(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for n in range(6):
        Image.new("L", (40, 40), 10 * n + 50).save(source / f"{n}.jpeg")
    (source / "3.jpeg").write_bytes((source / "3.jpeg").read_bytes() + crashing.CRASHES)
    assert scan(source, tmp_path).returncode == -signal.SIGSEGV
    assert [path.suffix for path in (tmp_path / "scans").iterdir()] == [".reading"]
    done = scan(source, tmp_path)
    assert done.returncode == 0, done.stderr
    reasons = json.loads(done.stdout)
    assert "makes its decoder crash (SIGSEGV)" in reasons.pop("3.jpeg")
    assert set(reasons.values()) == {""}
    assert [path.suffix for path in (tmp_path / "scans").iterdir()] == [".npz"]


def test_what_was_begun_and_not_ended_is_suspect(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.reading"
    killed = Journal(path)
    with killed.reading("ended"):
        begun = [killed.reading(name) for name in NAMES]
        for block in begun:
            block.__enter__()
    assert not killed.suspects
    following = Journal(path)
    assert following.suspects == set(NAMES)
    for name in NAMES:
        with following.reading(name):
            pass
    following.close()
    assert not path.exists()
    killed.close()


def test_an_interrupted_scan_keeps_its_suspects(tmp_path: Path) -> None:
    path = tmp_path / "a.reading"
    path.write_text('+"a"\n+"b"\n')
    journal = Journal(path)
    with pytest.raises(KeyboardInterrupt), journal.reading("c"):
        raise KeyboardInterrupt
    journal.close()
    following = Journal(path)
    assert following.suspects == {"a", "b"}
    following.close()


@pytest.mark.parametrize("content", [b"", b"+", b"+3\n", b'+"cut of', b"\xff\x00\n+\xff", b'-"a"\n-"a"\n'])
def test_a_damaged_journal_names_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.reading").write_bytes(content)
    journal = Journal(tmp_path / "a.reading")
    assert not journal.suspects
    journal.close()
    assert not (tmp_path / "a.reading").exists()


def test_where_nothing_can_be_written_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "a.reading")
    with journal.reading("a"):
        pass
    journal.close()
