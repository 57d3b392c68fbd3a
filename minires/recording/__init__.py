"""The gradient recorder: how large the gradient is at each layer of a net, in each backward pass."""
from minires.recording.column import Column
from minires.recording.record import GradientRecord, stack_records
from minires.recording.recorder import GradientRecorder, record_gradients

__all__ = ["Column", "GradientRecord", "GradientRecorder", "record_gradients", "stack_records"]
