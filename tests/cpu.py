"""Processor time of a test run: `pytest -p tests.cpu` ends with the sum and the dearest files, children included."""

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

N_SHOWN = 15
KEY = "processor seconds"
_seconds: "Counter[str]" = Counter()  # by file; those of workers are added when they end


def spent_s() -> float:
    """Return the processor time of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before_s = spent_s()
    found = yield
    _seconds[str(item.path.relative_to(Path(item.config.rootpath)))] += spent_s() - before_s  # type: ignore[assignment]
    return found


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[KEY] = dict(_seconds) | {"elsewhere": spent_s() - sum(_seconds.values())}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _seconds.update(getattr(node, "workeroutput", {}).get(KEY, {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section(f"{sum(_seconds.values()) / 60:.1f} minutes of processor time")
    for name, seconds in _seconds.most_common(N_SHOWN):
        terminalreporter.line(f"{seconds:7.1f} s  {name}")
