"""The errors that the client raises."""


class InvalidArgument(ValueError):
    """An argument breaks its rule; nothing was sent.

    Attributes:
        parameter: The parameter's name in the exchange's documents, such as `orderId`, or its
            place in the body, such as `body['BTC_TWD'][0]`.
        rule: What the parameter must be, with an example.
        got: What was passed instead; a text that may be a secret is not quoted.
    """

    def __init__(self, parameter: str, rule: str, got: str) -> None:
        self.parameter = parameter
        self.rule = rule
        self.got = got
        super().__init__(f"{parameter} must be {rule}, not {got}; nothing was sent")

    def __reduce__(self) -> tuple[type["InvalidArgument"], tuple[str, str, str]]:
        return InvalidArgument, (self.parameter, self.rule, self.got)


class UnexpectedStatus(Exception):
    """The status of the answer is not a success.

    Attributes:
        status_code: The status, which may be one that Python's `HTTPStatus` does not know.
        content: The body of the answer: the exchange's error, or the HTML of a proxy.
    """

    def __init__(self, status_code: int, content: bytes) -> None:
        self.status_code = status_code
        self.content = content
        super().__init__(f"the answer's status is {status_code}")


class UnreadableAnswer(Exception):
    """The status of the answer is a success, but its body is not what the spec says.

    The exchange may or may not have done what was requested.

    Attributes:
        status_code: The status.
        content: The body of the answer.
    """

    def __init__(self, status_code: int, content: bytes, why: str) -> None:
        self.status_code = status_code
        self.content = content
        super().__init__(f"the answer cannot be understood: {why}")


__all__ = ["InvalidArgument", "UnexpectedStatus", "UnreadableAnswer"]
