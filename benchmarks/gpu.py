"""minires on a GPU: is it right, how fast is it, how much memory does it take? For whoever has one.

    pip install -e ".[test]" "cupy-cuda13x[ctk]"     # or cupy-cuda12x[ctk]; PyTorch with CUDA, to compare with
    python -m benchmarks.gpu                         # from the root of the repository; status 1 where a check fails

The report is Markdown, on the screen and in minires-output/gpu.md. Without a GPU there is one sentence that says what is
missing. (`--device cpu` runs the checks against the CPU itself, which shows that they run, and nothing else.)
"""
import argparse
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from benchmarks.gpu_checks import SGD, Step, checks
from minires.arrays.backend import parse_device, usable_device
from minires.arrays.cuda import cuda_module
from minires.cli import doctor
from minires.errors import MiniresError

MIB = 2 ** 20


def main(argv=None) -> int:
    """Check, measure, report; returns 0, 1 where a check failed, 2 where the device cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="minires on a GPU: right, and how fast?")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 (default: %(default)s)")
    parser.add_argument("--reference", default="cpu", help="what it is compared with (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images in the timed step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=30, help="how often the step is timed (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("minires-output/gpu.md"), help="the report (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        device, reference = usable_device(options.device), usable_device(options.reference)
    except MiniresError as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    report = Report()
    report.line(f"# minires on {device}, checked against {reference}\n\n```\n{doctor.report()}\n```\n")
    failed = report_checks(report, checks(device, reference))
    report_measurements(report, device, options.batch, options.rounds)
    report.write(options.out)
    print(f"\nThe report: {options.out}")
    return 1 if failed else 0


class Report:
    """Lines that are printed as they come, and kept."""

    def __init__(self):
        self.lines = []

    def line(self, text):
        """Print and keep."""
        print(text, flush=True)
        self.lines.append(text)

    def write(self, path):
        """Write what was kept."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def report_checks(report, checks) -> int:
    """Run the checks, a line of the table each; returns how many failed. A failure does not end the others."""
    report.line("| check | result | seconds | what was found |\n|---|---|---|---|")
    failed = 0
    for what, check in checks:
        start = time.perf_counter()
        try:
            result, found = "passed", check()
        except Exception as error:  # AssertionError, and whatever a device raises
            failed += 1
            traceback.print_exc()
            result, found = "**FAILED**", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        report.line(f"| {what} | {result} | {time.perf_counter() - start:.1f} | {found} |")
    report.line(f"\n{len(checks) - failed} of {len(checks)} checks passed.\n")
    return failed


def report_measurements(report, device, batch, rounds):
    """The time and the memory of a step of ResNet-20, beside PyTorch's where it is installed, and its kernel launches."""
    report.line(f"A training step of ResNet-20, {batch} images of 32 x 32, float32, {rounds} rounds after 5 that were not "
                "timed:\n\n| | ms, least | ms, median | memory, MiB |\n|---|---|---|---|")
    for name, measure in (("minires", measure_minires), ("PyTorch", measure_torch)):
        try:
            seconds, memory = measure(device, batch, rounds)
            memory = "not measured" if memory is None else f"{memory / MIB:.0f}"
            report.line(f"| {name} | {1e3 * seconds.min():.2f} | {1e3 * np.median(seconds):.2f} | {memory} |")
        except Exception as error:  # out of memory, or no PyTorch: the other figures are still wanted
            report.line(f"| {name} | {type(error).__name__}: {' '.join(str(error).split())[:200]} | | |")
    report.line("\nMemory: what minires's pool and PyTorch's allocator hold after the rounds.\n")
    launches, uploads, downloads = count_launches(batch)
    report.line("Kernels in a step, as the strict double of CuPy counts them (on the CPU): "
                f"{sum(launches.values())} launches; {len(uploads)} copy to the device ({sum(uploads)} bytes, the labels), "
                f"{len(downloads)} back. The most frequent: "
                f"{', '.join(f'{count} {what}' for what, count in launches.most_common(8))}.")


def measure_minires(device, batch, rounds):
    """(seconds (rounds,), bytes that CuPy's pool holds, or None on the CPU)."""
    if parse_device(device) is None:
        return timed(Step(device, batch=batch), rounds, lambda: None), None
    cupy = cuda_module(parse_device(device))
    pool = cupy.get_default_memory_pool()
    with cupy.cuda.Device(parse_device(device)):
        pool.free_all_blocks()
        before = pool.used_bytes()
        seconds = timed(Step(device, batch=batch), rounds, lambda: cupy.cuda.Device().synchronize())
        return seconds, pool.total_bytes() - before


def measure_torch(device, batch, rounds):
    """The same of the same step in PyTorch, eager and without TF32, as CuPy has it."""
    import torch

    from tests.parity.torch_nets import CifarNet

    if device != "cpu" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch is installed without CUDA")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ours = Step("cpu", batch=batch)
    model = CifarNet(depth=20)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in ours.model.state_dict().items()}, strict=False)
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    images, labels = torch.from_numpy(ours.images.numpy()).to(device), torch.from_numpy(ours.labels)

    def step():
        loss = torch.nn.functional.cross_entropy(model(images), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    if device == "cpu":
        return timed(step, rounds, lambda: None), None
    torch.cuda.reset_peak_memory_stats(device)
    seconds = timed(step, rounds, lambda: torch.cuda.synchronize(device))
    return seconds, torch.cuda.max_memory_reserved(device)


def timed(step, rounds, synchronize):
    """Seconds of each of the rounds, after 5 more that compile and fill the caches; each waits for the device."""
    seconds = []
    for i in range(rounds + 5):
        start = time.perf_counter()
        step()
        synchronize()
        if i >= 5:
            seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def count_launches(batch, depth=20):
    """(Counter of launches, uploads, downloads) of a step on the strict double, after one that warmed up."""
    from tests.strict_cupy import installed, meter

    with installed():
        step = Step("cuda", depth=depth, batch=batch)
        step()
        meter.reset()
        step()
        return meter.launches.copy(), list(meter.uploads), list(meter.downloads)


if __name__ == "__main__":
    sys.exit(main())
