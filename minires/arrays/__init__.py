"""Where numbers live: NumPy on the CPU, CuPy on a CUDA GPU; and how memory is laid out and cut into pieces."""
