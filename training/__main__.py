"""`python -m training`: fetch, preprocess, train, export, list, report, compare.

Commands import what they need when they run: TensorFlow takes seconds, and `list` should not.
"""

import argparse
import io
import os
import shlex
import sys
from pathlib import Path

from training.datasets import DATASETS, USUAL_FOLDERS, DataError, Dataset
from training.experiments import EXPERIMENTS
from training.missing import OF_TRAINING, advice
from training.quiet import quiet
from training.stops import heed, listen

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
_LARGEST_SEED = 2**32 - 1  # that NumPy and Keras take


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        "python -m training", description="Make the models that the service serves."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    for command in (
        add("fetch", "find the original data files, download those that are missing, verify all"),
        add("preprocess", "turn the originals into one checked array file a data set"),
    ):
        command.add_argument("datasets", nargs="*", type=_dataset, metavar="DATASET", help="default: all")
        _data_option(command)
    train = add("train", "train, evaluate and export models")
    train.add_argument(
        "names", nargs="+", choices=[*EXPERIMENTS, "all"], metavar="NAME", help="see `list`; or: all"
    )
    kept = train.add_mutually_exclusive_group()
    kept.add_argument("--resume", action="store_true", help="go on from the last whole epoch")
    kept.add_argument("--restart", action="store_true", help="discard the run that is kept and begin again")
    train.add_argument("--no-export", action="store_true", help="stop after the last epoch")
    train.add_argument(
        "--seed",
        type=_seed,
        help="another one than the experiment's, to see how far results spread: it is kept as a checkpoint, and "
        "what is published next under this name tells of it",
    )
    export = add("export", "evaluate and export models whose training is finished")
    export.add_argument("names", nargs="+", choices=[*EXPERIMENTS, "all"], metavar="NAME")
    for command in (train, export):
        _data_option(command)
        _folder_options(command)
    listing = add("list", "what can be trained, and how good what was trained is")
    _folder_options(listing)
    report = add("report", "draw a model's learning curves, weights, confusions, calibration")
    report.add_argument("name", metavar="NAME", help="a published model, see `list`, or an alias")
    compare = add("compare", "print and draw models side by side")
    compare.add_argument("names", nargs="+", metavar="NAME", help="published models or aliases")
    for command in (report, compare):
        command.add_argument("--to", type=Path, help="folder for the figures (default: below build/reports)")
        command.add_argument(
            "--theme", choices=["light", "dark"], default="light", help="default: %(default)s"
        )
        command.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="default: %(default)s")
    return top


def _dataset(text: str) -> Dataset:
    if text not in DATASETS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(DATASETS)}")
    return DATASETS[text]


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _LARGEST_SEED):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {_LARGEST_SEED}")
    return int(text)


def _data_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data",
        type=Path,
        help=f"folder of the originals (default: $CONVSCOPE_DATA, {', '.join(map(str, USUAL_FOLDERS))})",
    )


def _folder_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--artifacts", type=Path, default=ARTIFACTS, help="default: %(default)s")
    command.add_argument(
        "--checkpoints", type=Path, default=Path("checkpoints"), help="default: ./checkpoints"
    )


def run(arguments: argparse.Namespace, command: str) -> int:
    """Do one command; its exit status."""
    if arguments.command in {"fetch", "preprocess"}:
        from training.data_commands import fetch, preprocess

        datasets = arguments.datasets or list(DATASETS.values())
        return (fetch if arguments.command == "fetch" else preprocess)(datasets, arguments.data)
    if arguments.command in {"list", "report", "compare"} and not arguments.artifacts.is_dir():
        raise DataError(
            f"{arguments.artifacts} is no folder: --artifacts takes the one that models are published in"
        )
    if arguments.command == "list":
        from training.listing import show

        return show(arguments.artifacts, arguments.checkpoints)
    if arguments.command in {"report", "compare"}:
        from training.report import compare, report

        return (report if arguments.command == "report" else compare)(arguments)
    with quiet():
        from training.train_commands import export, train

    heed()
    return (train if arguments.command == "train" else export)(arguments, command)


def main(argv: list[str]) -> int:
    """Parse, do, and turn what a person can mend into one line instead of a trace."""
    # Before TensorFlow is imported. What it says already while it is imported, `quiet` withholds.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a ? for what an output that is not UTF-8 has no letter for
    arguments = parser().parse_args(argv)
    command = shlex.join(["python", "-m", "training", *argv])
    try:
        return run(arguments, command)
    except DataError as error:
        return _give_up(str(error))
    except OSError as error:
        return _give_up(f"{error.strerror}: {error.filename}" if error.filename else str(error))
    except ModuleNotFoundError as error:
        if error.name not in OF_TRAINING:
            raise
        return _give_up(advice(error.name))
    except KeyboardInterrupt as stop:
        print(file=sys.stderr)  # noqa: T201 — the terminal has written ^C
        _give_up(str(stop) or f"stopped; `{command}` does the rest")
        return INTERRUPTED


def _give_up(line: str) -> int:
    print(f"training: {line}", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    listen()
    sys.exit(main(sys.argv[1:]))
