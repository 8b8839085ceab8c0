"""Mutated image files through the command line: no traceback, no hang, nothing over the limits.

    python -m tests.fuzz [--files 5000] [--seed 0] [--at-once 500]

Each round writes `--at-once` files changed at random (bytes flipped, cut, doubled, put in) into a source and runs
`pneumo data check` over it. It fails on a traceback, on a line that names a patient, after 30 s a file, and where a
process took more than 1.5 GiB.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

LIMIT_BYTES = 1.5 * 2**30
LIMIT_S = 30.0
SECRET = "SECRET-7"
PEAK = "largest process, bytes: "
# Runs a command in a process of its own, so that the memory of no other child of ours is counted.
MEASURED = f"""
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("{PEAK}", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
sys.exit(code)
"""

Mutation = Callable[[bytearray, np.random.Generator], bytearray]


def main() -> int:
    """Run the rounds; return 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    done = 0
    while done < asked.files:
        n_files = min(asked.at_once, asked.files - done)
        with tempfile.TemporaryDirectory() as folder:
            if problem := run_round(Path(folder), n_files, asked.seed + done):
                print(f"seed {asked.seed + done}: {problem}")
                return 1
        done += n_files
        print(f"{done} files: nothing escaped", flush=True)
    return 0


def run_round(folder: Path, n_files: int, seed: int) -> str:
    """Check a source of `n_files` mutated files; return what went wrong, or ""."""
    source = folder / "source"
    write_source(source, n_files, seed)
    command = ("-m", "search.cli", "data", "check", str(source), "--home", str(folder / "home"))
    try:
        done = subprocess.run(
            (sys.executable, "-c", MEASURED, sys.executable, *command),
            capture_output=True,
            timeout=120 + LIMIT_S * n_files,
        )
    except subprocess.TimeoutExpired:
        return "it hangs"
    text = (done.stdout + done.stderr).decode(errors="replace")
    *_, peak = text.rsplit(PEAK, 1)
    if "Traceback" in text or done.returncode not in (0, 1, 2):
        return f"exit code {done.returncode}: {text[-3000:]}"
    if SECRET in text:
        return "it names a patient"
    return f"a process took {int(peak)} bytes" if int(peak) > LIMIT_BYTES else ""


def write_source(source: Path, n_files: int, seed: int) -> None:
    """Write a source of good images, so that there is something to audit, and `n_files` mutated ones."""
    rng = np.random.default_rng(seed)
    seeds = good_files()
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        (source / name).mkdir(parents=True)
        for i in range(6):
            Image.fromarray(picture(100 * label + i)).save(source / name / f"good-{i}.png")
    for i in range(n_files):
        data = mutated(seeds[i % len(seeds)], rng)
        (source / ("NORMAL", "PNEUMONIA")[i % 2] / f"mutated-{i}").write_bytes(data)


def good_files() -> list[bytes]:
    """Return one small file of each kind that is read."""
    grey = picture(0)
    kinds: dict[str, npt.NDArray[np.generic]] = dict.fromkeys(("JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000"), grey)
    files = [encoded(values, name) for name, values in kinds.items()]
    files.append(encoded(grey.astype(np.uint16) * 16, "PNG"))
    files.append(encoded(grey, "JPEG", progressive=True))
    files.append(encoded(grey, "TIFF", compression="tiff_lzw"))
    return [*files, *dicom_files(grey.astype(np.uint16) * 16)]


def dicom_files(stored: npt.NDArray[np.uint16]) -> list[bytes]:
    """Return DICOM files with and without compression; none without pydicom."""
    try:
        import pydicom
    except ImportError:
        return []
    from tests.pneumo_core.data.test_dicom import image

    plain = image(stored, WindowCenter=1800, WindowWidth=3000, PixelPaddingValue=65535, PatientID=SECRET)
    dataset = pydicom.dcmread(io.BytesIO(plain))
    dataset.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return [plain, plain[132:], buffer.getvalue()]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return `data` after one to four changes."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        changed = _MUTATIONS[rng.integers(len(_MUTATIONS))](changed, rng)
    return bytes(changed)


def _flip(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, max(1, len(data)), 8):
        data[at : at + 1] = rng.bytes(1)
    return data


def _flip_header(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(0, min(600, max(1, len(data)))))
    data[at : at + 4] = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", rng.bytes(4))[rng.integers(4)]
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: int(rng.integers(0, max(1, len(data))))]


def _double(data: bytearray, rng: np.random.Generator) -> bytearray:
    first, last = sorted(int(at) for at in rng.integers(0, max(1, len(data)), 2))
    return data[:last] + data[first:last] + data[last:]


def _put_in(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(0, max(1, len(data))))
    return data[:at] + rng.bytes(int(rng.integers(1, 64))) + data[at:]


_MUTATIONS: Sequence[Mutation] = (_flip, _flip_header, _flip_header, _cut, _double, _put_in)


def picture(seed: int) -> npt.NDArray[np.uint8]:
    """Return a smooth grey picture, (40, 48)."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((48, 40), Image.Resampling.BICUBIC))


def encoded(values: npt.NDArray[np.generic], name: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, name, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "default")
    sys.exit(main())
