"""Asks a running service for the pictures of README and docs: `make serve` in one window, `make pictures` in another.

python docs/pictures.py [http://127.0.0.1:8000]
"""

import sys
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

open_directly = build_opener(ProxyHandler({})).open  # a proxy for the world knows no service on this machine
FOLDER = Path(__file__).parent / "pictures"
SEVEN = 0  # the first MNIST test image

PICTURES = {
    "seven.png": f"/samples/mnist/{SEVEN}",
    "seven-conv2d.png": f"/models/mnist-baseline/feature-maps?sample={SEVEN}&layer=conv2d&format=png",
    "seven-conv2d_1.png": f"/models/mnist-baseline/feature-maps?sample={SEVEN}&layer=conv2d_1&format=png",
    "seven-dense_1.png": f"/models/mnist-baseline/feature-maps?sample={SEVEN}&layer=dense_1&format=png",
    "hard-mnist-baseline.png": "/models/mnist-baseline/hard-examples?limit=28&format=png",
    "hard-cifar10-strided.png": "/models/cifar10-strided/hard-examples?limit=24&format=png",
    "l2-weights.png": "/models/mnist-baseline/weights?against=mnist-l2&format=png",
    "learning-curves-cifar10-strided.png": "/models/cifar10-strided/training?format=png",
    "confusion-cifar10-strided.png": "/models/cifar10-strided/confusion-matrix?format=png",
    "calibration-cifar10-strided.png": "/models/cifar10-strided/calibration?format=png",
}


def main(service: str) -> None:
    """Write every picture, and say how large they are together. Exits with one line when nothing answers."""
    FOLDER.mkdir(exist_ok=True)
    total = 0
    for name, path in PICTURES.items():
        content = asked(service.rstrip("/"), path)
        (FOLDER / name).write_bytes(content)
        total += len(content)
        print(f"{len(content):>8,} bytes  {FOLDER / name}")  # noqa: T201
    print(f"{total:>8,} bytes in all")  # noqa: T201


def asked(service: str, path: str) -> bytes:
    """A picture. Exits, saying what to do, when there is none."""
    try:
        with open_directly(service + quote(path, safe="/?&="), timeout=120) as answer:
            content: bytes = answer.read()
    except HTTPError as error:
        sys.exit(f"{service}{path} answers {error.code}")
    except URLError as error:
        sys.exit(f"{service} does not answer ({error.reason}): run `make serve` in another window")
    return content


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
