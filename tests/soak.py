"""Runs mixes of faults at random, first on the outcomes and then on the throttle.

The outcomes are held against the sandbox's book, in `--runs` mixes whose seconds take no time, and
how many are unknown is told; then a tenth as many with many orders in each. Then the throttle's
state machine runs for minutes. It ends at the first violation with 1, and prints the seed that
repeats its orders (not what several processes do at the same moment).
"""

import argparse
import itertools
import random
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import seed as seeded

from tests.many.mixes import play
from tests.outcomes import mixes
from tests.throttle.machine import Pool, Redis
from tests.throttle.test_state_machine import Report, machine_of, run

EXAMPLES = 4
STEPS = 20
KINDS = ("folder", "redis", "memory")


def main() -> int:
    """Run it and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="repeat one run of examples")
    parser.add_argument("--kind", choices=KINDS, help="what the processes share")
    parser.add_argument("--runs", type=int, default=2000, help="how many mixes on the outcomes")
    parser.add_argument("--keep-going", action="store_true", help="also after a violation")
    chosen = parser.parse_args()
    first_seed = 0 if chosen.seed is None else chosen.seed
    if not _outcomes_hold(chosen.runs, first_seed):
        return 1
    if not _many_hold(range(first_seed, first_seed + chosen.runs // 10)):
        return 1
    kinds = itertools.cycle([chosen.kind] if chosen.kind else KINDS)
    ends = time.monotonic() + chosen.minutes * 60
    report, pool, failed = Report(), Pool(), False
    program = shutil.which("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        redis = Redis(program, Path(folder)) if program else None
        try:
            while time.monotonic() < ends:
                kind = next(kinds)
                if kind == "redis" and redis is None:
                    continue
                seed = random.randrange(10**6) if chosen.seed is None else chosen.seed
                began = time.monotonic()
                try:
                    machine = machine_of(
                        kind, Path(folder), report, pool, redis if kind == "redis" else None
                    )
                    run(seeded(seed)(machine), max_examples=EXAMPLES, stateful_step_count=STEPS)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                    failed = True
                    print("\n".join(report.violations) or repr(error), flush=True)
                    report.violations.clear()
                    print(f"repeat it with: SEED={seed} KIND={kind}", flush=True)
                print(f"{kind} {seed}: {time.monotonic() - began:.0f} s", flush=True)
                if chosen.seed is not None or (failed and not chosen.keep_going):
                    break
        finally:
            pool.close()
            if redis is not None:
                redis.kill()
    for name, count in (*report.counts.items(), *report.outcomes.items()):
        print(f"{count:8} {name}")
    print("violations were found" if failed else "no violation")
    return int(failed)


def _outcomes_hold(runs: int, first_seed: int) -> bool:
    """Play so many mixes of faults and say what they came to."""
    began = time.monotonic()
    report = mixes.run_many(range(first_seed, first_seed + runs))
    print("\n".join(mixes.account(report)))
    held = "a violation" if report.violations else "no violation"
    print(f"outcomes: {runs} runs in {time.monotonic() - began:.0f} s, {held}", flush=True)
    return not report.violations


def _many_hold(seeds: range) -> bool:
    """Play mixes with many orders in each, in threads and in tasks."""
    began = time.monotonic()
    wrong = [each for seed in seeds for mode in ("sync", "async") for each in play(seed, mode)]
    print("\n".join(wrong[:20]))
    held = "a violation" if wrong else "no violation"
    print(f"many: {2 * len(seeds)} runs in {time.monotonic() - began:.0f} s, {held}", flush=True)
    return not wrong


if __name__ == "__main__":
    raise SystemExit(main())
