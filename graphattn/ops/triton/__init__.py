"""Fused kernels for GPUs, in Triton: the same operators as those of `graphattn.ops.cpu`."""
