"""`python -m service` as a process, over real sockets: what only a real server shows."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.settings import ROOT
from tests.service.held import PATIENCE
from tests.service.shipped import linked
from tests.service.stripes import encoded, stripe

IMAGE = encoded(stripe(5))
HEAD = b"POST /predict/mnist?preprocess=none HTTP/1.1\r\nHost: service\r\nContent-Type: image/png\r\n"


class Server:
    """A running service, and what it has logged so far."""

    def __init__(self, process: Process, port: int, lines: list[str]) -> None:
        self.process = process
        self.port = port
        self.lines = lines
        self.url = f"http://127.0.0.1:{port}"

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def stopped_accepting(self) -> None:
        """Returns when nobody listens any more."""
        with suppress(ConnectionRefusedError, ConnectionResetError):
            async with asyncio.timeout(PATIENCE):
                while True:
                    _, writer = await self.connect()
                    writer.close()
                    await writer.wait_closed()

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal; the rest of the log is in `lines` when it is over."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process.stderr is not None
        self.lines += (await self.process.stderr.read()).decode().splitlines()
        return await self.process.wait()


@asynccontextmanager
async def served(
    artifacts: Path,
    *arguments: str,
    program: Sequence[str] = ("-m", "service"),
    by: Sequence[str] = (),
    **settings: str,
) -> AsyncIterator[Server]:
    """Starts a server on a free port and ends it whatever happens; `by` is a command that becomes the one after it."""
    environment = {**os.environ, "CONVSCOPE_ARTIFACTS": str(artifacts), "PORT": "0", **settings}
    process = await asyncio.create_subprocess_exec(
        *by, sys.executable, *program, *arguments, cwd=ROOT, env=environment, stderr=PIPE
    )
    lines: list[str] = []
    try:
        yield Server(process, await _port(process, lines), lines)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _port(process: Process, lines: list[str]) -> int:
    """Where it listens, as soon as it says so; what it has logged by then is added to the lines."""
    assert process.stderr is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while line := (await process.stderr.readline()).decode():
                lines.append(line)
                if match := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                    return int(match[1])
    pytest.fail("\n".join(["it has not said that it runs", *lines]))


async def test_a_server_answers_and_stops_cleanly(artifacts: Path) -> None:
    async with served(artifacts) as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.post("/predict/mnist?preprocess=none", content=IMAGE)
        assert answer.json()["label"] == "5"
        large = await client.post(
            "/predict/mnist", content=b"\x00" * 30_000_000, headers={"Content-Type": "image/png"}
        )
        assert large.status_code == 413
        # The access log is off, and the log says what is served.
        assert any("serving stripes 1, stripes-colour 1" in line for line in server.lines)
        assert await server.stop() in (0, -signal.SIGTERM)
        assert not any("POST" in line or "Traceback" in line for line in server.lines)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
async def test_a_figure_is_drawn_by_a_process_that_the_servers_own_loop_starts(tmp_path: Path) -> None:
    """Also where standard input and output were closed: other files would get their numbers, and that process the
    files."""
    artifacts = linked(tmp_path, "mnist-baseline")
    closing = ("sh", "-c", 'exec "$@" <&- >&-', "sh")
    async with served(artifacts, by=closing, CONVSCOPE_DEADLINE="100", CONVSCOPE_FIGURE_TIME="100") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:
            answer = await client.get("/models/mnist-baseline/confusion-matrix?format=png")
        assert (answer.status_code, answer.content[1:4]) == (200, b"PNG")


async def test_too_long_a_body_is_refused_while_it_streams(artifacts: Path) -> None:
    """No Content-Length, and the client is still sending when the answer comes."""
    async with served(artifacts, CONVSCOPE_MAX_BODY_BYTES="100000") as server:
        reader, writer = await server.connect()
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(3):
            writer.write(chunk)
            await writer.drain()
        assert (await answer).startswith(b"HTTP/1.1 413")
        writer.transport.abort()


async def test_after_too_long_a_body_the_same_connection_goes_on(artifacts: Path) -> None:
    async with served(artifacts, CONVSCOPE_MAX_BODY_BYTES="1000") as server:
        reader, writer = await server.connect()
        for body, status in ((b"x" * 1_000_000, b"413"), (IMAGE, b"200")):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status)
            length = re.search(rb"content-length: (\d+)", head)
            assert length
            await reader.readexactly(int(length[1]))
        writer.close()


async def test_bytes_that_are_no_http_do_not_stop_the_server(artifacts: Path) -> None:
    async with served(artifacts) as server:
        for junk in (
            b"\x00\xff\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            HEAD + b"Content-Length: -1\r\n\r\n",
        ):
            reader, writer = await server.connect()
            writer.write(junk)
            writer.write_eof()
            status = (await reader.read())[:12]
            assert not status.startswith(b"HTTP/1.1 5"), status
            writer.close()
        async with httpx.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/health/ready")).status_code == 200


async def test_a_client_that_leaves_half_way_is_no_error(artifacts: Path) -> None:
    async with served(artifacts) as server, httpx.AsyncClient(base_url=server.url) as client:
        for body in (b"", IMAGE[:20]):
            _, writer = await server.connect()
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + body)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await client.post("/predict/mnist?preprocess=none", content=IMAGE)).json()["label"] == "5"
        await server.stop()
        assert not any("Traceback" in line or "ERROR" in line for line in server.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_request_that_was_accepted_is_answered_while_the_server_stops(
    artifacts: Path, number: signal.Signals
) -> None:
    async with served(artifacts) as server:
        reader, writer = await server.connect()
        writer.write(
            HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(IMAGE)
        )
        # The server is in this request now: it asks for the body.
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        server.process.send_signal(number)
        await server.stopped_accepting()
        writer.write(IMAGE)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"label":"5"' in answer
        await server.ended()


async def test_who_tells_it_to_stop_twice_does_not_wait_and_reads_no_traceback(artifacts: Path) -> None:
    async with served(artifacts) as server:
        _, writer = await server.connect()
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        server.process.send_signal(signal.SIGINT)
        await server.stopped_accepting()  # and waits for that request
        await server.stop(signal.SIGINT)
        writer.close()
    assert not any("Traceback" in line or "ERROR" in line for line in server.lines), "\n".join(server.lines)
    assert any(line.endswith("convscope: stopped") for line in server.lines)


async def test_the_access_log_is_a_line_a_request_when_asked_for(artifacts: Path) -> None:
    async with (
        served(artifacts, CONVSCOPE_ACCESS_LOG="1") as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        await client.get("/models/nothing")
        await server.stop()
        [line] = [line for line in server.lines if "convscope.access" in line]
        assert re.search(r"GET /models/nothing 404 [0-9.]+ ms$", line)


async def test_arguments_come_before_the_environment(artifacts: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with served(artifacts, "--port", "0", PORT=str(port)) as server:
            assert server.port != port


# A limit that others have set, in a process of its own.
FEW_FILES = """
import resource
from service.__main__ import MOST_FILES, _allow_files
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, most))
_allow_files()
there = resource.getrlimit(resource.RLIMIT_NOFILE)
assert there == (MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES), most), there
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    subprocess.run([sys.executable, "-c", FEW_FILES], cwd=ROOT, check=True)  # noqa: S603


# Standard files closed by whoever starts it, in a process of its own.
CLOSED = """
import os, sys
from service.__main__ import _open_standard_files
os.closerange(0, 3)
_open_standard_files()
nowhere = os.stat(os.devnull)
there = [os.path.samestat(os.fstat(one), nowhere) and os.get_inheritable(one) for one in range(3)]
sys.exit(there != [True] * 3)
"""


def test_standard_files_that_were_closed_lead_nowhere_here_and_in_what_is_started() -> None:
    subprocess.run([sys.executable, "-c", CLOSED], cwd=ROOT, check=True)  # noqa: S603
