"""What is seen of an accelerator while something runs there: its utilisation, and the memory that was held."""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator

SAMPLE_EVERY_S = 0.25
QUERY = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]


def peak_bytes() -> float:
    """Return the most memory of the device that this process ever held; 0 where nothing says it."""
    import keras

    if keras.backend.backend() != "jax":
        return 0
    import jax

    return float((jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0))


@contextlib.contextmanager
def sampled() -> Iterator[list[float]]:
    """Fill the list with the utilisation of the first GPU in %, some times a second; leave it empty without one."""
    found: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_EVERY_S):
            text = subprocess.run(QUERY, capture_output=True, text=True, check=False).stdout
            if text.strip():
                found.append(float(text.split()[0]))

    thread = threading.Thread(target=sample, daemon=True)
    if shutil.which("nvidia-smi"):
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        if thread.is_alive():
            thread.join()
