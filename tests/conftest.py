"""What all tests share."""
import matplotlib
import pytest

matplotlib.use("Agg")  # no test needs a screen


def pytest_addoption(parser):
    parser.addoption("--fail-on-skip", action="store_true",
                     help="a skipped test fails the run: for CI, where everything that a test needs is installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.is_marked_gpu = item.get_closest_marker("gpu") is not None  # a report's keywords hold ids of parameters too
    if report.skipped and item.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and --fail-on-skip is on: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter):
    """Say whether the run says anything about a GPU: on most machines, all CuPy code has met its strict double only."""
    ran = [report for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
           if report.when == "call" and report.is_marked_gpu]
    if ran:
        terminalreporter.write_line(f"GPU: {len(ran)} tests ran on a CUDA GPU")
    else:
        terminalreporter.write_line("No GPU code was run: what these tests say of CuPy is what its strict double says")


def pytest_make_collect_report(collector):
    """Let a module that skips itself (`importorskip`) count as an error under --fail-on-skip."""
    from _pytest.runner import pytest_make_collect_report as usual

    report = usual(collector)
    if report.skipped and collector.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and --fail-on-skip is on: {report.longrepr}"
    return report
