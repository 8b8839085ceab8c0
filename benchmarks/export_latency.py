"""How long exported models take on one image and on a batch, beside Keras on the same bundle.

    python -m benchmarks.export_latency BUNDLE EXPORT... [--batch 32] [--repeats 50] [--threads 1]

Exports are made by `pneumo export`. Prints a Markdown table: median and 90th percentile of `--repeats` calls after
warm-up, pixels in memory to scores in memory; decoding and resizing are the same for all and left out.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pneumo_core.bundles import exported
from pneumo_core.bundles.exported import Pixels

N_WARM_UP = 3


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    shapes = [entry["shape"][1:] for entry in exported.read_metadata(asked.exports[0])["inputs"]]
    print(f"| runtime | 1 image: median, 90 % (ms) | {asked.batch} images: median, 90 % (ms) |\n|---|---|---|")
    for name, run in _runners(asked.bundle, asked.exports, asked.threads):
        cells = [_cell(run, _pixels(shapes, n), asked.repeats) for n in (1, asked.batch)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _runners(bundle: Path, exports: list[Path], n_threads: int) -> Iterator[tuple[str, Callable[[Pixels], object]]]:
    for path in exports:
        yield exported.format_of(path), exported.runner(path, n_threads=n_threads)
    from pneumo_core.bundles import predictor

    loaded = predictor.load(bundle)
    yield "Keras", lambda pixels: loaded.scores([tuple(x[i] for x in pixels) for i in range(len(pixels[0]))])


def _pixels(shapes: list[list[int]], n: int) -> list[npt.NDArray[np.uint8]]:
    return [np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8) for shape in shapes]


def _cell(run: Callable[[Pixels], object], pixels: Pixels, n_repeats: int) -> str:
    for _ in range(N_WARM_UP):
        run(pixels)
    times = []
    for _ in range(n_repeats):
        start = time.perf_counter()
        run(pixels)
        times.append(1000 * (time.perf_counter() - start))
    return f"{np.median(times):.2f}, {np.quantile(times, 0.9):.2f}"


if __name__ == "__main__":
    main()
