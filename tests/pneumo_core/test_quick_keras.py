"""Packages that Keras can do without."""

import gc
import subprocess
import sys

import pytest

from pneumo_core.quick_keras import hidden, uncollected


def test_a_hidden_package_can_be_imported_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    assert colorsys.rgb_to_hls(0, 0, 0) == (0, 0, 0)


def test_what_is_imported_already_stays() -> None:
    with hidden("sys"):
        import sys as again
    assert again is sys
    assert sys.modules["sys"] is sys


def test_a_package_comes_back_after_an_error() -> None:
    with pytest.raises(RuntimeError), hidden("tkinter.nowhere"):
        raise RuntimeError
    assert "tkinter.nowhere" not in sys.modules


def test_collecting_garbage_leaves_alone_what_was_imported_for_good() -> None:
    code = (
        "import gc; from pneumo_core.quick_keras import load; before = len(gc.get_objects())\n"
        "load('optuna'); print(before > len(gc.get_objects()), gc.get_freeze_count() > 50_000, gc.isenabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"] * 3


def test_garbage_is_collected_again_after_an_error() -> None:
    with pytest.raises(RuntimeError), uncollected():
        raise RuntimeError
    assert gc.isenabled()
