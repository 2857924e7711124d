import errno
from pathlib import Path

import numpy as np
import pytest

from training.datasets import MNIST, Arrays
from training.test_set import publish_test_set
from training.whole_files import DamagedError, naming, reading, written


@pytest.mark.parametrize("end", [KeyboardInterrupt(), ValueError("of the writer")])
def test_what_ends_the_writing_leaves_the_old_file_and_no_part(tmp_path: Path, end: BaseException) -> None:
    path, partial = tmp_path / "net.npz", tmp_path / "net.partial.npz"
    path.write_text("old")

    def begin_and_fail() -> None:
        with written(path, partial) as file:
            file.write_text("half")
            raise end

    with pytest.raises(type(end)):
        begin_and_fail()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("net.npz", "old")]
    with written(path, partial) as file:
        file.write_text("new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("net.npz", "new")]


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    partial = tmp_path / "net.partial.npz"
    with pytest.raises(OSError, match="No space") as raised, written(tmp_path / "net.npz", partial):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(partial))


def test_a_name_that_the_system_gave_stays() -> None:
    with pytest.raises(OSError, match="No space") as raised, naming(Path("folder")):
        raise OSError(errno.ENOSPC, "No space left on device", "file")
    assert raised.value.filename == "file"


def test_a_full_disk_leaves_no_part_of_a_test_set(
    few_arrays: dict[str, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, **_: object) -> None:
        file.write_bytes(b"PK and no more")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space") as raised:
        publish_test_set(MNIST, few_arrays["mnist"], tmp_path, tmp_path)
    folder = tmp_path / "datasets" / "mnist"
    assert Path(raised.value.filename).parent == folder
    assert list(folder.iterdir()) == []


def test_whichever_bit_is_wrong_a_damaged_file_is_read_or_known_as_one(tmp_path: Path) -> None:
    """Its arrays are not checked here: who reads them has their sums."""
    whole = tmp_path / "whole.npz"
    np.savez(whole, about=np.array("{}"), state=np.arange(3.0))
    content, path = whole.read_bytes(), tmp_path / "changed.npz"
    refused = 0
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            with reading(), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                for name in ("about", "state"):
                    file[name]
        except DamagedError:
            refused += 1
    assert refused > 4 * len(content)
