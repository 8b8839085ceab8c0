"""The Kaggle data set by Kaggle's own client, from a server that answers as Kaggle does."""

import base64
import gc
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest

from pneumo_core.data import dataset, kaggle
from pneumo_core.errors import DataError
from tests.commands import pneumo_here
from tests.pneumo_core.files_server import Served, serving

# The client drops the connection that told it that there is something to resume.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SIGNED = "/archive.zip?X-Goog-Signature=secret"


def archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def packed(phantoms: Path) -> dict[str, bytes]:
    """Images as the data set has them: twice, with litter."""
    folders = [(role, name) for role in ("train", "test") for name in ("NORMAL", "PNEUMONIA")]
    found: dict[str, bytes] = {}
    for role, name in folders:
        for image in sorted(phantoms.rglob(f"{name}/*.png"))[:3]:
            found[f"chest_xray/{role}/{name}/{role}-{image.stem}.jpeg"] = image.read_bytes()
    twice = {name.replace("chest_xray/", "chest_xray/chest_xray/", 1): content for name, content in found.items()}
    return {**found, **twice, "chest_xray/__MACOSX/._x": b"", "chest_xray/train/NORMAL/._x.jpeg": b""}


@contextmanager
def kaggle_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: Served) -> Iterator[Served]:
    """Serve `served` where Kaggle's client asks: a call of its interface, answered with a signed address."""
    env = pytest.importorskip("kagglesdk.kaggle_env")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")

    def redirected(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        assert handler.path.endswith("/DownloadDataset")
        handler.send_response(302)
        handler.send_header("Location", SIGNED)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    md5 = base64.b64encode(hashlib.md5(served.content).digest()).decode()
    served.headers |= {"Accept-Ranges": "bytes", "x-goog-hash": f"md5={md5}"}
    with serving(served, do_post=redirected):
        monkeypatch.setitem(env._env_to_endpoint, env.KaggleEnv.LOCAL, served.url.rpartition("/")[0])
        yield served
        gc.collect()


def test_a_broken_download_goes_on_and_becomes_a_source(
    packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    packed["chest_xray/litter"] = np.random.default_rng(0).bytes(3 * 2**20)  # the client writes whole MiB
    with kaggle_answers(monkeypatch, tmp_path, Served(archive(packed), breaks_after=[2**20 + 500])) as served:
        found = kaggle.fetch(tmp_path / "data", n_images=12)
        assert served.ranges == [None, None, f"bytes={2**20}-"]
        assert kaggle.fetch(tmp_path / "data", n_images=12) == found
        assert kaggle.fetch(tmp_path / "again", n_images=12) != found
        assert len(served.ranges) == 3  # the second copy came from the client's cache
    assert len(dataset.scan(found, cache_dir=tmp_path / "cache").records) == 12
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["chest_xray"]
    assert capsys.readouterr().out == ""


def test_what_is_damaged_or_incomplete_is_refused_and_can_be_fetched_again(
    packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive(packed)
    with (
        kaggle_answers(monkeypatch, tmp_path, Served(whole[: len(whole) // 2])),
        pytest.raises(DataError, match="is damaged"),
    ):
        kaggle.fetch(tmp_path / "data", n_images=12)
    with (
        kaggle_answers(monkeypatch, tmp_path, Served(whole)),
        pytest.raises(DataError, match="has 12 images, 13 expected"),
    ):
        kaggle.fetch(tmp_path / "data", n_images=13)
    assert kaggle.fetch(tmp_path / "data", n_images=12).is_dir()


def test_a_signed_address_stays_out_of_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        kaggle_answers(monkeypatch, tmp_path, Served(b"", failures=[403])),
        pytest.raises(DataError, match="can't be downloaded from Kaggle: 403") as caught,
    ):
        kaggle.fetch(tmp_path / "data")
    assert "secret" not in str(caught.value)


def test_without_the_client_or_network_the_command_says_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kagglehub")
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    cache = {"KAGGLEHUB_CACHE": str(tmp_path / "hub"), "KAGGLE_CONFIG_DIR": str(tmp_path)}
    done = pneumo_here("data", "fetch", "kaggle", folder=tmp_path, code=2, **nowhere, **cache)
    assert "without network, download it elsewhere" in done.stderr
    assert done.stdout == ""
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DataError, match=r"pip install 'pneumo-search\[kaggle\]'"):
        kaggle.fetch(tmp_path)
