"""What is counted, as Prometheus reads it."""

import pytest

from service.metrics import Metrics


def test_runs_are_counted_by_their_rows_and_a_bound_counts_what_is_as_large() -> None:
    metrics = Metrics()
    for rows in (3, 64, 64, 1000):
        metrics.batch("net", rows)
    lines = metrics.text({"net": 5}).splitlines()
    counts = [line for line in lines if line.startswith("convscope_batch_rows_bucket")]
    assert [int(line.split()[-1]) for line in counts] == [0, 0, 1, 1, 1, 1, 3, 3, 3, 3, 4]
    assert 'convscope_batch_rows_sum{model="net"} 1131' in lines
    assert 'convscope_batch_rows_count{model="net"} 4' in lines
    assert 'convscope_waiting_rows{model="net"} 5' in lines


def test_requests_that_were_answered_alike_are_counted_each_with_its_time() -> None:
    metrics = Metrics()
    metrics.request("/", "GET", 200, 0.123456, times=3)
    lines = metrics.text({}).splitlines()
    assert 'convscope_requests_total{route="/",method="GET",status="200"} 3' in lines
    assert 'convscope_request_seconds_sum{route="/"} 0.370368' in lines
    assert 'convscope_request_seconds_count{route="/"} 3' in lines


@pytest.mark.parametrize("worker", [0, 1])
def test_every_line_says_which_worker_counted(worker: int) -> None:
    metrics = Metrics()
    metrics.request("/", "GET", 200, 0.1)
    metrics.batch("net", 3)
    lines = metrics.text({"net": 5}, worker=worker).splitlines()
    assert all(f'{{worker="{worker}",' in line for line in lines if not line.startswith("#"))
