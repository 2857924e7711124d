"""Counters of one worker, in the text format Prometheus reads (version 0.0.4)."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CLIENT_GONE = 499  # what proxies write into their logs for a request whose client left
NO_ROUTE = "(none)"
OTHER_METHOD = "(other)"  # one that a client made up, or none at all
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """Counts by upper bounds, the bound itself included, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += times * value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        below = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            below += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {below}'
        yield f"{name}_sum{{{labels}}} {self.total:.9g}"
        yield f"{name}_count{{{labels}}} {below}"


class Metrics:
    """What the service counts. Only the event loop writes, so nothing is locked."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[str, Histogram] = {}
        self._batch_rows: dict[str, Histogram] = {}

    def request(self, route: str, method: str, status: int, seconds: float, times: int = 1) -> None:
        """One, or some that were answered alike. `route` is the path's template: a client cannot make new ones."""
        key = (route, method, status)
        self._requests[key] = self._requests.get(key, 0) + times
        histogram = self._seconds.get(route)
        if histogram is None:
            histogram = self._seconds[route] = Histogram(SECONDS)
        histogram.add(seconds, times)

    def batch(self, model: str, rows: int) -> None:
        if model not in self._batch_rows:
            self._batch_rows[model] = Histogram(ROWS)
        self._batch_rows[model].add(rows)

    def text(self, waiting_rows: Mapping[str, int], worker: int | None = None) -> str:
        """Everything, and `waiting_rows` of each model as it is now. With `worker`, the number of this process, each
        line says whose it is: of several workers any may answer, and what counts up in one stands lower in another."""
        whose = "" if worker is None else f'worker="{worker}",'
        lines = [
            "# HELP convscope_requests_total Requests answered.",
            "# TYPE convscope_requests_total counter",
        ]
        for (route, method, status), count in self._requests.items():
            labels = f'{whose}route="{route}",method="{method}",status="{status}"'
            lines.append(f"convscope_requests_total{{{labels}}} {count}")
        name = "convscope_request_seconds"
        lines += [
            f"# HELP {name} From a request's head until its answer is made; 0 for what is refused unread.",
            f"# TYPE {name} histogram",
        ]
        for route, histogram in self._seconds.items():
            lines += histogram.lines(name, f'{whose}route="{route}"')
        name = "convscope_batch_rows"
        lines += [f"# HELP {name} Images in one run of the engine.", f"# TYPE {name} histogram"]
        for model, histogram in self._batch_rows.items():
            lines += histogram.lines(name, f'{whose}model="{model}"')
        name = "convscope_waiting_rows"
        lines += [f"# HELP {name} Images in the queue.", f"# TYPE {name} gauge"]
        lines += [f'{name}{{{whose}model="{model}"}} {rows}' for model, rows in waiting_rows.items()]
        return "\n".join(lines) + "\n"
