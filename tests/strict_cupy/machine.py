"""The machine that the double pretends to be: two CUDA devices, and meters of what a program makes them do."""
import contextlib
import threading
from collections import Counter

DEVICES = 2
MEMORY = 8 * 2**30  # bytes of each device


class HiddenSynchronization(AssertionError):
    """Inside `no_sync()` a program asked for a value, and so waits until the GPU has computed it."""


class MixedDevices(ValueError):
    """A kernel was given an array that is not on the current device. CuPy raises a ValueError."""


class Meter:
    """What a program has asked of the devices since the last `reset()`.

    Attributes:
        launches: Counter {what: how many}: kernels, matrix products, fills and copies within a device, each 1.
        uploads, downloads: lists of bytes, one entry for each copy from the host to a device, or back.
    """

    def __init__(self):
        self.reset()
        self.may_synchronize = True

    def reset(self):
        """Count from zero."""
        self.launches = Counter()
        self.uploads = []
        self.downloads = []

    def launch(self, what, count=1):
        """The program has put work into a device's queue, and goes on."""
        self.launches[what] += count

    def upload(self, values):
        """Host values go to a device; the program goes on when they are in a buffer of the driver's."""
        self.uploads.append(values.nbytes)

    def download(self, values, why):
        """Values come to the host: the program waits until all that is queued has run."""
        self.synchronize(why)
        self.downloads.append(values.nbytes)

    def synchronize(self, why):
        """The program waits for a device."""
        if not self.may_synchronize:
            raise HiddenSynchronization(f"{why} waits for the GPU, inside no_sync()")


meter = Meter()


@contextlib.contextmanager
def no_sync():
    """A block in which nothing may wait for a device: float(), item(), get(), bool(), print, nonzero, a mask as index."""
    outer, meter.may_synchronize = meter.may_synchronize, False
    try:
        yield meter
    finally:
        meter.may_synchronize = outer


class _Current(threading.local):
    """The device on which each thread's kernels run and its arrays are made."""

    def __init__(self):
        self.device = 0
        self.outer = []


_current = _Current()


def current_device() -> int:
    """The index of this thread's current device."""
    return _current.device


class Device:
    """`cupy.cuda.Device`: makes itself current by `use()`, or in a `with` block."""

    def __init__(self, device=None):
        self.id = _current.device if device is None else int(device)

    def use(self):
        """Make this the current device."""
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        _current.device = self.id

    def synchronize(self):
        """Wait for it."""
        meter.synchronize("Device.synchronize()")

    @property
    def mem_info(self):
        """(free, total) bytes."""
        return MEMORY, MEMORY

    @property
    def compute_capability(self):
        """That of an H100."""
        return "90"

    def __enter__(self):
        outer = _current.device
        self.use()
        _current.outer.append(outer)
        return self

    def __exit__(self, *exception):
        _current.device = _current.outer.pop()

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return hash(self.id)

    def __int__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"


class CUDARuntimeError(RuntimeError):
    """What CUDA's runtime reports."""


class Stream:
    """As much of `cupy.cuda.Stream` as waiting needs."""

    def synchronize(self):
        """Wait for the work in this stream."""
        meter.synchronize("Stream.synchronize()")


class MemoryPool:
    """As much of `cupy.cuda.MemoryPool` as a report of memory needs. The double keeps no account of its bytes."""

    def used_bytes(self):
        """Bytes that arrays hold."""
        return 0

    def total_bytes(self):
        """Bytes that the pool holds."""
        return 0

    def free_all_blocks(self, stream=None):
        """Give back what no array holds."""


RUNTIME = {
    "CUDARuntimeError": CUDARuntimeError,
    "getDeviceCount": lambda: DEVICES,
    "getDevice": current_device,
    "setDevice": lambda index: Device(index).use(),
    "deviceSynchronize": lambda: meter.synchronize("deviceSynchronize()"),
    "driverGetVersion": lambda: 13000,
    "runtimeGetVersion": lambda: 13000,
    "memGetInfo": lambda: (MEMORY, MEMORY),
    "getDeviceProperties": lambda index: {"name": b"strict double, no GPU", "totalGlobalMem": MEMORY},
}
