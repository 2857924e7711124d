"""What is printed: Markdown that a README can take as it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks.serving.bench import Row, Section
from tests.benchmarks.serving.goals import Goal, Judged, reaches

SERVERS = (
    "one core, 32 connections unless noted",
    "images/s",
    "processor time an image",
    "p50 at 1 client",
    "ready after",
    "memory",
)


def report(
    facts: Mapping[str, Any], sections: Mapping[str, Section], goals: Sequence[Judged], failed: Sequence[str]
) -> str:
    """Everything, for a person."""
    told = {one.goal.figure for one in goals}
    rows = [row for section in sections.values() for row in section.rows]
    parts = [heading(facts)]
    if rows:
        parts.append(table(SERVERS, [_cells(row) for row in rows]))
    for name, section in sections.items():
        more = {key: value for key, value in section.figures.items() if key not in told}
        lines = [*section.lines, *(f"{key}: {_plain(value)}" for key, value in more.items())]
        parts.append("\n".join([f"{name}:", *(f"  {line}" for line in lines)]))
    parts.append(table(("goal", "measured", "must", "aim", ""), [_judged_cells(one) for one in goals]))
    return "\n\n".join([*parts, *failed])


def heading(facts: Mapping[str, Any]) -> str:
    """The machine in a few lines."""
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items() if version)
    settings = ", ".join(f"{name} {value}" for name, value in facts["settings"].items())
    changed = " (and changes since)" if facts["changed since"] else ""
    when = f"{facts['date']}, the cores were {facts['idle before']:.0%} idle before"
    return "\n".join(
        (
            f"{facts['processor']}, {_cores(facts['cores'])}; {' '.join(facts['flags'])}",
            f"Python {facts['python']}, {packages}, {facts['wrk']}",
            f"commit {facts['commit']}{changed}, {when}",
            f"engine {facts['engine']}; settings: {settings}",
        )
    )


def _cores(cores: Mapping[str, Any]) -> str:
    """How many there are and may be used, and what each is for."""
    allowed, every = len(cores["allowed"]), cores["all"]
    count = f"{every} cores" if allowed == every else f"{allowed} of {every} cores"
    if cores["server"] == cores["load"]:
        return f"{count} (server and load share {cores['server']})"
    return f"{count} (server on {cores['server']}, load on {cores['load']})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Markdown whose columns also line up in a terminal: the first `left` to the left, the others to the right."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        both = [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in pairs]
        return "| " + " | ".join(both) + " |"

    rule = ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        _figure(row.per_second, ",.0f"),
        _figure(row.processor_us, ",.1f", " µs"),
        _figure(row.p50_ms, ".2f", " ms"),
        _figure(row.ready_after, ".2f", " s"),
        _figure(row.memory_mb, ",.0f", " MB"),
    )


def _plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"  # what was counted is told to the last


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else format(value, form) + unit


def _judged_cells(one: Judged) -> tuple[str, ...]:
    return (
        one.goal.name,
        _measured(one.goal, one.measured),
        _bound(one.goal, one.goal.must),
        _bound(one.goal, one.goal.aim),
        one.verdict,
    )


def _measured(goal: Goal, value: float | None) -> str:
    """Rounded so far only that it does not seem to reach what it misses, or to miss what it reaches."""
    if value is None:
        return ""
    bounds = [bound for bound in (goal.must, goal.aim) if bound is not None]
    texts = (f"{value:.{digits}g}" for digits in range(3, 18))
    true = (
        text
        for text in texts
        if all(_as(goal, float(text), bound) == _as(goal, value, bound) for bound in bounds)
    )
    return next(true) + goal.unit


def _as(goal: Goal, value: float, bound: float) -> bool:
    return reaches(value, bound, goal.at_most)


def _bound(goal: Goal, value: float | None) -> str:
    return "" if value is None else ("≤ " if goal.at_most else "≥ ") + _figure(value, ".3g", goal.unit)
