"""A decoder's crash costs one image, in the commands that use a bundle too."""

from pathlib import Path

import pytest
from PIL import Image

from pneumo_core.bundles.bundle_process import Predict
from search import bundle_client
from tests.commands import ROOT
from tests.pneumo_core import made_bundles

CRASHES = b"this makes the decoder crash"
HOOK = f"""
import signal
from PIL import Image

usual = Image.open

def open(file, *args, **kwargs):
    if hasattr(file, "getvalue") and {CRASHES!r} in file.getvalue():
        signal.raise_signal(signal.SIGSEGV)
    return usual(file, *args, **kwargs)

Image.open = open
"""


def test_a_file_that_makes_the_decoder_crash_is_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'hook'}:{ROOT}")
    for name in ("good.jpeg", "bad.jpeg"):
        Image.radial_gradient("L").save(tmp_path / name)
    (tmp_path / "bad.jpeg").write_bytes((tmp_path / "bad.jpeg").read_bytes() + CRASHES)
    paths = (str(tmp_path / "good.jpeg"), str(tmp_path / "bad.jpeg"))
    made_bundles.make(tmp_path / "b", made_bundles.CNN)
    answer = bundle_client.ask(Predict(bundle=str(tmp_path / "b"), paths=paths))
    good, bad = answer["rows"]
    assert 0 <= good["score"] <= 1
    assert "makes its decoder crash (SIGSEGV)" in bad["error"]
