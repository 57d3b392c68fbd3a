"""The numbers of a backward pass, left on their device until somebody asks for them."""
import numpy as np

from minires.arrays.backend import array_module, beside, to_host, use_device_of


class PassNumbers:
    """The numbers of one backward pass, left on their device in one small vector, until somebody asks for the row."""

    def __init__(self):
        self._vectors = []
        self._as_rows = []

    def add(self, arrays, as_row):
        """Keep the values of 0-d arrays.

        Args:
            arrays: a list of them.
            as_row: makes the part of the row, {(quantity, module name): value}, of their values, a list of floats.
        """
        if arrays:
            self._vectors.append(_as_vector(arrays))
            self._as_rows.append(as_row)

    def row(self) -> dict:
        """{(quantity, module name): value}, moved to the host in one transfer."""
        if not self._vectors:
            return {}
        use_device_of(self._vectors[0])
        values = to_host(array_module(self._vectors[0]).concatenate(self._vectors)).tolist()
        row, start = {}, 0
        for vector, as_row in zip(self._vectors, self._as_rows, strict=True):
            row.update(as_row(values[start:start + len(vector)]))
            start += len(vector)
        return row


def _as_vector(arrays):
    """0-d arrays in one vector, by a copy each. Not by `stack`: CuPy's uploads a list of addresses for it."""
    use_device_of(arrays[0])
    vector = array_module(arrays[0]).empty(len(arrays), dtype=np.float64)
    for i, array in enumerate(arrays):
        vector[i] = beside(array, vector)  # a net may lie on two devices
    return vector
