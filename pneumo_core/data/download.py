"""Downloads that continue where they broke off and are used only when their digest is right."""

import base64
import contextlib
import hashlib
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from pneumo_core.errors import DataError
from pneumo_core.files import check_free, storage_errors
from pneumo_core.progress import Progress, silent

CHUNK_BYTES = 2**20
TIMEOUT_S = 20.0  # without a byte
FRUITLESS_ATTEMPTS = 4  # in a row that bring nothing new, before giving up
FIRST_DELAY_S = 0.5  # before the second of them; doubled each time
LARGEST_BYTES = 64 * 2**30  # no file that is wanted here comes near; a server may send without end
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What the content must be; MD5 guards against damage, not against malice."""

    algorithm: Literal["md5", "sha256"]
    value: str  # hexadecimal

    def matches(self, path: Path) -> bool:
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.value


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file on a server. Without a digest, the one that the server states is checked."""

    url: str
    digest: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What the last response said of the whole file."""

    n_bytes: int | None
    stated: Digest | None


def download(
    remote: Remote, path: Path, on_progress: Progress = silent, *, is_ours: Callable[[Path], bool] = lambda _path: False
) -> Path:
    """Return `path` with the content of `remote`, downloaded unless it is there already.

    What came before a break stays in `NAME.part` beside it, and the next call continues from there if the server still
    has the same file. Another file at `path` is replaced where it `is_ours`. Raises `DataError` when the server can't
    be reached, doesn't have the file or sends another, `StorageError` where the file can't be written.
    """
    if path.is_file() and (remote.digest is None or remote.digest.matches(path)):
        return path
    part = path.with_name(f"{path.name}.part")
    check_free(path, is_ours)
    for beside in (part, _notes(part)):
        check_free(beside, Path.is_file)  # no link is followed
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = _until_whole(remote, path, part, on_progress)
        digest = remote.digest or answer.stated
        if digest is not None and not digest.matches(part):
            _forget(part)
            raise DataError(
                f"{remote.url} sent something else than expected: its {digest.algorithm} isn't {digest.value}. It was "
                "thrown away; try again, and if that doesn't help, the file was changed there or on the way"
            )
        part.replace(path)
        _forget(part)
    return path


def _until_whole(remote: Remote, path: Path, part: Path, on_progress: Progress) -> _Answer:
    """Try until the file is whole. Only what goes beyond all that came before counts as fruit, so this ends."""
    furthest, fruitless = _size(part), 0
    while True:
        try:
            answer = _attempt(remote, path.name, part, on_progress)
            if answer.n_bytes is None or _size(part) == answer.n_bytes:
                return answer
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code not in _TRANSIENT:
                raise _unobtainable(remote, path, f"it answers {error.code} {error.reason}") from error
            reason = f"{error.code} {error.reason}"
        except _Refused as error:
            raise _unobtainable(remote, path, str(error)) from error
        except _Broken as error:
            reason = str(error)
        fruitless = 0 if _size(part) > furthest else fruitless + 1
        furthest = max(furthest, _size(part))
        if fruitless >= FRUITLESS_ATTEMPTS:
            raise _unobtainable(remote, path, reason)
        time.sleep(FIRST_DELAY_S * 2 ** max(0, fruitless - 1))


def _attempt(remote: Remote, what: str, part: Path, on_progress: Progress) -> _Answer:
    """Receive what is missing, or as much of it as comes."""
    start, validator = _size(part), _validator(part, remote.url)
    if start and not (validator or remote.digest):  # nothing would show whether the rest belongs to the beginning
        start = 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "pneumo"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with network_errors():
            opener = urllib.request.build_opener(_SameSafety)  # anew: it takes proxies and certificates as they are set
            response = opener.open(urllib.request.Request(remote.url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing after `start`: whole already, or not of this file
            return _beyond(part, start, error.headers)
        raise
    with response:
        start = _check(response, part, start)
        _remember(part, remote.url, response.headers)
        length = _length(response.headers)
        n_bytes = None if length is None else start + length
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            while chunk := _read(response):
                file.write(chunk)
                if file.tell() > LARGEST_BYTES:
                    raise _Refused(f"it sends more than {LARGEST_BYTES // 2**30} GB without an end")
                if n_bytes:
                    on_progress(f"{what} (kB)", file.tell() // 1000, n_bytes // 1000)
        return _Answer(n_bytes=n_bytes, stated=_stated(response.headers))


class _Broken(Exception):
    """An attempt failed for a reason that may pass."""


class _Refused(Exception):
    """The server wants something that we don't do, however often it is asked."""


