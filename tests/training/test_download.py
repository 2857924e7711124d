"""Downloads from a real server on this machine: whole, broken off, wrong."""

import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.training.conftest import idx, md5
from training.datasets import MNIST, DataError, Source
from training.download import fetch

CONTENT = idx(np.arange(250))
PACKED = gzip.compress(CONTENT)


class _Published(BaseHTTPRequestHandler):
    """/whole gives the file, honouring Range; /plain knows no Range; /cut says its length and stops half-way; /other
    is another file."""

    def do_GET(self) -> None:
        data = gzip.compress(b"something else") if self.path == "/other" else PACKED
        asked = "bytes=0-" if self.path == "/plain" else self.headers.get("Range", "bytes=0-")
        start = int(re.findall(r"\d+", asked)[0])
        if self.path not in {"/whole", "/plain", "/cut", "/other"} or start >= len(data):
            self.send_error(404 if start < len(data) else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : len(data) // 2] if self.path == "/cut" else data[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Published) as served:
        Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def source(*urls: str) -> Source:
    return replace(MNIST.sources[1], urls=urls, md5={"train-labels-idx1-ubyte": md5(CONTENT)})


def test_download_is_kept_and_its_progress_told(server: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = fetch(source(f"{server}/whole"), tmp_path, lambda done, whole: told.append((done, whole)))
    assert path.read_bytes() == PACKED
    assert told[-1] == (len(PACKED), len(PACKED))


def test_broken_download_is_resumed_where_it_stopped(server: str, tmp_path: Path) -> None:
    half = len(PACKED) // 2
    with pytest.raises(DataError, match=f" {half} bytes are kept; the next try goes on from there"):
        fetch(source(f"{server}/cut"), tmp_path)
    [kept] = tmp_path.rglob("*.part")
    kept.write_bytes(b"?" * half)  # what is on disk is not asked for again
    with pytest.raises(DataError, match="not the published ones"):
        fetch(source(f"{server}/whole"), tmp_path)
    kept.write_bytes(PACKED[:half])
    told: list[tuple[int, int | None]] = []
    path = fetch(source(f"{server}/whole"), tmp_path, lambda done, whole: told.append((done, whole)))
    assert path.read_bytes() == PACKED
    assert told[-1] == (len(PACKED), len(PACKED))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("address", "have"), [("plain", 20), ("whole", len(PACKED))])
def test_who_gives_no_rest_gives_the_whole_or_has_given_it(
    server: str, tmp_path: Path, address: str, have: int
) -> None:
    wanted = source(f"{server}/{address}")
    partial = tmp_path / f"{wanted.file}.part"
    partial.parent.mkdir()
    partial.write_bytes(PACKED[:have])
    told: set[tuple[int, int | None]] = set()
    path = fetch(wanted, tmp_path, lambda done, whole: told.add((done, whole)))
    assert path.read_bytes() == PACKED
    assert told <= {(len(PACKED), len(PACKED))}


def test_second_address_is_tried_when_the_first_has_another_file(server: str, tmp_path: Path) -> None:
    path = fetch(source(f"{server}/missing", f"{server}/other", f"{server}/whole"), tmp_path)
    assert path.read_bytes() == PACKED


def test_failure_names_every_address_and_its_reason(server: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"/missing: Not Found\n.*/other: its contents are not the published ones"
    ):
        fetch(source(f"{server}/missing", f"{server}/other"), tmp_path)
    assert not list(tmp_path.rglob("*.gz"))
