"""What the benchmarks share: sides measured in turn, medians with their spread, a Markdown table, a JSON file."""

import argparse
import datetime
import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pneumo_core.data.preprocess import FitArrays, Origin


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: the repetitions of one side."""

    name: str
    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the benchmark's docstring, with the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=5, help="of each side, in turn")
    made.add_argument("--json", type=Path, help="file for the results")
    return made


def divided(x: np.ndarray, y: np.ndarray, n_train: int, origin: Origin | None = None) -> FitArrays:
    """Return images (n, h, w, c) with labels (n,) as the first `n_train` to train on and the rest to validate.

    Each is of a patient of its own.
    """
    groups = np.arange(len(x)).astype(str)
    return FitArrays(
        x_train=x[:n_train],
        y_train=y[:n_train],
        groups_train=groups[:n_train],
        x_validation=x[n_train:],
        y_validation=y[n_train:],
        groups_validation=groups[n_train:],
        origin=origin,
    )


def in_turn(sides: Mapping[str, Callable[[], float]], n_repeats: int) -> dict[str, tuple[float, ...]]:
    """Return what each side measures `n_repeats` times, another side first in each repetition: load comes and goes."""
    names, found = list(sides), {name: list[float]() for name in sides}
    for repetition in range(n_repeats):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(sides[name]())
    return {name: tuple(values) for name, values in found.items()}


def ratios(numerator: Sequence[float], denominator: Sequence[float]) -> tuple[float, ...]:
    """Return the ratio of each repetition, whose two sides were measured one right after the other."""
    return tuple(a / b for a, b in zip(numerator, denominator, strict=True))


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of medians and spread."""
    lines = ["| | median | smallest to largest |", "|---|---|---|"]
    for row in rows:
        spread = f"{min(row.values):.3g} to {max(row.values):.3g}" if len(row.values) > 1 else ""
        lines.append(f"| {row.name} ({row.unit}) | {row.median:.3g} | {spread} |")
    return "\n".join(lines)


def machine() -> dict[str, str]:
    """Return where and when something was measured, without loading a framework."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.date.today().isoformat(),
        "cores": str(cores),
        "cpu": _cpu(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }


def publish(title: str, rows: Sequence[Row], *, environment: Mapping[str, str], file: Path | None, **more: Any) -> None:
    """Print the table of `rows` under its title and environment; write all of it to `file` where one is given."""
    print(
        f"\n{title}; {', '.join(f'{name} {value}' for name, value in environment.items())}\n\n{table(rows)}", flush=True
    )
    if file is not None:
        measured = [{"name": row.name, "unit": row.unit, "median": row.median, "values": row.values} for row in rows]
        facts = {"title": title, "environment": dict(environment), "rows": measured, **more}
        file.write_text(json.dumps(facts, indent=1), "utf-8")


def _cpu() -> str:
    """Return the processor's number formats that decide how fast it trains, beside its name."""
    try:
        facts = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    flags = next((line for line in facts.splitlines() if line.startswith("flags")), "").split()
    has = [name for flag, name in _FORMATS.items() if flag in flags]
    return " ".join([platform.machine(), *has])


_FORMATS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512-BF16", "amx_bf16": "AMX-BF16"}
