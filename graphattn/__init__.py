"""graphattn: self-attention on graphs. See the README for the two jobs and the layers.

Names are imported on first use (PEP 562), so that `import graphattn.nn` needs torch and torch_geometric only and the
command line answers `--help` at once.
"""

from lazy_loader import attach_stub

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
__all__ += ["__version__"]
