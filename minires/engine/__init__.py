"""The core: a tensor, an op, and the backward pass as a generator of steps."""
