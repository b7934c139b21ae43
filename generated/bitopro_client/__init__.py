# Generated from openapi/bitopro.yaml by `make generate` (openapi-python-client 0.29.1). Do not edit.
"""The part of BitoPro's REST API (v3) that cancels orders.

Written by hand from BitoPro's public API documents (v3, state of December 2025). "Not verified"
means that it was not tried on the live exchange: there is no documented test environment, so a
try needs a real account.
"""

from .client import Client

__all__ = ("Client",)
