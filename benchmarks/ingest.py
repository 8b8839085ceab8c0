"""Full-size JPEG files to grey arrays of 224 px: the first launch, added files and a warm start, beside Keras.

    python -m benchmarks.ingest FOLDER [--images 600] [--added 0.01] [--size 224] [--repeats 5] [--json FILE]

FOLDER has class folders of originals. Where it has fewer than `--images`, they are repeated, each time cut by one more
row of blocks and encoded anew at the quality it had, so that all contents differ. "ours" is the whole of what a first
launch does: scan (digests, headers, thumbnails for look-alikes), roles, decoding, and arrays on the disk, checked.
Keras is `image_dataset_from_directory(color_mode="grayscale")`, iterated once, which leaves nothing behind. All files
are in the page cache on both sides. "added" is the launch after so many more files came; "trial" is what each trial
then does, to have all pixels of train and validation in reach.
"""

import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from benchmarks import measure
from benchmarks.measure import Row
from pneumo_core.data import preprocess, reading
from pneumo_core.data.dataset import scan
from pneumo_core.data.rows import decoding, to_size
from pneumo_core.data.scanned import Scanned
from pneumo_core.data.split import assign_roles
from pneumo_core.parallel import map_in_order
from pneumo_core.progress import silent
from pneumo_core.specs import DataSpec, SplitSpec

BLOCK_PX = 8
CLASSES = ("NORMAL", "PNEUMONIA")


def main() -> None:
    """Parse, measure, print."""
    parser = measure.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--added", type=float, default=0.01, help="share of the images that come later")
    parser.add_argument("--size", type=int, default=224)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), DataSpec(image_size_px=asked.size))
        n_images = multiplied(asked.folder, asked.images, bench.images)
        rows = bench.rows(asked.repeats, max(1, round(asked.added * n_images)))
        n_bytes = sum(file.stat().st_size for file in bench.images.rglob("*.jpeg"))
    title = f"{n_images} originals of {n_bytes / n_images / 1000:.0f} kB on average to {asked.size} px"
    measure.publish(title, rows, environment=measure.machine(), file=asked.json)


class Bench:
    """The images, what is held back of them, and the sides."""

    def __init__(self, scratch: Path, data: DataSpec) -> None:
        self._scratch, self._data = scratch, data
        self.images, self._held_back = scratch / "images", scratch / "held back"

    def rows(self, n_repeats: int, n_added: int) -> list[Row]:
        """Measure everything; return the rows of the table."""
        _keras_s(self.images, self._data.image_size_px)  # imports the framework, and fills the page cache
        ours, keras = "ours, scan to arrays", "image_dataset_from_directory"
        sides: dict[str, Callable[[], float]] = {
            ours: self._cold_s,
            keras: lambda: _keras_s(self.images, self._data.image_size_px),
        }
        found = measure.in_turn(sides, n_repeats)
        parts = [self._parts_s() for _ in range(n_repeats)]
        later = [self._later_s(n_added) for _ in range(n_repeats)]
        return [
            *(Row(name=name, values=values) for name, values in found.items()),
            Row(name="speed of ours ÷ Keras", values=measure.ratios(found[keras], found[ours]), unit="times"),
            Row(name="ours, scan", values=tuple(part[0] for part in parts)),
            Row(name="ours, arrays", values=tuple(part[1] for part in parts)),
            Row(name=f"ours, {n_added} files added", values=tuple(each[0] for each in later)),
            Row(name="ours, nothing added", values=tuple(each[1] for each in later)),
            Row(name="trial: arrays opened", values=tuple(1000 * each[2] for each in later), unit="ms"),
            Row(name="trial: every pixel read", values=tuple(1000 * each[3] for each in later), unit="ms"),
            *_work(_sample(self.images, 100), self._data),
        ]

    def _cold_s(self) -> float:
        return sum(self._parts_s())

    def _parts_s(self) -> tuple[float, float]:
        cache = self._scratch / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        return self._launch_s(cache)[:2]

    def _launch_s(self, cache: Path) -> tuple[float, float, Path]:
        began_s = time.perf_counter()
        scanned = Scanned([self._data])
        manifest = scan(self.images, cache_dir=cache, scanned=scanned)
        split = assign_roles(manifest, SplitSpec())
        scanned_s = time.perf_counter()
        folder = preprocess.prepare(manifest, split, self._data, cache_dir=cache, scanned=scanned)
        return scanned_s - began_s, time.perf_counter() - scanned_s, folder

    def _later_s(self, n_added: int) -> tuple[float, float, float, float]:
        """Return the seconds of a launch after files came, of the next one, and of a trial's two looks at them."""
        late = _sample(self.images, n_added)
        for file in late:
            file.rename(self._scratch / file.name)
        self._parts_s()
        for file in late:
            (self._scratch / file.name).rename(file)
        cache = self._scratch / "cache"
        added, same = sum(self._launch_s(cache)[:2]), self._launch_s(cache)
        began_s = time.perf_counter()
        arrays = preprocess.open_fit_arrays(same[2])
        opened_s = time.perf_counter()
        int(arrays.x_train.max()) + int(arrays.x_validation.max())
        return added, sum(same[:2]), opened_s - began_s, time.perf_counter() - opened_s


