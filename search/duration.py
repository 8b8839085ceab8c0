"""Durations as people type and read them."""

import re

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(text: str) -> float:
    """Return the seconds of "2h", "1h30m", "90s" or "90". Raises `ValueError` naming what is allowed."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif re.fullmatch(r"(\d+(\.\d+)?[dhms])+", text):
        seconds = sum(float(n) * _UNITS_S[unit] for n, _, unit in re.findall(r"(\d+(\.\d+)?)([dhms])", text))
    else:
        raise ValueError(f"a duration must look like 2h, 1h30m or 90s, got {text!r}")
    if seconds <= 0:
        raise ValueError(f"a duration must be longer than nothing, got {text!r}")
    return seconds


def say_duration(seconds: float) -> str:
    """Return seconds in the largest two units that matter."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {s:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
