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
    """As the service is."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()


@pytest.mark.parametrize(
    "variables",
    [{"PORT": "{port}"}, {"PORT": "1", "CONVSCOPE_PORT": "{port}"}, {"PORT": "{port}", "CONVSCOPE_PORT": ""}],
)
def test_the_image_asks_the_port_that_the_service_listens_on(variables: dict[str, str]) -> None:
    [command] = re.findall(
        r"^HEALTHCHECK .*\\\n +CMD (.*)$", (ROOT / "service/deploy/Dockerfile").read_text(), re.MULTILINE
    )
    _, *arguments = json.loads(command)
    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        port = server.server_address[1]
        there = {name: value.format(port=port) for name, value in variables.items()}
        others = {name: value for name, value in os.environ.items() if name not in ("PORT", "CONVSCOPE_PORT")}
        subprocess.run([sys.executable, *arguments], env={**others, **there}, check=True)  # noqa: S603
