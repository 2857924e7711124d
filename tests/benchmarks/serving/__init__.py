"""How fast the service is under load, beside no-ops and other servers: `python -m tests.benchmarks.serving --help`."""
