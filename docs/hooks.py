"""Hooks of MkDocs: links to files outside of docs, and pages of the tutorials' notebooks."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

DOWNLOAD = "[Download this page as a notebook]({}) ({} of the repository).\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and the images among its outputs."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        stem = Path(file.src_uri).stem
        prefix = f"{stem}_files"
        exporter = MarkdownExporter()
        text, resources = exporter.from_filename(
            str(file.abs_src_path), resources={"unique_key": stem, "output_files_dir": prefix}
        )
        link = DOWNLOAD.format(f"{stem}.ipynb", f"docs/{file.src_uri}")
        heading, _, rest = text.lstrip().partition("\n")
        folder = posixpath.dirname(file.src_uri)
        page = f"{heading}\n\n{link}{rest}"
        files.append(File.generated(config, f"{folder}/{stem}.md", content=page))
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, f"{folder}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Return the page with other links.

    Links to files outside of docs, such as ``../README.md``, become their text, and links to
    ``tutorials/NAME.ipynb`` lead to the pages of the notebooks.
    """
    folder = posixpath.dirname(page.file.src_uri)

    def inside(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, match[2]))
        return match[0] if target.startswith("docs/") else match[1]

    markdown = re.sub(r"\]\((tutorials/\w+)\.ipynb([)#])", r"](\1.md\2", markdown)
    return re.sub(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)", inside, markdown)
