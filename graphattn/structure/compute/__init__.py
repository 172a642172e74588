"""The numerics of the transforms. They import scipy and numba, and so are imported only where they are used."""
