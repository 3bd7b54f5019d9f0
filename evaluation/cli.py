"""`coca-search eval`: retrieval, classify, caption, moments, collection."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from platformdirs import user_cache_path, user_data_path

if TYPE_CHECKING:
    from evaluation.features import FeatureSource, OnProgress
    from evaluation.reports.report import Report

_WIDTH_OF_A_PIPE = 200
_SECONDS_A_LINE = 30.0

Annotations = Annotated[Path, typer.Argument(help="The annotation file, as the authors of the data set publish it.")]
Media = Annotated[Path | None, typer.Option(help="The folder of the pictures or videos. Default: the folder of the annotations.")]
Model = Annotated[str, typer.Option(help="A checkpoint: a folder, a file of open_clip's weights, or a name on the Hugging Face hub.")]
Out = Annotated[Path | None, typer.Option(help="The folder for the report. Default: a new folder in your data directory.")]
Cache = Annotated[Path | None, typer.Option(help="The file that caches embeddings. Default: a file in your cache directory.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Leave out missing and broken files, and count them.")]
Dtype = Annotated[Literal["auto", "float32"], typer.Option(help="auto: the fastest. Last digits may vary. float32: slower, repeatable.")]
Split = Annotated[str, typer.Option(help="The part of the data set, as its annotations name it.")]

RetrievalProtocol = Literal["coco", "flickr30k", "flickr8k", "msrvtt", "msrvtt-1ka", "msvd", "own"]
CaptionProtocol = Literal["coco", "flickr30k", "flickr8k", "own"]
ClassProtocol = Literal[
    "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch", "objectnet",
    "kinetics-400", "kinetics-600", "kinetics-700", "moments-in-time", "own",
]  # fmt: skip

app = typer.Typer(no_args_is_help=True, help="Measure a model on published test sets, or your collection with your queries.")


@app.command()
def retrieval(
    protocol: Annotated[RetrievalProtocol, typer.Argument(help="The data set. own: a CSV of your queries with the columns query, path.")],
    annotations: Annotations,
    media: Media = None,
    split: Split = "test",
    videos: Annotated[Path | None, typer.Option(help="For msvd: test_list.txt, the names of the videos.")] = None,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Search pictures or videos by text, and texts by picture or video: R@1/5/10, median rank, MRR, mAP."""
    from evaluation.datasets.captions import read_captions
    from evaluation.tasks.retrieval import evaluate_retrieval

    if videos is not None and protocol != "msvd":
        raise typer.BadParameter(f"--videos is only for msvd, not for {protocol}.")
    dataset = read_captions(annotations, media, split=split, videos=videos, allow_missing=allow_missing)
    _run(partial(evaluate_retrieval, dataset, protocol=protocol), model, cache, out, dtype=dtype, allow_missing=allow_missing)


