"""service/deploy: what can be said without building the image."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.settings import ROOT


class Ready(BaseHTTPRequestHandler):
    """As the service is, or is not."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/ready" else 404)
        self.end_headers()


PROXY = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
"""as Docker hands one of the host to its containers; nothing listens there"""


@pytest.mark.parametrize(
    "variables",
    [
        {"PORT": "{port}"},
        {"PORT": "1", "CONVSCOPE_PORT": "{port}"},
        {"PORT": "{port}", "CONVSCOPE_PORT": "", **PROXY},
    ],
)
@pytest.mark.parametrize("status", [200, 503])
def test_the_image_asks_the_port_that_the_service_listens_on(variables: dict[str, str], status: int) -> None:
    [command] = re.findall(
        r"^HEALTHCHECK .*\\\n +CMD (.*)$", (ROOT / "service/deploy/Dockerfile").read_text(), re.MULTILINE
    )
    _, *arguments = json.loads(command)
    Ready.status = status
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_address[1]
        there = {name: value.format(port=port) for name, value in variables.items()}
        others = {name: value for name, value in os.environ.items() if name not in ("PORT", "CONVSCOPE_PORT")}
        asked = subprocess.run([sys.executable, *arguments], env={**others, **there}, check=False)  # noqa: S603
    assert (asked.returncode == 0) == (status == 200)
