"""What needs a process of its own: a cold start, and ten thousand cancels in a row.

python -m benchmarks.alone first sync "bitopro-orders" BASE_URL BUNDLE
python -m benchmarks.alone many async "bitopro-orders" BASE_URL BUNDLE COUNT
"""

import os
import sys

from .clients import ASYNC, SYNC, trust

AT_ONCE = 50


def main() -> None:
    """Do what the command line says."""
    what, kind, name, base_url, bundle, *rest = sys.argv[1:]
    trust(bundle)
    count = int(rest[0]) if what == "many" else 1
    if kind == "sync":
        cancel_sync(name, base_url, count)
        return

    import asyncio

    asyncio.run(cancel_async(name, base_url, count))


def cancel_sync(name: str, base_url: str, count: int) -> None:
    """Cancel one order after the other; print the memory and descriptors in between."""
    with SYNC[name](base_url) as cancel:
        for number in range(1, count + 1):
            check(cancel(str(number)), str(number))
            show(number, count)


async def cancel_async(name: str, base_url: str, count: int) -> None:
    """Cancel fifty orders at a time; print the memory and descriptors in between."""
    import asyncio

    async with ASYNC[name](base_url) as cancel:
        for start in range(1, count + 1, AT_ONCE):
            ids = [str(number) for number in range(start, min(start + AT_ONCE, count + 1))]
            for answered, asked in zip(await asyncio.gather(*map(cancel, ids)), ids, strict=True):
                check(answered, asked)
            show(start + len(ids) - 1, count)


def check(answered: str, asked: str) -> None:
    """Stop if the answer names another order than the one that was cancelled."""
    if answered != asked:
        raise ValueError(f"{asked} was cancelled and {answered} came back")


def show(done: int, count: int) -> None:
    """Print `done rss_kib descriptors` ten times in a long run, and once after a single one."""
    if done % max(1, count // 10):
        return
    if count > 1:
        import gc

        gc.collect()
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no import that a first cancel lacks
        pages = int(file.read().split()[1])
    descriptors = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208
    print(done, pages * os.sysconf("SC_PAGE_SIZE") // 1024, descriptors, flush=True)


if __name__ == "__main__":
    main()
