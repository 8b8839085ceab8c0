import hashlib
from pathlib import Path

import pytest

from pneumo_core.data import fetch
from pneumo_core.data.download import Digest, Remote
from pneumo_core.errors import DataError
from tests.commands import pneumo_here
from tests.pneumo_core.files_server import Served, serving


def test_medmnist_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(b"arrays")) as served:
        wrong = Remote(url=f"{served.url.rpartition('/')[0]}/pneumoniamnist_64.npz?download=1", digest=_md5("0" * 32))
        monkeypatch.setattr(fetch, "MEDMNIST", {64: wrong})
        with pytest.raises(DataError, match="something else than expected"):
            fetch.medmnist(64, tmp_path)
        right = Remote(url=wrong.url, digest=_md5(hashlib.md5(b"arrays").hexdigest()))
        monkeypatch.setattr(fetch, "MEDMNIST", {64: right})
        assert fetch.medmnist(64, tmp_path) == tmp_path / "pneumoniamnist_64.npz"
    with pytest.raises(DataError, match="sizes 64, got 32"):
        fetch.medmnist(32, tmp_path)


def _md5(value: str) -> Digest:
    return Digest(algorithm="md5", value=value)


def test_every_size_has_a_file_and_a_digest() -> None:
    assert list(fetch.MEDMNIST) == [28, 64, 128, 224]
    assert len({remote.digest and remote.digest.value for remote in fetch.MEDMNIST.values()}) == 4


def test_without_network_the_command_says_what_helps(tmp_path: Path) -> None:
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    done = pneumo_here("data", "fetch", "medmnist", "--size", "64", folder=tmp_path, code=2, **nowhere)
    assert "can't be downloaded" in done.stderr
    assert "without network, download it elsewhere and put it at data/" in done.stderr