@app.command()
def classify(
    data: Annotated[Path, typer.Argument(help="A folder with a folder for each class, or the CSV of Kinetics or Moments in Time.")],
    protocol: Annotated[ClassProtocol, typer.Option(help="The published figures to compare with.")] = "own",
    media: Media = None,
    labels: Annotated[Path | None, typer.Option(help="The class names of the folders: a JSON, CSV or synset file.")] = None,
    to_imagenet: Annotated[Path | None, typer.Option(help="For ObjectNet: the file objectnet_to_imagenet_1k.json.")] = None,
    among: Annotated[Literal["folders", "map"], typer.Option(help="Possible answers: the folders on disk, or all --labels.")] = "folders",
    templates: Annotated[Path | None, typer.Option(help="A file of prompts, one per line, with {} for the class.")] = None,
    train: Annotated[Path | None, typer.Option(help="A training set of the same layout. Trains a probe on frozen features.")] = None,
    probe: Annotated[Literal["pooler", "linear"] | None, typer.Option(help="With --train: the kind of probe. Default: pooler.")] = None,
    split: Annotated[str, typer.Option(help="For Kinetics' CSV: the split to read. Default: all lines.")] = "",
    train_split: Annotated[str, typer.Option(help="For the CSV of --train: the split to read.")] = "",
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Classify pictures or videos, zero-shot or with a trained probe (--train): top-1 and top-5 accuracy."""
    from evaluation.datasets.labelled_media import LabelFiles, read_labelled
    from evaluation.tasks.classify import evaluate_zero_shot, read_templates
    from evaluation.tasks.probe import ProbeOptions, evaluate_probe

    if probe and not train:
        raise typer.BadParameter("--probe needs a training set. Pass one with --train.")
    if templates and train:
        raise typer.BadParameter("--templates is only for zero-shot classification. Leave out --templates or --train.")
    files = LabelFiles(labels, to_imagenet, among)
    test = read_labelled(data, media, files, split=split, allow_missing=allow_missing)
    if train:
        training = read_labelled(train, media, files, split=train_split, allow_missing=allow_missing)
        evaluate = partial(evaluate_probe, training, test, options=ProbeOptions(probe or "pooler", protocol))
    else:
        sentences = read_templates(templates) if templates else ()
        evaluate = partial(evaluate_zero_shot, test, templates=sentences, protocol=protocol)
    _run(evaluate, model, cache, out, dtype=dtype, allow_missing=allow_missing)


@app.command()
def caption(
    protocol: Annotated[CaptionProtocol, typer.Argument(help="The data set, for the published figures to compare with.")],
    annotations: Annotations,
    media: Media = None,
    split: Split = "test",
    method: Annotated[Literal["beam", "greedy", "contrastive"], typer.Option(help="How words are chosen.")] = "beam",
    beams: Annotated[int, typer.Option(min=1, max=64, help="For beam: the number of beams.")] = 4,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Caption pictures: BLEU-4, METEOR, ROUGE-L, CIDEr, SPICE, and how often a caption finds its picture."""
    from coca_model import CaptionOptions
    from evaluation.datasets.captions import read_captions
    from evaluation.tasks.captions import CaptionEvaluation, evaluate_captions

    settings = CaptionEvaluation(protocol, CaptionOptions(method, beams=beams))
    dataset = read_captions(annotations, media, split=split, allow_missing=allow_missing)
    _run(partial(evaluate_captions, dataset, settings=settings), model, cache, out, dtype=dtype, allow_missing=allow_missing)


@app.command()
def moments(
    annotations: Annotated[Path, typer.Argument(help="charades_sta_test.txt, DiDeMo's test_data.json, or a CSV: path,query,start,stop.")],
    media: Media = None,
    seconds_between: Annotated[float, typer.Option(min=0.05, help="Seconds between sampled frames.")] = 1.0,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Find where in a video a sentence happens: R@1 at temporal IoU 0.3, 0.5 and 0.7, and the mean IoU."""
    from evaluation.datasets.moments import read_moments
    from evaluation.tasks.moments import evaluate_moments

    dataset = read_moments(annotations, media, allow_missing=allow_missing)
    _run(partial(evaluate_moments, dataset, seconds_between=seconds_between), model, cache, out, dtype=dtype, allow_missing=allow_missing)


@app.command()
def collection(
    queries: Annotated[Path, typer.Argument(help="A CSV with the columns query, path: a line for each right answer. path may be empty.")],
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="The collection. Default: one in your data directory."),
    ] = None,
    shortlist: Annotated[int, typer.Option(min=1, max=200, help="How many hits the decoder reranks.")] = 20,
    out: Out = None,
) -> None:
    """Measure your collection with your queries: what is found, the gain of reranking, latency, calibration."""
    from evaluation.tasks.collection import evaluate_collection, read_own_queries_of
    from search import open_collection

    opened = open_collection(collection)
    asked = read_own_queries_of(opened, queries)
    with progress_bars() as on_progress:
        report = evaluate_collection(opened, asked, shortlist=shortlist, on_progress=on_progress)
    _finish(report, out)


def add_commands(root: typer.Typer) -> None:
    """Add `eval` to the console command."""
    root.add_typer(app, name="eval")


def _run(
    evaluate: "Callable[[FeatureSource], Report]", model: str, cache: Path | None, out: Path | None, *, dtype: str, allow_missing: bool
) -> None:
    """Load the model, evaluate, and finish. `dtype` is a torch dtype, or "auto" for the fastest one on this machine."""
    import torch

    from coca_model import load
    from evaluation.features import FeatureSource, ResultCache

    file = cache or user_cache_path("coca-search") / "evaluation.sqlite"
    with closing(ResultCache(file)) as results, progress_bars() as on_progress:
        encoder = load(model, dtype=None if dtype == "auto" else getattr(torch, dtype))
        report = evaluate(FeatureSource(encoder, results, allow_missing=allow_missing, on_progress=on_progress))
    _finish(report, out)


@contextmanager
def progress_bars() -> Iterator["OnProgress"]:
    """A bar for each stage on standard error, with speed and time left. Without a terminal, a line from time to time."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console, last = Console(stderr=True), time.monotonic()

    def print_line(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_A_LINE:
            last = time.monotonic()
            print(f"coca-search: {stage}: {done} of {total}", file=sys.stderr, flush=True)

    if not console.is_terminal:
        yield print_line
        return
    bars: dict[str, TaskID] = {}
    name, rate = TextColumn("{task.description:10}"), TextColumn("{task.fields[rate]}")
    with Progress(name, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), console=console) as progress:

        def on_progress(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, rate="", total=total)
            speed = progress.tasks[bars[stage]].speed
            progress.update(bars[stage], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

        yield on_progress


def _finish(report: "Report", out: Path | None) -> None:
    """Write the files into `out`, or a folder named after the report in the user's data directory. Then print the tables."""
    # The default is not in the current folder: the next run could read the report's pictures as the user's.
    name = f"{report.title} {report.metadata.get('model', '')}".split("@")[0]
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:100]
    folder = out or user_data_path("coca-search") / "eval" / name
    report.write(folder)  # before printing, because the reader of a pipe may close it early
    _print_tables(report)
    if report.missing:
        print(f"{len(report.missing)} records were left out. The report names them.")
    print(f"{folder}: report.html, report.md, report.json, report.png, records.csv")


def _print_tables(report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from evaluation.reports.parts import cells

    console = Console(width=None if Console().is_terminal else _WIDTH_OF_A_PIPE, highlight=False)
    console.print(f"[bold]{escape(report.title)}[/bold]: {escape(report.size)}\n")
    for table in report.tables:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate((table.title, *table.columns)):
            shown.add_column(escape(column), justify="right" if index else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*(escape(cell) for cell in (row.name, *cells(table, row))), style="dim" if row.source else "")
        console.print(shown)
        for note in dict.fromkeys(filter(None, (*(row.source for row in table.rows), table.note))):
            console.print(f"  {escape(note)}", style="dim")
        console.print()
