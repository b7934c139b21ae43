"""Say changes in few lines of Markdown: what is the same for many names is said once."""

import re
from collections.abc import Iterable, Iterator

from spec_changes import Change, Kind

#: What an importer never names, see `surface.py`.
REACHED = ".*."
NOTE = "`*`: the type cannot be imported by name, but what can be imported takes or returns it."


def report(changes: list[Change], since: str, least: str, version: str) -> str:
    """Return the changes as Markdown, the breaking first.

    Args:
        changes: All of them.
        since: What they are compared with.
        least: The smallest version that may have them.
        version: The version that has them.
    """
    lines = [f"# Changes since {since}", ""]
    if changes:
        lines += [f"The smallest version allowed is {least}; this is {version}."]
    for kind in reversed(Kind):
        some = [each for each in changes if each.kind is kind]
        said = list(wordings(some) if kind is Kind.WORDING else grouped(some))
        lines += ["", f"## {kind.name.capitalize()}: {len(some)}", "", *said] if some else []
    text = "\n".join(lines).replace(".__init__(", "(")
    return f"{text}\n\n{NOTE}" if REACHED in text else text


def parts(what: str) -> tuple[str, str]:
    """Return of what a change is, and what it is."""
    subject, _, verdict = what.partition(": ")
    return subject, verdict


def parted(subject: str) -> tuple[str, str]:
    """Return to what a name belongs, with the sign between, and its last part."""
    cut = max(subject.rfind(sign) for sign in ".( ") + 1
    return subject[:cut], subject[cut:]


def grouped(changes: list[Change]) -> Iterator[str]:
    """Yield a line for all members of one owner that changed alike, and for owners alike, too."""
    by_owner: dict[tuple[str, str], list[Change]] = {}
    for each in changes:
        subject, verdict = parts(each.what)
        by_owner.setdefault((verdict, parted(subject)[0]), []).append(each)
    alike: dict[tuple[str, tuple[str, ...]], list[Change]] = {}
    for (verdict, _), some in by_owner.items():
        leaves = tuple(parted(parts(each.what)[0])[1] for each in some)
        alike.setdefault((verdict, leaves), []).extend(some)
    for (verdict, _), some in alike.items():
        names = [name for each in some for name in each.names if name not in each.what]
        more = f" ({joined(names)})" if names else ""
        yield f"- {joined(parts(each.what)[0] for each in some)}: {verdict}{more}"


def wordings(changes: list[Change]) -> Iterator[str]:
    """Yield a line that names all that was reworded, and one for each other change."""
    reworded = []
    for each in changes:
        subject, verdict = parts(each.what)
        if each.what.endswith(" reworded"):
            reworded.append(each.what.removesuffix(" reworded"))
        elif verdict.startswith("was "):
            reworded.append(joined([subject]))
        else:
            yield f"- {joined([subject])}: {verdict}"
    if reworded:
        yield f"- reworded: {'; '.join(reworded)}"


def joined(names: Iterable[str]) -> str:
    """Return a list of names in which none is repeated that others share: `a.{b, c}`."""
    leaves: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        owner, leaf = parted(name)
        leaves.setdefault(owner, []).append(leaf)
    owners: dict[tuple[str, ...], list[str]] = {}
    for owner, some in leaves.items():
        owners.setdefault(tuple(some), []).append(owner)
    return ", ".join(quoted(together(each, some)) for some, each in owners.items())


def together(owners: list[str], leaves: tuple[str, ...]) -> str:
    """Return the names of all these owners' members in one."""
    sign = owners[0][-1:]
    if len(leaves) == 1:
        members = leaves[0]
    elif sign == ".":
        members = f"{{{', '.join(leaves)}}}"
    else:
        members = ", ".join(each.rstrip(")") for each in leaves) + ")" * (sign == "(")
    if len(owners) == 1:
        return owners[0] + members
    split = [re.split(r"(?<=[. ])", owner.rstrip(" .(")) for owner in owners]
    shared = 0
    while len({tuple(words[: shared + 1]) for words in split}) == 1:
        shared += 1
    rest = ["".join(words[shared:]) or "…" for words in split]
    return f"{''.join(split[0][:shared])}{{{', '.join(rest)}}}{sign}{members}"


def quoted(text: str) -> str:
    """Return a name that is typed as code."""
    return f"`{text}`" if text.lstrip("{").startswith("bitopro") else text
