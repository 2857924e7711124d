"""Arrays as the files that NumPy reads."""

from collections.abc import Mapping
from io import BytesIO
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray


def npy(values: NDArray[np.float32]) -> bytes:
    """One array."""
    file = BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def npz(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """What np.savez writes, but a name may be any; the bytes are the same each time."""
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        for name, values in arrays.items():
            archive.writestr(ZipInfo(f"{name}.npy"), npy(values))  # of no time
    return file.getvalue()
