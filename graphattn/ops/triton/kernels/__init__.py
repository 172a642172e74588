"""The kernels themselves. Importing them needs Triton."""
