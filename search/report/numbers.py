"""Numbers as readers want them: percent with one decimal, the interval beside the figure."""

from datetime import timedelta

from search.report.data import Estimate, State
from search.report.markup import Html, join, tag

SPACE = "\u00a0"  # doesn't break

STATE_WORDS: dict[State, str] = {
    "feasible": "meets the ceiling",
    "infeasible": "misses the ceiling",
    "pruned": "pruned",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting",
}


def percent(value: float, decimals: int = 1) -> str:
    return f"{100 * value:.{decimals}f}{SPACE}%"


def percent_range(estimate: Estimate) -> str:
    low, high = estimate.interval.low, estimate.interval.high
    return f"{100 * low:.1f}–{100 * high:.1f}{SPACE}%"


def share(estimate: Estimate | None) -> Html:
    """Return a proportion with its 95 % interval and its counts."""
    if estimate is None:
        return Html("–")
    counts = f" · {estimate.hits} of {estimate.n}" if estimate.n is not None else ""
    return join([percent(estimate.value), " ", tag("span", f"({percent_range(estimate)}){counts}", class_="ci")])


def area(estimate: Estimate) -> Html:
    """Return an AUC with its 95 % interval."""
    low, high = estimate.interval.low, estimate.interval.high
    return join([f"{estimate.value:.3f} ", tag("span", f"({low:.3f}–{high:.3f})", class_="ci")])


def margin(estimate: Estimate, decimals: int = 3) -> Html:
    """Return a difference with its sign and its 95 % interval."""
    low, high = estimate.interval.low, estimate.interval.high
    text = f"{estimate.value:+.{decimals}f} "
    return join([text, tag("span", f"({low:+.{decimals}f} to {high:+.{decimals}f})", class_="ci")])


def count(n: int) -> str:
    return f"{n:,}".replace(",", "\u202f")


def plural(n: int, one: str, many: str | None = None) -> str:
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    parts = [(whole.days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s")]
    first = next((index for index, (n, _) in enumerate(parts) if n), 3)
    return " ".join(f"{n} {unit}" for n, unit in parts[first : first + 2] if n) or "0 s"


def scalar(value: object) -> str:
    """Return a parameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the unit that suits a span of `seconds`."""
    return next(
        ((size, name) for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds > 2 * size),
        (1, "seconds"),
    )
