"""The process in which a bundle is used: `python -m pneumo_core.bundles.bundle_process`, one request on standard input.

The command line never loads Keras itself. It sends a JSON request, one of `Request`, and reads JSON lines from standard
output: `{"progress": [what, done, total]}` any number of times, then `{"answer": ...}` or `{"error": message,
"wrong_use": bool}`. Whatever the libraries print goes to standard error.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pneumo_core import codec, lifeline
from pneumo_core.bundles.formats import Format
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.progress import Progress

if TYPE_CHECKING:
    from pneumo_core.bundles.prediction import Prediction

PROGRESS_EVERY = 16  # images


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a bundle on a labelled source."""

    kind: Literal["evaluate"] = "evaluate"
    bundle: str
    source: str
    cache: str
    negative: str | None = None
    positive: str | None = None


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Score files."""

    kind: Literal["predict"] = "predict"
    bundle: str
    paths: tuple[str, ...]
    heatmaps: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExportTo:
    """Write the networks in a format that other programs run."""

    kind: Literal["export"] = "export"
    bundle: str
    format: Format
    path: str


Request = Evaluate | Predict | ExportTo


def main() -> None:
    """Serve one request."""
    lines = lifeline.own_output()

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message, allow_nan=False), file=lines, flush=True)

    def progress(what: str, done: int, total: int) -> None:
        if done % PROGRESS_EVERY == 0 or done == total:
            send({"progress": [what, done, total]})

    try:
        request: Request = codec.from_json(Request, json.load(sys.stdin))  # type: ignore[arg-type]
        send({"answer": serve(request, progress)})
    except (PneumoError, OSError) as error:
        send({"error": str(error), "wrong_use": isinstance(error, UserError)})
    except KeyboardInterrupt:
        sys.exit(130)


def serve(request: Request, progress: Progress) -> Any:
    """Return the answer as JSON-native data. What can be wrong is checked before the slow import of Keras."""
    from pneumo_core.bundles import bundle

    about = bundle.read(Path(request.bundle))
    if isinstance(request, Predict):
        return _predict(request, progress)
    if isinstance(request, ExportTo):
        return _export(request)
    from pneumo_core.bundles import labelled

    manifest = labelled.scan(
        about,
        request.source,
        cache_dir=Path(request.cache),
        negative=request.negative,
        positive=request.positive,
        on_progress=progress,
    )
    from pneumo_core.bundles import evaluate, predictor

    found = evaluate.evaluate(predictor.load(Path(request.bundle)), manifest, on_progress=progress)
    extra = {"rejected": found.rejected, "notes": found.notes}
    return {**codec.to_json(found.assessment), **codec.to_json(extra)}


def _predict(request: Predict, progress: Progress) -> list[dict[str, Any]]:
    from pneumo_core.bundles import evaluate, predictor

    loaded = predictor.load(Path(request.bundle))
    folder = Path(request.heatmaps) if request.heatmaps else None
    found = evaluate.predict(loaded, [Path(path) for path in request.paths], heatmaps=folder, on_progress=progress)
    return [_row(prediction) for prediction in found]


def _export(request: ExportTo) -> dict[str, Any]:
    from pneumo_core.bundles import exported

    exported.check_free(Path(request.path))
    exported.check_packages(request.format)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the formats are made from its graphs, whatever trained the networks
    from pneumo_core.bundles import export, predictor

    written = export.write(predictor.load(Path(request.bundle)), request.format, Path(request.path))
    return {**codec.to_json(written)}


def _row(found: "Prediction") -> dict[str, Any]:
    if found.error:
        return {"path": found.path, "error": found.error}
    row = {name: getattr(found, name) for name in ("path", "score", "decision", "threshold")}
    return {**row, "heatmap": found.heatmap} if found.heatmap else row


if __name__ == "__main__":
    main()
