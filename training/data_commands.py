"""The commands `fetch` and `preprocess`."""

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from training import preprocess as arrays
from training.datasets import DataError, Dataset, Source, contents, data_folders, find
from training.download import fetch as download
from training.lines import done, refuse


def fetch(datasets: list[Dataset], folder: Path | None) -> int:
    """Find or download every original file of the data sets; 0 if all are there and right."""
    console = Console()
    wrong = 0
    for dataset in datasets:
        for source in (*dataset.sources, dataset.votes):
            try:
                done(console, f"{source.file}: {_one(source, folder, console)}")
            except DataError as error:
                wrong += refuse(console, str(error))
    return 1 if wrong else 0


def _one(source: Source, folder: Path | None, console: Console) -> str:
    path = find(source, data_folders(folder))
    if path is not None:
        contents(path, source)
        return f"verified, {path}"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(source.file)
        path = download(
            source,
            arrays.writable_folder(folder),
            lambda so_far, whole: progress.update(bar, completed=so_far, total=whole),
        )
    return f"downloaded and verified, {path}"


def preprocess(datasets: list[Dataset], folder: Path | None) -> int:
    """Write every data set's array file."""
    console = Console()
    for dataset in datasets:
        with console.status(f"{dataset.name}: reading and verifying the originals"):
            path = arrays.preprocess(dataset, folder)
        made = arrays.read(dataset, path)
        done(
            console,
            f"{path}: {len(made.train_labels):,} training and {len(made.test_labels):,} test images "
            f"of {'×'.join(map(str, dataset.shape))}, {path.stat().st_size / 1e6:.0f} MB",
        )
    return 0
