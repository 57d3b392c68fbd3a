"""Stepping through a backward pass, and finding where it goes wrong."""
from minires.debug.anomaly import detect_anomaly
from minires.debug.breakpoints import break_at
from minires.debug.description import describe
from minires.debug.explanation import explain
from minires.debug.gradient_check import gradcheck
from minires.debug.step_summary import step_as_html
from minires.debug.writes import detect_writes
from minires.engine.backward import BackwardStep

__all__ = ["break_at", "describe", "detect_anomaly", "detect_writes", "explain", "gradcheck"]

BackwardStep._repr_html_ = step_as_html  # the name that notebooks ask for
