"""Fused CPU kernels: attention and its gradients without a tensor of edges' size. See docs/cpu_kernels.md."""
