import base64
import hashlib
import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pneumo_core.data import download
from pneumo_core.data.download import Digest, Remote
from pneumo_core.errors import DataError, StorageError
from tests.pneumo_core.files_server import Served, encrypted, serving

CONTENT = np.random.default_rng(0).bytes(300_000)
RIGHT = Digest(algorithm="sha256", value=hashlib.sha256(CONTENT).hexdigest())
WRONG = Digest(algorithm="md5", value="0" * 32)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FIRST_DELAY_S", 0.001)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(Served(CONTENT)) as found:
        yield found


def fetched(served: Served, path: Path, digest: Digest | None = RIGHT) -> bytes:
    return download.download(Remote(url=served.url, digest=digest), path).read_bytes()


def test_a_file_arrives_once(served: Served, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    remote = Remote(url=served.url, digest=RIGHT)
    path = download.download(remote, tmp_path / "a" / "f", lambda what, done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (300, 300)
    download.download(remote, path)
    assert served.ranges == [None]
    assert [file.name for file in path.parent.iterdir()] == ["f"]


def test_what_breaks_off_goes_on_from_there(served: Served, tmp_path: Path) -> None:
    served.breaks_after = [100_000, 50_000]
    assert fetched(served, tmp_path / "f") == CONTENT
    assert served.ranges == [None, "bytes=100000-", "bytes=150000-"]


@pytest.mark.parametrize("digest", [RIGHT, None])
def test_a_later_call_goes_on_too(served: Served, tmp_path: Path, digest: Digest | None) -> None:
    served.breaks_after = [100_000] + [0] * download.FRUITLESS_ATTEMPTS
    with pytest.raises(DataError, match="continues from there"):
        fetched(served, tmp_path / "f", digest)
    assert not (tmp_path / "f").exists()
    assert fetched(served, tmp_path / "f", digest) == CONTENT
    assert served.ranges[-1] == "bytes=100000-"


def test_a_file_that_changed_meanwhile_starts_anew(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"old" * 1000)
    (tmp_path / "f.part.json").write_text(f'{{"url": "{served.url}", "validator": "\\"0\\""}}')
    assert fetched(served, tmp_path / "f", None) == CONTENT


def test_a_beginning_of_unknown_origin_is_not_trusted(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"other" * 100)
    assert fetched(served, tmp_path / "f", None) == CONTENT
    assert served.ranges == [None]


def test_a_server_without_ranges_sends_all_again(served: Served, tmp_path: Path) -> None:
    served.knows_ranges, served.breaks_after = False, [100_000]
    assert fetched(served, tmp_path / "f") == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(served: Served, tmp_path: Path, size: int) -> None:
    (tmp_path / "f.part").write_bytes((CONTENT + b"-----")[:size])
    assert fetched(served, tmp_path / "f") == CONTENT


def test_a_wrong_digest_leaves_nothing(served: Served, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"md5 isn't {WRONG.value}"):
        fetched(served, tmp_path / "f", WRONG)
    assert list(tmp_path.iterdir()) == []


def test_a_digest_that_the_server_states_is_checked(served: Served, tmp_path: Path) -> None:
    served.headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={base64.b64encode(bytes(16)).decode()}"
    with pytest.raises(DataError, match="md5 isn't 0000"):
        fetched(served, tmp_path / "f", None)


def test_another_file_of_that_name_stays_unless_it_is_ours(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"the user's")
    with pytest.raises(StorageError, match="is there already"):
        fetched(served, tmp_path / "f")
    assert served.ranges == []
    assert (tmp_path / "f").read_bytes() == b"the user's"
    remote = Remote(url=served.url, digest=RIGHT)
    assert download.download(remote, tmp_path / "f", is_ours=lambda _: True).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["f", "f.part", "f.part.json"])
def test_no_link_is_followed(served: Served, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_bytes(b"the user's")
    (tmp_path / name).symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="is there already"):
        fetched(served, tmp_path / "f")
    assert (tmp_path / "precious").read_bytes() == b"the user's"


def test_a_passing_fault_is_outlasted_and_a_lasting_one_told(served: Served, tmp_path: Path) -> None:
    served.failures = [503, 429]
    assert fetched(served, tmp_path / "f") == CONTENT
    served.failures = [404]
    with pytest.raises(DataError, match="404 Not Found"):
        fetched(served, tmp_path / "g")
    assert len(served.ranges) == 4


def test_without_network_the_message_says_what_helps(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download.download(Remote(url="http://127.0.0.1:9/f.bin"), tmp_path / "f")
    for word in ("http://127.0.0.1:9/f.bin", "refused", "https_proxy", str(tmp_path / "f")):
        assert word in str(caught.value)


def test_a_server_that_cuts_short_and_refuses_the_rest_is_given_up(served: Served, tmp_path: Path) -> None:
    served.refuses_ranges, served.breaks_after = True, [100_000] * 1000
    with pytest.raises(DataError, match="ended early"):
        fetched(served, tmp_path / "f")
    assert len(served.ranges) <= 3 * download.FRUITLESS_ATTEMPTS


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "many"},
        {"Content-Length": "-5"},
        {"Content-Encoding": "gzip"},
        {"Content-Length": str(10**14)},
    ],
    ids=str,
)
def test_headers_that_make_no_sense_end_in_words(served: Served, tmp_path: Path, headers: dict[str, str]) -> None:
    served.headers = headers
    with pytest.raises(DataError, match=r"127\.0\.0\.1: (it s|the file has)"):
        fetched(served, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_a_part_from_elsewhere_in_the_file_is_not_taken_for_its_beginning(served: Served, tmp_path: Path) -> None:
    served.breaks_after = [100_000]
    served.headers = {"Content-Range": f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}"}
    assert fetched(served, tmp_path / "f", None) == CONTENT
    assert served.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/f", "file:///etc/passwd", "http://[", "http://\u00fc..x/"])
def test_a_redirect_to_anything_but_the_web_is_refused(served: Served, tmp_path: Path, target: str) -> None:
    served.redirect = target
    with pytest.raises(DataError):
        fetched(served, tmp_path / "f")


def test_https_stays_https(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Served(b"", redirect=served.url), encrypted(tmp_path, monkeypatch)) as safe:
        assert safe.url.startswith("https:")
        with pytest.raises(DataError, match="redirects from https to http"):
            fetched(safe, tmp_path / "f")
    assert served.ranges == []


def test_an_encrypted_connection_that_breaks_is_no_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Served(CONTENT), encrypted(tmp_path, monkeypatch)) as safe:
        assert fetched(safe, tmp_path / "f") == CONTENT
        read = http.client.HTTPResponse.read

        def broken(response: http.client.HTTPResponse, amount: int | None = None) -> bytes:
            read(response, 1000)
            raise ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed")

        monkeypatch.setattr(http.client.HTTPResponse, "read", broken)
        with pytest.raises(DataError, match=r"the encrypted connection failed: .*BAD_RECORD_MAC"):
            fetched(safe, tmp_path / "g")
        monkeypatch.undo()
        monkeypatch.setattr(download, "FIRST_DELAY_S", 0.001)
        with pytest.raises(DataError, match=r"the encrypted connection failed: .*certificate.*SSL_CERT_FILE"):
            fetched(safe, tmp_path / "h")
