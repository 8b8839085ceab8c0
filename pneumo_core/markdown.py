"""Tables and figures in Markdown, as model cards have them."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar within a cell is written as a slash."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def number(value: float | None) -> str:
    """Return a figure to four digits, a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"


def interval(pair: Sequence[float] | None) -> str:
    """Return the two ends of an interval, a dash where there is none."""
    return "–" if pair is None else f"{pair[0]:.4f} to {pair[1]:.4f}"
