"""The error of a stream whose connection is lost."""


class LostError(Exception):
    """There is no connection, and a retry may help; the message gives the reason."""
