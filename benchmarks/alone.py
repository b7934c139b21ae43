"""What needs a process of its own: a cold start, and ten thousand cancels in a row.

python -m benchmarks.alone first sync "bitopro-orders" BASE_URL BUNDLE
python -m benchmarks.alone many async "bitopro-orders" BASE_URL BUNDLE COUNT
"""

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
    """Print `done rss_kib descriptors` ten times in a long run, and nothing in a short one."""
    if count < 10 or done % (count // 10):
        return

    import gc
    import resource
    from pathlib import Path

    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir())) - 1
    print(done, pages * resource.getpagesize() // 1024, descriptors, flush=True)


if __name__ == "__main__":
    main()
