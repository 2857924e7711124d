"""What a running service says it serves."""

import json

from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.messages import get


def served(child: Child) -> tuple[dict[str, str], list[str]]:
    """Each model's data set, and the names of those refused."""
    listed = json.loads(get(child.port, "/models").body)
    return {one["name"]: one["dataset"] for one in listed["models"]}, [
        one["name"] for one in listed["refused"]
    ]


def rows_a_run(child: Child, model: str) -> float:
    """The mean number of images in the engine's runs so far, from the service's own metrics; 0 when there were none."""
    found = {"sum": 0.0, "count": 0.0}
    for line in get(child.port, "/metrics").body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        kind = name.partition("{")[0].removeprefix("convscope_batch_rows_")
        if kind in found and f'model="{model}"' in name:
            found[kind] = float(value)
    return found["sum"] / found["count"] if found["count"] else 0.0
