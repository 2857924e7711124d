"""What is printed, and what the figures are."""

import pytest

from tests.benchmarks.serving import batch_path
from tests.benchmarks.serving.bench import Cores, Row, Section
from tests.benchmarks.serving.goals import Goal, Judged, judged, verdict
from tests.benchmarks.serving.hot_path import PARTS, breakdown
from tests.benchmarks.serving.machine import machine
from tests.benchmarks.serving.soak import growth
from tests.benchmarks.serving.tables import heading, report, table


def test_columns_line_up_and_numbers_are_to_the_right() -> None:
    assert table(("name", "rate"), [("a", "5"), ("longer", "1,000")]).splitlines() == [
        "| name   |  rate |",
        "| ------ | ----: |",
        "| a      |     5 |",
        "| longer | 1,000 |",
    ]


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    """Not the ratio of the medians: 3 / 4 here."""
    section = Section(rounds={"ours": [1.0, 3.0, 30.0], "theirs": [2.0, 4.0, 10.0]})
    assert section.ratio("ours", "theirs") == 0.75
    section.rounds["theirs"] = [1.0, 30.0, 4.0]
    assert section.ratio("ours", "theirs") == 1.0
    with pytest.raises(ValueError, match="zip"):
        Section(rounds={"ours": [1.0], "theirs": [1.0, 2.0]}).ratio("ours", "theirs")


def test_the_report_has_the_machine_the_servers_the_goals_and_what_failed() -> None:
    section = Section(
        rows=[Row("a server", per_second=1234.4, p50_ms=0.254)],
        figures={"share of the no-op": 0.6, "another figure": 12.0, "requests": 240199},
        lines=["a peer skipped: no reason"],
    )
    facts = machine(Cores.allowed(), idle_before=0.5)
    text = report(facts, {"no-ops": section}, judged([section]), ["soak could not be measured"])
    assert "1,234" in text
    assert "0.25 ms" in text
    assert "a peer skipped: no reason" in text
    assert "another figure: 12\n" in text
    assert "requests: 240,199\n" in text
    assert "onnxruntime" in text
    assert text.endswith("soak could not be measured")
    line = next(line for line in text.splitlines() if "share of the FastAPI no-op" in line)
    assert [cell.strip() for cell in line.split("|")[2:6]] == ["0.6", "≥ 0.55", "≥ 0.75", "met"]


@pytest.mark.parametrize(
    ("measured", "at_most", "told"),
    [
        (0.123456, False, "0.123"),
        (0.8996, False, "0.8996"),  # missed, which 0.9 would not be
        (0.89996, False, "0.89996"),
        (0.9, False, "0.9"),
        (0.9004, False, "0.9"),
        (0.94999, False, "0.94999"),  # the aim
        (0.9004, True, "0.9004"),
        (0.8996, True, "0.9"),
    ],
)
def test_a_figure_is_rounded_to_no_side_of_its_bounds_that_it_is_not_on(
    measured: float, at_most: bool, told: str
) -> None:
    goal = Goal("it", "it", must=0.9, aim=0.95, at_most=at_most, unit=" ×")
    judgement = Judged(goal, measured, verdict(goal, measured))
    text = report(machine(Cores.allowed(), 1.0), {}, [judgement], [])
    assert text.splitlines()[-1].split("|")[2].strip() == f"{told} ×"


@pytest.mark.parametrize(
    ("cores", "told"),
    [
        ({"all": 2, "allowed": [0, 1], "server": 0, "load": 1}, "2 cores (server on 0, load on 1); "),
        ({"all": 8, "allowed": [2, 5, 7], "server": 2, "load": 7}, "3 of 8 cores (server on 2, load on 7); "),
        ({"all": 2, "allowed": [1], "server": 1, "load": 1}, "1 of 2 cores (server and load share 1); "),
    ],
)
def test_the_heading_has_the_cores_that_may_be_used(cores: dict[str, object], told: str) -> None:
    facts = machine(Cores.allowed(), idle_before=1.0) | {"cores": cores}
    assert f", {told}" in heading(facts)


def test_the_parts_of_a_request_add_up_to_all_of_it() -> None:
    stages = dict.fromkeys(PARTS, 2.0) | {"application": 50.0}
    lines = breakdown(200.0, 40.0, stages)
    assert lines[-1][:2] == ("in all", 200.0)
    assert sum(value for _, value, _ in lines[:-1]) == pytest.approx(200)
    assert ("rest", 110.0) in [line[:2] for line in lines]


def test_so_do_those_of_an_image_in_a_batch() -> None:
    stages = dict.fromkeys(batch_path.PARTS, 2.0) | {"endpoint": 25.0, "inflating": 1.0}
    parts = batch_path.breakdown(30.0, stages)
    assert parts[-1][:2] == ("in all", 30.0)
    assert sum(part.microseconds for part in parts[:-1]) == pytest.approx(30)
    assert [part[:2] for part in parts[-3:-1]] == [("between the parts", 15.0), ("rest", 5.0)]


def test_growth_is_counted_from_the_first_minute_on() -> None:
    """What is taken in the first minute is no growth, nor is a single high or low reading at either end."""
    readings = [(float(second), 100.0 if second < 50 else 150.0 + second / 100) for second in range(300)]
    assert growth(readings, after=60, span=10) == pytest.approx(2.29)
    for at, megabytes in ((62, 900.0), (64, 1.0), (295, 1.0), (297, 900.0)):
        readings[at] = (float(at), megabytes)
    assert growth(readings, after=60, span=10) == pytest.approx(2.29, abs=0.05)
