"""What the connection of a stream ends with."""


class LostError(Exception):
    """There is no connection, and waiting may help; the message says why."""
