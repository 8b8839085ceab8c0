import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # Matplotlib takes a while to load
    from search.report.svg import Drawing, Paint, Picture


@pytest.fixture(scope="session", autouse=True)
def _trainers_end_with_the_tests() -> Iterator[None]:
    yield
    if (light := sys.modules.get("tests.search.light")) is not None:
        light.end_idle()


@pytest.fixture(autouse=True)
def _no_other_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count no kills for want of memory: the kernel's count includes processes beside the tests."""
    monkeypatch.setattr("search.executors.local.n_oom_kills", lambda _counter: 0)


@pytest.fixture
def one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw each picture of a page once, not once more for phones, and leave its parts where they are.

    For tests of what is in pictures. To find room for titles and labels takes half the time of drawing.
    """
    from search.report import svg

    draw, drawing = svg.draw, svg.Drawing

    def unarranged(figsize: tuple[float, float], layout: str) -> "Drawing":
        return drawing(figsize=figsize)

    monkeypatch.setattr(svg, "Drawing", unarranged)

    def drawn(paint: "Paint", *, phone_height: float | None = None, **options: Any) -> "Picture":
        return draw(paint, **options)

    monkeypatch.setattr(svg, "draw", drawn)


@pytest.fixture
def undrawn() -> Iterator[None]:
    from tests import in_process  # loads more than most tests need

    with in_process.undrawn():
        yield
