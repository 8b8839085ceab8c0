"""The pictures of `docs/images`, of a study that was searched on real images.

    python -m benchmarks.pictures STUDY --home HOME --data SRC [--bundle BUNDLE] [--out docs/images] [--print DIR]

Needs Chromium, and optuna-dashboard. The report is drawn at 400, 900 and 1600 px, light and dark, the page of the best
trial in the dashboard, and the terminal of 80 columns as it was before the last two trials ended, replayed from the
database. `--print` also writes the report as a PDF.
"""

import argparse
import io
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.text import Text

from pneumo_core import codec
from pneumo_core.specs import TrialSpec
from search import records, stored_trials, trials
from search.dashboard import app, open
from search.home import Home
from search.report import gallery, gather, page
from search.storage import artifacts
from search.storage.database import open_storage
from search.study import load_study
from search.watching.view import LiveView

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000")
DARK, LIGHT = 0, 1
REPORTS = (  # name, width and height in px, light or dark, pixels of the picture for one of the page
    ("report", 900, 1560, LIGHT, 1),
    ("report-dark", 900, 1560, DARK, 1),
    ("report-phone", 400, 1500, LIGHT, 2),
    ("report-phone-dark", 400, 1500, DARK, 2),
    ("report-wide", 1600, 1500, LIGHT, 1),
    ("report-wide-dark", 1600, 1500, DARK, 1),
)
COLUMNS, RUNNING = 80, 2


def main() -> None:
    """Parse, draw, say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--print", type=Path, dest="paper")
    asked = parser.parse_args()
    home, url = Home(asked.home), Home(asked.home).storage_url
    study = load_study(asked.study, open_storage(url, create=False))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        overlays = gallery.from_bundle(asked.bundle, lambda *_: None) if asked.bundle else None
        data = page.make(study, url, home, data=asked.data, overlays_for=overlays)
        file = page.write(data, place)
        for name, width, height, theme, scale in REPORTS:
            shoot(file.as_uri(), asked.out / f"{name}.png", (width, height), theme, scale)
        if asked.paper:
            asked.paper.mkdir(exist_ok=True)
            browse(file.as_uri(), f"--print-to-pdf={asked.paper / 'report.pdf'}", "--no-pdf-header-footer")
    labels, _ = open.find_labels(study, home, asked.data, None)
    best = records.summarise(study, url).best
    with served(open.dashboard(study, home, labels)) as port:
        address = f"http://{app.LOOPBACK}:{port}/dashboard/studies/{study._study_id}/trials"
        shoot(f"{address}?numbers={best.number if best else 0}", asked.out / "dashboard.png", (1200, 900))
    (asked.out / "terminal.svg").write_text(terminal(study, url, home), "utf-8")
    print(f"pictures of study {asked.study} are in {asked.out}")


def shoot(url: str, file: Path, size: tuple[int, int], theme: int = LIGHT, scale: int = 1) -> None:
    """Write what a browser window of `size` px shows as PNG."""
    width, height = size
    browse(
        url,
        f"--screenshot={file.absolute()}",
        f"--window-size={width},{height}",
        f"--force-device-scale-factor={scale}",
        f"--blink-settings=preferredColorScheme={theme}",
    )


def browse(url: str, *flags: str) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, url]
        subprocess.run(command, check=True, capture_output=True, timeout=300)


@contextmanager
def served(dashboard: app.Wsgi) -> Iterator[int]:
    """Serve meanwhile; yields the port."""
    with app.server(dashboard, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def terminal(study: optuna.Study, url: str, home: Home) -> str:
    """Return the live view of a terminal before the last trials of `study` ended, as SVG."""
    every = trials.current(stored_trials.trials_of(study).ours)
    results = gather.results(study, artifacts.store(home.artifacts), every, every)
    done = sorted((trial for trial in every if trial.number in results), key=lambda trial: trial.number)
    ended = [trial.state for trial in done[-RUNNING:]]
    summary = records.summarise(study, url)
    total, n_complete = summary.n_finished, ended.count(TrialState.COMPLETE)
    summary = replace(
        summary, n_complete=summary.n_complete - n_complete, n_pruned=summary.n_pruned - len(ended) + n_complete
    )
    seen = io.StringIO()
    console = Console(width=COLUMNS, force_terminal=True, file=seen)
    view = LiveView(console, total, RUNNING, lambda: summary)
    seconds = {trial.number: results[trial.number].seconds for trial in done}
    view._began_s -= sum(seconds.values()) / RUNNING
    for trial in done:
        view.started(trial.number, spec_of(trial))
        view._rows[trial.number].began_s -= seconds[trial.number]
    for trial in done[:-RUNNING]:
        view.finished(trial.number, results[trial.number])
    for trial in done[-RUNNING:]:
        history = results[trial.number].history
        middle = len(history) // 2
        view.epoch(trial.number, middle, history[middle])
        view._rows[trial.number].began_s += seconds[trial.number] * (1 - (middle + 1) / len(history))
    console.print(view._render())
    shown = Console(width=COLUMNS, record=True, file=io.StringIO())
    shown.print(Text.from_ansi(seen.getvalue()))  # long lines wrap, as in a terminal
    return shown.export_svg(title=f"pneumo launch {study.study_name} --workers {RUNNING}")


def spec_of(trial: FrozenTrial) -> TrialSpec:
    return codec.from_json(TrialSpec, trial.user_attrs["spec"])


if __name__ == "__main__":
    main()
