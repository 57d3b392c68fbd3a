"""What all tests share."""
import gc
import signal
import sys

import matplotlib
import pytest

matplotlib.use("Agg")  # no test needs a screen

FAST_ONLY = "not slow"  # the -m of setup.cfg, which one on the command line replaces
SLOW_LEFT_OUT = pytest.StashKey[int]()


@pytest.fixture
def without_gc():
    """What is freed in this test is freed by its last reference, not by the garbage collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def alive(monkeypatch):
    """Weak references to the arrays that `Saves` has saved in this test."""
    from tests.saves import Saves

    references = []
    monkeypatch.setattr(Saves, "alive", references, raising=False)
    return references


@pytest.fixture
def signals_as_in_a_terminal():
    """For this test and what it starts: the tests may run in the background or under nohup, where these are ignored."""
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    ignored = [name for name in usual if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN]
    for name in ignored:
        signal.signal(getattr(signal, name), usual[name])
    yield
    for name in ignored:
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def pytest_addoption(parser):
    parser.addoption("--fail-on-skip", action="store_true",
                     help="a skipped test fails the run: for CI, where everything that a test needs is installed")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """All tests are shared out among the cores, where pytest-xdist is and nobody asked for another number of processes.

    Those of a named file are not, and none where a debugger or `coverage run` watches this process, which runs them then.
    """
    asked_for_all = config.args_source is config.ArgsSource.TESTPATHS and config.getoption("numprocesses", 0) is None
    if asked_for_all and not hasattr(config, "workerinput") and sys.gettrace() is None:
        config.option.numprocesses = "auto"
        config.option.dist = "worksteal"


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave the slow tests out last, so that those are counted which -k and the like would have run."""
    if config.option.markexpr != FAST_ONLY:
        return (yield)
    config.option.markexpr = ""
    try:
        result = yield
    finally:
        config.option.markexpr = FAST_ONLY
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        config.stash[SLOW_LEFT_OUT] = len(slow)
        if hasattr(config, "workeroutput"):  # what a process tells the one that prints
            config.workeroutput["slow_left_out"] = len(slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Below pytest's closing line: how many slow tests were left out, and how to run them."""
    result = yield
    left_out = session.config.stash.get(SLOW_LEFT_OUT, 0)
    if left_out and (terminal := session.config.pluginmanager.get_plugin("terminalreporter")):
        tests = "slow test was" if left_out == 1 else "slow tests were"
        terminal.write_line(f"{left_out} {tests} left out: python -m pytest -m slow runs them, "
                            'python -m pytest -m "slow or not slow" all')
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Each process has collected all tests: what one has left out, all have."""
    node.config.stash[SLOW_LEFT_OUT] = getattr(node, "workeroutput", {}).get("slow_left_out", 0)


def pytest_make_collect_report(collector):
    """Let a module that skips itself (`importorskip`) count as an error under --fail-on-skip."""
    from _pytest.runner import pytest_make_collect_report as usual

    report = usual(collector)
    if report.skipped and collector.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and --fail-on-skip is on: {report.longrepr}"
    return report
