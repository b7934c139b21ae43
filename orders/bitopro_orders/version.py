"""The version of the package. It is set here only."""

__version__ = "0.2.0"