class _SameSafety(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none from https to http, where anyone on the way could answer."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (_Refused, ValueError):
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        new = urlsplit(args[-1]).scheme
        if new not in (("https",) if req.type == "https" else ("http", "https")):
            raise _Refused(f"it redirects from {req.type} to {new}")
        return super().redirect_request(req, *args)


@contextlib.contextmanager
def network_errors() -> Iterator[None]:
    """Turn what the network does into `_Broken`, apart from the disk, whose errors are `OSError`s as well."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # `ValueError`: headers that say nothing
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLError):
            raise _Broken(
                f"the encrypted connection failed: {reason}; where a proxy has certificates of its own, "
                "SSL_CERT_FILE names their file"
            ) from error
        raise _Broken(str(reason) or type(reason).__name__) from error


def _read(response: http.client.HTTPResponse) -> bytes:
    with network_errors():
        return response.read(CHUNK_BYTES)


def _check(response: http.client.HTTPResponse, part: Path, start: int) -> int:
    """Return where the content begins that comes. Raises `_Broken` for an answer that makes no sense."""
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise _Broken(f"it sends the file as {encoding[:40]!r}, which was not asked for")
    if response.status == 200:
        return 0
    if response.status == 206 and start and _starts_at(response.headers, start):
        return start
    _forget(part)
    raise _Broken(f"it answers {response.status} for the rest from byte {start} on")


def _length(headers: Message) -> int | None:
    """Return the stated length of the body. Raises `_Broken` for one that is no number."""
    stated = headers.get("Content-Length")
    if stated is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", stated):
        raise _Broken(f"it states the length {stated[:40]!r}")
    if int(stated) > LARGEST_BYTES:
        raise _Refused(f"the file has {int(stated)} bytes, more than {LARGEST_BYTES // 2**30} GB")
    return int(stated)


def _beyond(part: Path, start: int, headers: Message) -> _Answer:
    found = re.fullmatch(r"bytes \*/([0-9]{1,15})", headers.get("Content-Range") or "")
    if found and int(found[1]) == start:
        return _Answer(n_bytes=start, stated=_stated(headers))
    _forget(part)
    return _Answer(n_bytes=-1, stated=None)  # never reached: the next attempt starts anew


def _starts_at(headers: Message, start: int) -> bool:
    return bool(re.match(rf"bytes {start}-", headers.get("Content-Range") or ""))


def _stated(headers: Message) -> Digest | None:
    """Return the MD5 of the whole file where the server is one that states it (Google's storage)."""
    found = re.search(r"md5=([A-Za-z0-9+/]{22}==)", headers.get("x-goog-hash") or "")
    return Digest(algorithm="md5", value=base64.b64decode(found[1]).hex()) if found else None


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, url: str, headers: Message) -> None:
    etag = headers.get("ETag") or ""
    validator = headers.get("Last-Modified") or "" if etag.startswith("W/") or not etag else etag
    _notes(part).write_text(json.dumps({"url": url, "validator": validator}))


def _validator(part: Path, url: str) -> str:
    """Return what names the version of the file that `part` is the beginning of."""
    try:
        notes = json.loads(_notes(part).read_text())
        return str(notes["validator"]) if notes["url"] == url else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _forget(part: Path) -> None:
    for file in (part, _notes(part)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _unobtainable(remote: Remote, path: Path, reason: str) -> DataError:
    kept = path.with_name(f"{path.name}.part")
    rest = f" What came so far is kept in {kept}: the same command continues from there." if kept.is_file() else ""
    return DataError(
        f"{remote.url} can't be downloaded: {urlsplit(remote.url).hostname}: {reason}.{rest} Behind a proxy, set "
        f"https_proxy; on a machine without network, download it elsewhere and put it at {path}"
    )
