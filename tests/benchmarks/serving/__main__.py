"""`python -m tests.benchmarks.serving`, see command.py."""

import sys


def main() -> int:
    """Interrupting is one line from the start on: importing takes a second."""
    try:
        from tests.benchmarks.serving import command  # noqa: PLC0415

        return command.main()
    except KeyboardInterrupt:
        print("interrupted before anything was measured", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
