"""Which HTTP protocol uvicorn is to have."""

import asyncio
import logging
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, Literal

USED = {
    "flow_control": ("HIGH_WATER_LIMIT",),
    "flow_control.FlowControl": ("drain", "pause_reading", "read_paused", "resume_reading", "write_paused"),
    "httptools_impl": ("STATUS_LINE",),
    "httptools_impl.HttpToolsProtocol": (
        "_start_asgi_task", "_unset_keepalive_if_required", "app", "cycle", "expect_100_continue", "flow", "headers",
        "logger", "loop", "on_body", "on_headers_complete", "on_message_begin", "on_message_complete",
        "on_response_complete", "on_url", "parser", "pipeline", "scope", "server_state", "shutdown", "tasks",
        "timeout_keep_alive", "timeout_keep_alive_handler", "timeout_keep_alive_task", "transport",
    ),
    "httptools_impl.RequestResponseCycle": (
        "body", "disconnected", "keep_alive", "message_event", "more_body", "on_response", "receive",
        "response_complete", "response_started", "scope", "transport", "waiting_for_100_continue",
    ),
}  # fmt: skip
"""By where it is, what `gated_protocol` and its bases (`parsing`, `bounds`, `patience`) need of uvicorn and is not its
public interface."""

log = logging.getLogger("convscope")


def http_protocol() -> type[asyncio.Protocol] | Literal["auto"]:
    """For uvicorn's `http`. Where httptools is not installed, or uvicorn has it otherwise, the service does without its
    own: the application answers the same, only slower."""
    if find_spec("httptools") is None:
        return "auto"
    missing = _missing()
    if missing is not None:
        log.warning("predictions take the long way: this uvicorn has no %s", missing)
        return "auto"
    from service.gated_protocol import GatedProtocol  # noqa: PLC0415 — not without httptools

    return GatedProtocol


def _missing() -> str | None:
    """The first of what is used and is not there."""
    for place, names in USED.items():
        try:
            owner = resolve_name(f"uvicorn.protocols.http.{place}")
        except (ImportError, AttributeError):
            return place
        there = {*dir(owner), *_given(owner)}
        for name in names:
            if name not in there:
                return f"{place}.{name}"
    return None


def _given(owner: Any) -> tuple[str, ...]:
    """Attributes that objects of a class get when they are made, and other names in what makes them."""
    code = getattr(owner.__init__, "__code__", None)
    return () if code is None else code.co_names
