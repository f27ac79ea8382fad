"""The site: python -m sphinx -W docs build/site"""

import re

from queuectl import __version__

project = "queuectl"
version = release = __version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"queuectl {version}"
html_copy_source = False
myst_heading_anchors = 3
myst_enable_extensions = ["fieldlist"]
nitpicky = True


def leave_the_site(_app: object, _name: str, source: list[str]) -> None:
    """Links to tests and examples lead out of the site: there they are names of files."""
    source[0] = re.sub(
        r"\[([^\]]*)\]\(\.\./([^)#]+)\)", lambda link: f"{link[1]} (`{link[2]}`)", source[0]
    )


def setup(app: object) -> None:
    """What sphinx calls."""
    app.connect("source-read", leave_the_site)  # type: ignore[attr-defined]