def multiplied(folder: Path, n_images: int, into: Path) -> int:
    """Fill `into` with at least `n_images` files of different contents; return how many."""
    files = {name: sorted((folder / name).glob("*.jp*g")) for name in CLASSES}
    n_rounds = -(-n_images // sum(map(len, files.values())))
    todo = [(name, file, cut) for name in CLASSES for file in files[name] for cut in range(n_rounds)]
    for name in CLASSES:
        (into / name).mkdir(parents=True)

    def write(job: tuple[str, Path, int]) -> None:
        name, file, cut = job
        (into / name / f"{file.stem}-{cut}.jpeg").write_bytes(_cut(file, cut) if cut else file.read_bytes())

    for _ in map_in_order(write, todo, what="repeating images", on_progress=silent):
        pass
    return len(todo)


def _sample(images: Path, n_images: int) -> list[Path]:
    files = sorted(images.rglob("*.jpeg"))
    return files[:: max(1, len(files) // n_images)][:n_images]


def _cut(file: Path, n_blocks: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(file) as image:
        top = BLOCK_PX * n_blocks
        tables = image.quantization  # type: ignore[attr-defined]
        image.convert("L").crop((0, top, image.width, image.height)).save(buffer, "JPEG", qtables={0: tables[0]})
    return buffer.getvalue()


def _keras_s(folder: Path, size_px: int) -> float:
    import keras

    began_s = time.perf_counter()
    images = keras.utils.image_dataset_from_directory(
        folder, color_mode="grayscale", image_size=(size_px, size_px), batch_size=64, verbose=False
    )
    for _ in images:
        pass
    return time.perf_counter() - began_s


def _work(files: list[Path], data: DataSpec) -> list[Row]:
    """Return the processor's milliseconds an image, on one core, of the steps: what bounds every reader."""
    contents = [file.read_bytes() for file in files]
    _, near_px = decoding(data)
    pixels = [reading.decode(content, channels=1, at_least_px=near_px) for content in contents]
    steps: dict[str, Callable[[], object]] = {
        "decoding at 1/8, hardly more than the Huffman codes": lambda: _each(contents, 1),
        "decoding near the target's size": lambda: _each(contents, near_px),
        "decoding whole": lambda: _each(contents, None),
        "shrinking to the target's size": lambda: [to_size(image, data) for image in pixels],
    }
    return [Row(name=f"per image: {name}", values=_cpu_ms(step, len(files)), unit="ms") for name, step in steps.items()]


def _each(contents: list[bytes], at_least_px: int | None) -> None:
    for content in contents:
        reading.decode(content, channels=1, at_least_px=at_least_px)


def _cpu_ms(step: Callable[[], object], n_images: int) -> tuple[float, ...]:
    found = []
    for _ in range(3):
        began_s = time.process_time()
        step()
        found.append(1000 * (time.process_time() - began_s) / n_images)
    return tuple(found)


if __name__ == "__main__":
    main()
