"""Packages that Keras need not import."""

import sys

import pytest

from pneumo_core.quick_keras import hidden


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
