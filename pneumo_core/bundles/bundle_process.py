"""The process in which a bundle is used: `python -m pneumo_core.bundles.bundle_process`, for one request.

The command line never loads Keras itself. It sends a `Request` (see `pneumo_core.peer`), and reads
`{"progress": [what, done, total]}` any number of times, then `{"answer": ...}` or
`{"error": message, "wrong_use": bool}`.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pneumo_core import codec
from pneumo_core.bundles.formats import Format
from pneumo_core.data.source_spec import SourceSpec
from pneumo_core.errors import PneumoError, UserError
from pneumo_core.files import storage_errors
from pneumo_core.peer import Parent
from pneumo_core.progress import Progress

if TYPE_CHECKING:
    from pneumo_core.bundles.bundle import Bundle
    from pneumo_core.bundles.prediction import Prediction
    from pneumo_core.data.manifest import Manifest

PROGRESS_EVERY = 16  # images


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a bundle on a labelled source."""

    kind: Literal["evaluate"] = "evaluate"
    bundle: str
    source: SourceSpec
    cache: str


@dataclass(frozen=True, kw_only=True)
class Certify:
    """Set a bundle's threshold anew on a labelled source; None: the bundle's own ceiling and confidence."""

    kind: Literal["certify"] = "certify"
    bundle: str
    source: SourceSpec
    cache: str
    out: str
    ceiling: float | None = None
    confidence: float | None = None
    leave_out_known: bool = False


@dataclass(frozen=True, kw_only=True)
class MeasureDrift:
    """Compare images without labels with those that a bundle was certified on."""

    kind: Literal["drift"] = "drift"
    bundle: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Score files."""

    kind: Literal["predict"] = "predict"
    bundle: str
    paths: tuple[str, ...]
    heatmaps: str | None = None
    compare: bool = False  # with the images that the bundle was certified on, where there are many


@dataclass(frozen=True, kw_only=True)
class ExportTo:
    """Write the networks in a format that other programs run."""

    kind: Literal["export"] = "export"
    bundle: str
    format: Format
    path: str


Request = Evaluate | Certify | MeasureDrift | Predict | ExportTo


def main() -> None:
    """Serve one request."""
    parent = Parent()

    def progress(what: str, done: int, total: int) -> None:
        if done % PROGRESS_EVERY == 0 or done == total:
            parent.send({"progress": [what, done, total]})

    try:
        request: Request = codec.from_json(Request, parent.receive())  # type: ignore[arg-type]
        parent.send({"answer": serve(request, progress)})
    except (PneumoError, OSError) as error:
        parent.send({"error": str(error), "wrong_use": isinstance(error, UserError)})
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
    if isinstance(request, MeasureDrift):
        return _drift(request, progress)
    from pneumo_core.bundles import labelled

    manifest = labelled.scan(about, request.source, cache_dir=Path(request.cache), on_progress=progress)
    if isinstance(request, Certify):
        return _certify(request, about, manifest, progress)
    from pneumo_core.bundles import evaluate, predictor, trained_on

    known = trained_on.read(Path(request.bundle))
    found = evaluate.evaluate(predictor.load(Path(request.bundle)), manifest, known=known, on_progress=progress)
    extra = {"rejected": found.rejected, "notes": found.notes, "engine": found.engine}
    return {**codec.to_json(found.assessment), **codec.to_json(extra)}


def _certify(request: Certify, about: "Bundle", manifest: "Manifest", progress: Progress) -> dict[str, Any]:
    from pneumo_core.bundles import bundle, recertify

    folder, out = Path(request.bundle), Path(request.out)
    bundle.check_free(out)
    wanted = recertify.Wanted(
        ceiling=about.ceiling if request.ceiling is None else request.ceiling,
        confidence=about.confidence if request.confidence is None else request.confidence,
    )
    images = recertify.look_at(folder, manifest, leave_out_known=request.leave_out_known, on_progress=progress)
    from pneumo_core.bundles import evaluate, predictor

    scores = evaluate.scores(predictor.load(folder), manifest, images.records, progress)
    made = recertify.certification(about, images, scores, wanted)
    recertify.write(folder, out, recertify.certified(about, made), images, scores)
    return recertify.answer(about, made, images, out)


def _drift(request: MeasureDrift, progress: Progress) -> dict[str, Any]:
    from pneumo_core.bundles import unlabelled

    paths = unlabelled.find(Path(request.folder))
    from pneumo_core.bundles import predictor

    found, rejected = unlabelled.drift_of(predictor.load(Path(request.bundle)), Path(request.bundle), paths, progress)
    return {**codec.to_json(found), "line": found.line, "rejected": rejected}


def _predict(request: Predict, progress: Progress) -> dict[str, Any]:
    """Return the rows, and for many files in a line whether they are like those of the certificate."""
    from pneumo_core.bundles import evaluate, predictor, unlabelled

    folder = Path(request.heatmaps) if request.heatmaps else None
    if folder is not None:
        with storage_errors(folder):  # before anything is scored
            folder.mkdir(parents=True, exist_ok=True)
    loaded = predictor.load(Path(request.bundle))
    paths = [Path(path) for path in request.paths]
    found = evaluate.predict(loaded, paths, heatmaps=folder, on_progress=progress)
    line = unlabelled.line(Path(request.bundle), found, progress) if request.compare else None
    return {"rows": [_row(each) for each in found], "drift": line}


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
    return row | {name: text for name in ("heatmap", "heatmap_error") if (text := getattr(found, name))}


if __name__ == "__main__":
    main()
