"""What can go wrong while measuring."""


class BenchmarkError(Exception):
    """A server did not start, or gave another answer than it must: there is nothing to measure."""
