"""What the client raises."""


class InvalidArgument(ValueError):
    """An argument breaks its rule; nothing was sent.

    Attributes:
        parameter: The parameter's name in the exchange's documents, such as `orderId`, or its
            place in the body, such as `body['BTC_TWD'][0]`.
        rule: What the parameter must be, with an example.
        got: What it was, never quoting a text that may be a secret.
    """

    def __init__(self, parameter: str, rule: str, got: str) -> None:
        self.parameter = parameter
        self.rule = rule
        self.got = got
        super().__init__(f"{parameter} must be {rule}, not {got}; nothing was sent")

    def __reduce__(self) -> tuple[type["InvalidArgument"], tuple[str, str, str]]:
        return InvalidArgument, (self.parameter, self.rule, self.got)


class UnexpectedStatus(Exception):
    """The answer's status is not that of a success.

    Attributes:
        status_code: The status, which may be one that Python's `HTTPStatus` does not know.
        content: The answer's body: the exchange's error, or a proxy's HTML.
    """

    def __init__(self, status_code: int, content: bytes) -> None:
        self.status_code = status_code
        self.content = content
        super().__init__(f"the answer's status is {status_code}")


class UnreadableAnswer(Exception):
    """The answer's status is that of a success, its body is not what the document promises.

    What was asked for may or may not have happened.

    Attributes:
        status_code: The status.
        content: The answer's body.
    """

    def __init__(self, status_code: int, content: bytes, why: str) -> None:
        self.status_code = status_code
        self.content = content
        super().__init__(f"the answer cannot be understood: {why}")


__all__ = ["InvalidArgument", "UnexpectedStatus", "UnreadableAnswer"]
