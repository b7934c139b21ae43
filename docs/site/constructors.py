"""Shows the constructors of classes made by attrs: `openapi/surface` has them, griffe has not."""

import re
from pathlib import Path

import griffe

SURFACE = Path(__file__).resolve().parents[2] / "openapi" / "surface"


class Constructors(griffe.Extension):
    """An extension of griffe, named in mkdocs.yml."""

    def __init__(self) -> None:
        super().__init__()
        self._classes = {
            (surface.stem, name): member
            for surface in SURFACE.glob("bitopro_*.txt")  # the packages
            for section in re.split(
                r"^# module .*$", surface.read_text("utf-8"), flags=re.MULTILINE
            )
            for name, member in griffe.visit("surface", surface, section).members.items()
            if isinstance(member, griffe.Class) and "__init__" in member.members
        }

    def on_class(self, *, cls: griffe.Class, **_: object) -> None:
        """Add the constructor to a class that has none in its source."""
        shown = self._classes.get((cls.package.name, cls.name))
        if shown is not None and "__init__" not in cls.members:
            cls.set_member("__init__", shown.members["__init__"])
