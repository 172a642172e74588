"""Estimators in scikit-learn's shape: a source × a task × a model.

Names are imported on first use (PEP 562), so that predicting with a trained folder never imports scikit-learn.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
