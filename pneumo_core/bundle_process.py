"""The process in which a bundle is used: `python -m pneumo_core.bundle_process`, a request on standard input.

The command line never loads Keras itself. It sends one JSON request, `Evaluate` or `Predict`, and gets one JSON object
on standard output; progress and messages go to standard error. The exit code is the command's.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from pneumo_core import codec
from pneumo_core.errors import PneumoError, UserError

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


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


Request = Evaluate | Predict


def main() -> None:
    """Serve one request; whatever a library prints on standard output is sent to standard error."""
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        request: Request = codec.from_json(Request, json.load(sys.stdin))  # type: ignore[arg-type]
        json.dump(serve(request), answer, allow_nan=False)
        answer.close()
    except UserError as error:
        _die(error, WRONG_USE)
    except (PneumoError, OSError) as error:
        _die(error, FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def serve(request: Request) -> Any:
    """Return the answer as JSON-native data. The bundle is checked before the slow import of Keras."""
    from pneumo_core import bundle

    bundle.read(Path(request.bundle))
    from pneumo_core import evaluate, predictor

    loaded = predictor.load(Path(request.bundle))
    if isinstance(request, Predict):
        paths = [Path(path) for path in request.paths]
        folder = Path(request.heatmaps) if request.heatmaps else None
        return [_row(found) for found in evaluate.predict(loaded, paths, heatmaps=folder, on_progress=_progress())]
    found = evaluate.evaluate(
        loaded,
        request.source,
        cache_dir=Path(request.cache),
        negative=request.negative,
        positive=request.positive,
        on_progress=_progress(),
    )
    extra = {"rejected": found.rejected, "notes": found.notes}
    return {**codec.to_json(found.assessment), **codec.to_json(extra)}


def _row(found: Any) -> dict[str, Any]:
    if found.error:
        return {"path": found.path, "error": found.error}
    row = {name: getattr(found, name) for name in ("path", "score", "decision", "threshold")}
    return {**row, "heatmap": found.heatmap} if found.heatmap else row


def _progress() -> Any:
    from pneumo_core.progress import silent

    if not sys.stderr.isatty():
        return silent
    return lambda what, done, total: print(
        f"\r{what}: {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True
    )


def _die(message: object, code: int) -> NoReturn:
    print(f"pneumo: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
