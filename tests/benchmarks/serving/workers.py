"""Two workers on two cores against one on one, the load generator niced beside them.

Each at its best: one worker may like another number of connections than two, which have half as many each.
"""

from tests.benchmarks.serving.bench import COLOUR, DIGITS, Bench, Section
from tests.benchmarks.serving.child import Child
from tests.benchmarks.serving.messages import Request
from tests.benchmarks.serving.servers import digit, is_cat, is_seven, photo, service
from tests.benchmarks.serving.wrk import Load, load

CONNECTIONS = {DIGITS: (64, 128, 256), COLOUR: (16, 32)}
"""All of a run are answered at once: with more photographs it would be too few times in a load."""
RIGHT = {DIGITS: is_seven, COLOUR: is_cat}
NICE = 19
WARM = 2  # seconds: the second worker may be ready a little after the first


def measure(bench: Bench, section: Section) -> None:
    """Both are up, and loads take turns; the generator may use both cores, and gets what the workers leave."""
    if bench.cores.shared:
        section.lines.append("there is one core only: not measured")
        return
    cores = sorted((bench.cores.server, bench.cores.load))
    requests = {DIGITS: digit(), COLOUR: photo()}
    with service(bench) as single, service(bench, cores=cores, CONVSCOPE_WORKERS="2") as double:
        children = {"1 worker": single, "2 workers": double}
        for name, child in children.items():
            section.lines.append(f"{name}: {len(child.processes())} processes")
            for model, request in requests.items():
                _load(child, model, request, CONNECTIONS[model][0], cores, WARM)
        for at in range(bench.plan.rounds):
            bench.say(f"workers: round {at + 1} of {bench.plan.rounds}")
            for model, request in requests.items():
                for connections in CONNECTIONS[model]:
                    for name, child in children.items():
                        one = _load(child, model, request, connections, cores, bench.plan.seconds)
                        key = _key(name, model, connections)
                        section.rounds.setdefault(key, []).append(one.per_second)
    for model in requests:
        best = {name: _best(section, name, model) for name in children}
        both = (_key(name, model, best[name]) for name in ("2 workers", "1 worker"))
        section.figures[f"2 workers, times 1, {model}"] = section.ratio(*both)
        section.lines.append(
            f"{model}: "
            + "; ".join(
                f"{name} at its best with {count} connections: {section.median(_key(name, model, count)):,.0f}/s"
                for name, count in best.items()
            )
        )
    section.figures["2 workers, times 1"] = section.figures[f"2 workers, times 1, {DIGITS}"]
    section.lines.append(f"wrk at nice {NICE} on both cores; the goal is judged by {DIGITS}")


def _key(workers: str, model: str, connections: int) -> str:
    return f"{workers}, {model}, {connections} connections: requests/s"


def _best(section: Section, workers: str, model: str) -> int:
    """The number of connections with which it is best, by the medians of all rounds."""
    return max(CONNECTIONS[model], key=lambda count: section.median(_key(workers, model, count)))


def _load(
    child: Child, model: str, request: Request, connections: int, cores: list[int], seconds: int
) -> Load:
    return load(
        child,
        request,
        RIGHT[model],
        connections=connections,
        seconds=seconds,
        cores=cores,
        nice=NICE,
        may_refuse=True,
    )
