"""Some of the mixes of faults that `make soak` plays two thousand of."""

from tests.outcomes import mixes


def test_what_is_told_is_what_the_book_says_or_is_unknown() -> None:
    report = mixes.Report()
    for seed in range(40):
        report += mixes.run(seed)
    assert report.violations == []
    assert sum(report.counts.values()) >= 40
    assert {"confirmed: CANCELLED", "confirmed: FILLED"} <= report.counts.keys()
