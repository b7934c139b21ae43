"""A process whose cancels are interrupted: its settings are JSON on the command line."""

import asyncio
import faulthandler
import itertools
import json
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

from bitopro_client.api.orders import cancel_order
from bitopro_orders import BitoProError, OrdersClient
from tests.throttle.programs import (
    ORDER_ID,
    PAIR,
    AtPlace,
    StuckError,
    cancel,
    client_of,
    finish,
    places,
    watched,
)

#: How long a cancel with a deadline of 2 seconds is waited for.
PATIENCE = 6.0


class Trials:
    """Interrupts a cancel again and again; after each time another one must go out."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.client = client_of(settings)
        self.settings = settings
        self.found: Counter[str] = Counter()
        self.problems: list[str] = []
        self.longest = 0.0

    def cancel(self) -> None:
        cancel(self.client)

    def after(self, what: str) -> bool:
        """Cancel, and say whether the trials can go on."""
        began = time.monotonic()
        try:
            watched(self.cancel, PATIENCE)
            self.found["accepted after"] += 1
        except BitoProError as error:
            self.problems.append(f"{what}: {type(error).__name__}: {error}")
        except StuckError as stuck:
            self.problems.append(f"{what}: {stuck}")
            return False
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        return True

    def report(self) -> dict[str, Any]:
        problems = self.problems[:4]
        if len(self.problems) > 4:
            problems.append(f"and {len(self.problems) - 4} more")
        return {**self.found, "problems": problems, "longest": round(self.longest, 2)}


def chosen(number_of_places: int, tries: int) -> range:
    """Return the places to try: all, or not many more than `tries`, evenly spread."""
    return range(1, number_of_places + 1, max(1, round(number_of_places / tries)))


def interrupt() -> None:
    raise KeyboardInterrupt


def at_every_place(trials: Trials) -> None:
    """Raise KeyboardInterrupt at each place in turn where a signal could."""
    number_of_places = places(trials.cancel)
    for number in chosen(number_of_places, trials.settings["tries"]):
        at = AtPlace(number, interrupt)
        try:
            try:
                sys.setprofile(at)
                trials.cancel()
            finally:
                sys.setprofile(None)
        except KeyboardInterrupt:
            trials.found["interrupted"] += 1
        trials.found["tries"] += 1
        if not trials.after(f"interrupted at {number} of {number_of_places}, {at.where}"):
            break


def by_signals(trials: Trials) -> None:
    """Let a real signal raise KeyboardInterrupt at a random moment of each cancel."""
    dice = random.Random(trials.settings["seed"])
    longest = trials.settings["longest_ms"] / 1000
    in_tasks = trials.settings["way"] == "async"
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for number in range(1, trials.settings["tries"] + 1):
        delay = dice.uniform(1e-6, longest)
        # A loop that was interrupted is thrown away, with what is in it.
        loop = asyncio.new_event_loop() if in_tasks else None
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            try:
                if loop is None:
                    trials.cancel()
                else:
                    call = cancel_order.asyncio(PAIR, ORDER_ID, client=trials.client)
                    loop.run_until_complete(call)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            trials.found["not interrupted"] += 1
        except KeyboardInterrupt:
            trials.found["interrupted"] += 1
        except BitoProError as error:
            trials.problems.append(f"try {number}: {type(error).__name__}: {error}")
        if loop is not None:
            loop.close()
        if not trials.after(f"try {number}, interrupted after {delay * 1000:.2f} ms"):
            break
        if trials.problems and len(trials.problems) < 60:
            time.sleep(0.05)  # so that others see what it does to them


def cancelling_at_every_place(trials: Trials) -> None:
    """Cancel in the middle of a cancel, at each place in turn where a signal handler could."""
    number_of_places = places(trials.cancel)
    for number in chosen(number_of_places, trials.settings["tries"]):
        at = AtPlace(number, trials.cancel)
        trials.found["tries"] += 1

        def both(at: AtPlace = at) -> None:
            sys.setprofile(at)
            try:
                trials.cancel()
            finally:
                sys.setprofile(None)

        what = f"a handler's cancel at {number} of {number_of_places}"
        try:
            watched(both, PATIENCE)
            trials.found["both accepted"] += 1
        except BitoProError as error:
            trials.problems.append(f"{what}, {at.where}: {type(error).__name__}: {error}")
        except StuckError as stuck:
            trials.problems.append(f"{what}, {at.where}: {stuck}")
            break


def handler_that_cancels(trials: Trials) -> None:
    """Let a real signal's handler cancel while the main thread and three others do."""
    dice = random.Random(trials.settings["seed"])
    client, over = trials.client, threading.Event()

    def handle(*_: object) -> None:
        with_problems("handler", trials, client)
        if not over.is_set():
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(1e-6, 0.003))

    def others() -> None:
        while not over.is_set():
            with_problems("thread", trials, client)

    threads = [threading.Thread(target=others, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    until = time.monotonic() + trials.settings["seconds"]
    while time.monotonic() < until:
        with_problems("main", trials, client)
    over.set()
    signal.setitimer(signal.ITIMER_REAL, 0)
    for thread in threads:
        thread.join(PATIENCE)
    trials.found["threads left"] = sum(thread.is_alive() for thread in threads)


def handler_in_the_queue(trials: Trials) -> None:
    """Let a signal's handler cancel while the main thread waits behind five others."""
    client, barrier = trials.client, threading.Barrier(6)

    def others() -> None:
        barrier.wait(10)
        with_problems("thread", trials, client)

    threads = [threading.Thread(target=others, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    handled = itertools.count(1)

    def handle(*_: object) -> None:
        with_problems("handler", trials, client)
        trials.found["handled"] = next(handled)

    signal.signal(signal.SIGALRM, handle)
    barrier.wait(10)
    time.sleep(0.05)  # in which the five queue up
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with_problems("main", trials, client)
    for thread in threads:
        thread.join(20)
    trials.longest = time.monotonic() - began
    trials.found["threads left"] = sum(thread.is_alive() for thread in threads)


def with_problems(who: str, trials: Trials, client: OrdersClient) -> None:
    try:
        cancel(client)
        trials.found[who] += 1
    except BitoProError as error:
        trials.problems.append(f"{who}: {type(error).__name__}: {error}")


MODES = {
    each.__name__: each
    for each in (
        at_every_place,
        by_signals,
        cancelling_at_every_place,
        handler_that_cancels,
        handler_in_the_queue,
    )
}


def main(settings: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(settings.get("patience", 50), exit=True)
    trials = Trials(settings)
    for _ in range(2):
        trials.cancel()
    MODES[settings["mode"]](trials)
    finish(trials.report())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
