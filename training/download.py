"""Fetch the original files from where they are published: resumed when broken off, verified when whole."""

import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from training.datasets import DataError, Source, contents

Progress = Callable[[int, int | None], None]  # (bytes on disk so far, bytes in all if the server said so)

_CHUNK = 1 << 16
_TIMEOUT = 30.0  # seconds without a byte


def fetch(source: Source, folder: Path, progress: Progress = lambda _done, _all: None) -> Path:
    """Download one file below `folder` and verify its contents. Returns its path; raises DataError.

    A download that breaks off stays as `….part` and the next call goes on from there.
    """
    path = folder / source.file
    partial = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = []
    for url in source.urls:
        try:
            _download(url, partial, progress)
        except (urllib.error.URLError, OSError) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', error)}")
            continue
        partial.replace(path)
        try:
            contents(path, source)
        except DataError:
            path.unlink()  # what came is not what was published: the next address may have it
            reasons.append(f"{url}: its contents are not the published ones (MD5)")
            continue
        return path
    kept = (
        f" {partial.stat().st_size:,} bytes are kept; the next try goes on from there."
        if partial.exists()
        else ""
    )
    raise DataError(f"{source.file} could not be fetched.{kept}\n  " + "\n  ".join(reasons))


def _download(url: str, partial: Path, progress: Progress) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310 - the addresses are ours
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it is here already
            return
        raise
    with answer:
        goes_on = answer.status == HTTPStatus.PARTIAL_CONTENT
        done = have if goes_on else 0
        length = answer.headers.get("Content-Length")
        whole = done + int(length) if length else None
        with partial.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, whole)
    if whole is not None and done < whole:
        raise OSError(f"broke off after {done:,} of {whole:,} bytes")
