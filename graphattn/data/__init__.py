"""The catalogue of data sets: a card each, download with a check, and loading. See `datasets/` for the cards."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
