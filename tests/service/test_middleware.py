"""What the observer adds to every request, whatever the application does."""

import asyncio
import errno
import logging
import os
from contextlib import suppress
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.callers import CallerGoneError
from service.metrics import Metrics
from service.middleware import Observer

PATH = "/models/mnist"


class Application:
    """Notes the scope it gets; answers, begins an answer, or neither, and then raises."""

    def __init__(self, *messages: Message, error: BaseException | None = None) -> None:
        self.messages, self.error = messages, error
        self.scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        for message in self.messages:
            await send(message)
        if self.error is not None:
            raise self.error


START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
BODY: Message = {"type": "http.response.body", "body": b"ok"}


async def observed(
    application: Application, scope: Scope, metrics: Metrics | None = None, **options: Any
) -> list[Message]:
    """What the client is sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await Observer(application, metrics or Metrics(), **options)(scope, receive, send)
    return sent


def scope_of(method: str = "GET", path: str = PATH) -> Scope:
    return {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}


async def test_head_is_get_without_a_body_and_the_servers_own_scope_stays_as_it_is() -> None:
    application, scope = Application(START, BODY), scope_of("HEAD")
    assert await observed(application, scope) == [START, {**BODY, "body": b""}]
    assert application.scope["method"] == "GET"
    assert scope["method"] == "HEAD"


async def test_who_is_cancelled_before_an_answer_was_begun_is_told_that_the_service_stops() -> None:
    start, body = await observed(Application(error=asyncio.CancelledError()), scope_of())
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert b"not-ready" in body["body"]
    with pytest.raises(asyncio.CancelledError):
        await observed(Application(START, error=asyncio.CancelledError()), scope_of())


async def test_each_request_is_counted_however_it_ends() -> None:
    metrics = Metrics()
    for application in (
        Application(START, BODY),
        Application(START, error=RuntimeError("broken")),
        Application(START, error=asyncio.CancelledError()),
        Application(error=RuntimeError("broken")),
        Application(error=CallerGoneError()),
    ):
        with suppress(RuntimeError, asyncio.CancelledError):
            await observed(application, scope_of(), metrics)
    counts = {line for line in metrics.text({}).splitlines() if line.startswith("convscope_requests_total")}
    assert counts == {
        f'convscope_requests_total{{route="(none)",method="GET",status="{status}"}} {count}'
        for status, count in ((200, 3), (500, 1), (499, 1))
    }


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_too_many_open_files_are_no_fault_of_the_code(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    start, body = await observed(Application(error=OSError(number, os.strerror(number))), scope_of())
    assert (start["status"], b"too many files" in body["body"]) == (503, True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    start, _ = await observed(Application(error=OSError(errno.EIO, "a broken disk")), scope_of())
    assert start["status"] == 500


async def test_a_path_writes_no_lines_and_no_commands_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    forged = "/models/a\n2026-11-27 INFO convscope.access: POST /admin 200\x1b[31m"
    with caplog.at_level(logging.INFO):
        await observed(Application(START, BODY), scope_of(path=forged), log_access=True)
        await observed(Application(error=RuntimeError("broken")), scope_of(path=forged))
        await observed(Application(START, BODY), scope_of(path="/models/größer"), log_access=True)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert all("\n" not in message and "\x1b" not in message for message in messages)
    assert "/models/a\\n2026" in messages[0]
    assert "/models/größer" in messages[2]
