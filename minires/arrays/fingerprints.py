"""Was an array changed since it was last looked at?"""
import zlib
from typing import Any

import numpy as np

from minires.arrays.backend import Array


def fingerprints(holder: Any, arrays: list[Array]) -> list[int]:
    """A checksum of each array of which `holder`, an array or a tuple, holds the memory; those on a GPU are passed over."""
    held = [each for each in (holder if isinstance(holder, tuple) else (holder,)) if type(each) is np.ndarray]
    return [zlib.crc32(np.ascontiguousarray(array).data) for array in arrays
            if type(array) is np.ndarray and any(np.may_share_memory(each, array) for each in held)]
