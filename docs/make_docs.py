"""Writes the parts of docs/ that follow from the code: the tree of docs/architecture.md, the tables of collection.md, formats.md and
metadata.md.

    python docs/make_docs.py     (or: make docs)

The comment of a Python file in the tree is the first sentence of its docstring. A test checks that the pages are up to date.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FOLDERS = ("media", "coca_model", "search", "indexer", "evaluation", "training", "ui", "coca_search", "benchmarks", "data", "docs")
OTHER_FILES = {
    "benchmarks/open_clip.txt": "The versions that the comparison with open_clip needs",
    "data/clip-tokenizer": "CLIP's merges, for open_clip's checkpoints",
    "data/coca-embedded": "The checkpoint that ships: weights, config, tokenizer, recipe, model card",
    "docs/LOG.md": "Decisions, measurements, failed experiments",
    "docs/architecture.md": "This page",
    "docs/benchmarks.md": "The results of `make bench`",
    "docs/buckets.md": "Files in buckets and on web servers, and collections in buckets",
    "docs/collection.md": "The format on disk, and the columns",
    "docs/evaluation.md": "`coca-search eval`: commands, files, measures",
    "docs/exchange.md": "`coca-search export`, `import` and `merge`: file layouts, and what happens to each row",
    "docs/flickr8k-val": "The reports of the shipped model on Flickr8k val",
    "docs/formats.md": "Which formats are read, what is left out, and what happens to damaged, huge and animated pictures",
    "docs/metadata.md": "What a file says of itself: which tag fills which column",
    "docs/filters.md": "Filters: what is allowed, what it means, examples",
    "docs/search.md": "How a search works: the index, its recall and speed",
    "docs/films.md": "How films are read, and how moments in them are found",
    "docs/indexing.md": "What is indexed and what is left out; exit codes; files and folders that change, move or are absent",
    "docs/objectives.md": "The effect of each training objective on recall, on the same budget",
    "docs/training.md": "`coca-search train`: files, recipes, objectives, several GPUs",
    "training/teachers/imagenet_classes.txt": "The names of ImageNet classes",
    "evaluation/reports/page.html": "The template of a report",
    "ui/page.css": "How the page looks",
    "ui/page.js": "Plays a video in place",
}
_TABLE = re.compile(r"(<!-- (?P<name>[\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tree() -> str:
    """The files of the packages by folder, with one comment each."""
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    comments = {name: OTHER_FILES.get(name) or _first_sentence(ROOT / name) for name in _shown(listed)}
    width = max(len(Path(name).name) for name in comments) + 6
    lines, folder = [], Path()
    for path in sorted(map(Path, comments), key=lambda path: (FOLDERS.index(path.parts[0]), str(path.parent), path.name)):
        if path.parent != folder:
            folder = path.parent
            lines.append(f"{folder}/".ljust(width) + _first_sentence(ROOT / folder / "__init__.py"))
        lines.append(f"    {path.name}".ljust(width) + comments[str(path)])
    return "```\n" + "\n".join(line.rstrip() for line in lines) + "\n```\n"


def pages() -> dict[Path, str]:
    """The text that each page should have."""
    from search.schema import FailureColumns, Row, columns_as_markdown

    tables = {
        "tree": tree(),
        "columns of segments": columns_as_markdown(Row),
        "columns of failures": columns_as_markdown(FailureColumns),
        "tags of columns": tags_of_columns(),
    }
    tables |= formats()
    files = [ROOT / "docs" / name for name in ("architecture.md", "collection.md", "formats.md", "metadata.md")]
    return {file: _TABLE.sub(lambda match: match[1] + tables[match["name"]] + match[3], file.read_text()) for file in files}


def formats() -> dict[str, str]:
    """The tables of picture and video formats, and the list of suffixes that are named but not read."""
    from media.formats import FORMATS, KNOWN_UNREADABLE

    def listed(suffixes: Iterable[str]) -> str:
        return " ".join(f"`{suffix}`" for suffix in suffixes)

    tables = {}
    for kind, title in (("image", "formats of pictures"), ("video", "formats of videos")):
        known = [each for each in FORMATS if each.kind == kind]
        rows = [f"| {each.name} | {listed(each.suffixes)} | {'yes' if each.browsers_show else 'no'} |" for each in known]
        tables[title] = "\n".join(["| Format | Suffixes | Shown by browsers |", "|---|---|---|", *rows]) + "\n"
    return tables | {"unreadable": listed(sorted(KNOWN_UNREADABLE)) + "\n"}


def tags_of_columns() -> str:
    """The tags that fill each column of metadata, in the order of trust."""
    from media.metadata.columns import COLUMNS, POSITIONS
    from media.metadata.taken import DATES

    dates = [f"`{date.tag}`" + (f" and `{date.time}`" if date.time else "") for date in DATES]
    positions = [" and ".join(f"`{tag}`" for tag in (name[:2] if isinstance(name, tuple) else (name,))) for name in POSITIONS]
    dates += ["the file name", "the file time"]
    rows = {"`taken_at`, `taken_local`, `utc_offset_minutes`": dates, "`latitude`, `longitude`": positions}
    rows |= {f"`{column}`": [f"`{tag}`" for tag in tags] for column, (_, tags) in COLUMNS.items()}
    lines = ["| Column | Read from, in this order |", "|---|---|", *(f"| {column} | {', '.join(tags)} |" for column, tags in rows.items())]
    return "\n".join(lines) + "\n"


def _shown(listed: list[str]) -> set[str]:
    """The files to show. A folder with a comment is shown instead of its files."""
    shown = set()
    for name in listed:
        folder = next((other for other in OTHER_FILES if name.startswith(other + "/")), None)
        if folder:
            shown.add(folder)
        elif name.endswith((".py", ".md", ".css", ".js", ".html", ".txt")) and not name.endswith("__init__.py") and (ROOT / name).exists():
            shown.add(name)
    return shown


def _first_sentence(file: Path) -> str:
    if file.suffix != ".py" or not file.exists():
        return ""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return re.split(r"(?<!al)(?<=[^.])\.(?:\s|$)", " ".join(docstring.split("\n\n")[0].split()), maxsplit=1)[0].rstrip(".:")


if __name__ == "__main__":
    for file, text in pages().items():
        file.write_text(text)
