"""Make the long description of the package's metadata from README.md."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https://)[^)]+\)")


class LongDescription(MetadataHookInterface):
    """Leaves the text of a link to a file of the checkout, and no link that leads nowhere."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Put the long description into the metadata."""
        text = Path(self.root, "README.md").read_text("utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": RELATIVE_LINK.sub(r"\1", text),
        }
