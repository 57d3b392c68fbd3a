"""Peak memory beside PyTorch: the report."""
from benchmarks import memory

MB = 10 ** 6


def test_the_report_on_memory_has_the_ratio_to_each_rival():
    measured = {"a step": {"minires": {"before": 50 * MB, "peak": 150 * MB},
                           "PyTorch": {"before": 200 * MB, "peak": 450 * MB}}}
    lines = memory.section(measured).splitlines()
    assert lines[0] == "### Memory"
    assert lines[-3:] == ["| training step | minires | PyTorch |", "|---|---|---|",
                          "| a step | 100 (150) | 250 (450): **0.40** |"]
