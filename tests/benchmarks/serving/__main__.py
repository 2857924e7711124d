"""`python -m tests.benchmarks.serving`, see command.py."""

import io
import sys
from pathlib import Path

PROC = Path("/proc/stat")


def main() -> int:
    """Interrupting is one line from the start on: importing takes a second, and cannot be done everywhere."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a ? for what an output that is not UTF-8 has no letter for
    if not PROC.exists():
        print("needs Linux: what a server takes is read from /proc", file=sys.stderr)
        return 2
    try:
        from tests.benchmarks.serving import command  # noqa: PLC0415

        return command.main()
    except KeyboardInterrupt:
        print("interrupted before anything was measured", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
