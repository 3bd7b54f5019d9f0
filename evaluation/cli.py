"""`coca-search eval`: retrieval, classify, caption, moments, collection."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Annotations = Annotated[Path, typer.Argument(help="The file of annotations, as the data set's authors publish it.")]
Media = Annotated[Path | None, typer.Option(help="The folder of the pictures or videos; by default that of the annotations.")]
Model = Annotated[str, typer.Option(help="A checkpoint: a folder, a file of open_clip's weights, or a name of the hub.")]
Out = Annotated[Path | None, typer.Option(help="Where the report goes; by default a folder of its own in your data directory.")]
Cache = Annotated[Path | None, typer.Option(help="The file that keeps embeddings; by default in your cache directory.")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Leave out missing and broken files, and count them.")]
Dtype = Annotated[Literal["auto", "float32"], typer.Option(help="float32: slower, and the same to the last digit whatever is kept.")]
Split = Annotated[str, typer.Option(help="The part of the data set, as its annotations name it.")]

RetrievalProtocol = Literal["coco", "flickr30k", "flickr8k", "msrvtt", "msrvtt-1ka", "msvd", "own"]
CaptionProtocol = Literal["coco", "flickr30k", "flickr8k", "own"]
ClassProtocol = Literal[
    "imagenet", "imagenet-v2", "imagenet-a", "imagenet-r", "imagenet-sketch", "objectnet",
    "kinetics-400", "kinetics-600", "kinetics-700", "moments-in-time", "own",
]  # fmt: skip
OfVideos = ("msrvtt", "msrvtt-1ka", "msvd")

app = typer.Typer(no_args_is_help=True, help="Measure a model on published test sets, or your collection by your own queries.")


@app.command()
def retrieval(
    protocol: Annotated[RetrievalProtocol, typer.Argument(help="The data set; own: a CSV of your queries with the columns query, path.")],
    annotations: Annotations,
    media: Media = None,
    split: Split = "test",
    videos: Annotated[Path | None, typer.Option(help="msvd: test_list.txt, the names of the videos.")] = None,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Texts find pictures or videos, and the other way round: R@1/5/10, median rank, MRR, mAP."""
    from evaluation.console import feature_source, finish
    from evaluation.datasets.picture_captions import read_captions
    from evaluation.datasets.video_captions import read_video_captions
    from evaluation.tasks.retrieval import evaluate_retrieval

    if videos is not None and protocol != "msvd":
        raise typer.BadParameter(f"--videos is of msvd, not of {protocol}.")
    if protocol in OfVideos:
        dataset = read_video_captions(annotations, media, split=split, videos=videos, allow_missing=allow_missing)
    else:
        dataset = read_captions(annotations, media, split=split, allow_missing=allow_missing)
    with feature_source(model, cache, dtype=dtype, allow_missing=allow_missing) as source:
        report = evaluate_retrieval(dataset, source, protocol=protocol)
    finish(report, out)


@app.command()
def classify(
    data: Annotated[Path, typer.Argument(help="A folder with a folder for each class; or the CSV of Kinetics or Moments in Time.")],
    protocol: Annotated[ClassProtocol, typer.Option(help="Whose published figures stand beside ours.")] = "own",
    media: Media = None,
    labels: Annotated[Path | None, typer.Option(help="What the folders are called: a JSON, CSV or synset file.")] = None,
    to_imagenet: Annotated[Path | None, typer.Option(help="ObjectNet's objectnet_to_imagenet_1k.json.")] = None,
    among: Annotated[
        Literal["folders", "map"], typer.Option(help="Answers among the folders that are there, or all of --labels.")
    ] = "folders",
    templates: Annotated[Path | None, typer.Option(help="Your own prompts, one a line with {} for the class.")] = None,
    train: Annotated[Path | None, typer.Option(help="A training set of the same layout: a probe on frozen features instead.")] = None,
    probe: Annotated[Literal["pooler", "linear"] | None, typer.Option(help="With --train: which probe; by default pooler.")] = None,
    split: Annotated[str, typer.Option(help="Kinetics' CSV: which lines; by default all.")] = "",
    train_split: Annotated[str, typer.Option(help="The same of the CSV of --train.")] = "",
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Zero-shot by prompts, or with --train a probe on frozen features: top-1 and top-5 accuracy."""
    from evaluation.console import feature_source, finish
    from evaluation.datasets.labelled_sets import LabelFiles, read_labelled
    from evaluation.tasks.probe import ProbeOptions, evaluate_probe
    from evaluation.tasks.prompts import read_templates
    from evaluation.tasks.zero_shot import ZeroShotOptions, evaluate_zero_shot

    if probe and not train:
        raise typer.BadParameter("--probe needs a training set. Pass one with --train.")
    if templates and train:
        raise typer.BadParameter("--templates are of zero-shot classification. Leave them out, or --train.")
    files = LabelFiles(labels, to_imagenet, among)
    test = read_labelled(data, media, files, split=split, allow_missing=allow_missing)
    training = read_labelled(train, media, files, split=train_split, allow_missing=allow_missing) if train else None
    sentences = read_templates(templates) if templates else ()
    with feature_source(model, cache, dtype=dtype, allow_missing=allow_missing) as source:
        if training is None:
            report = evaluate_zero_shot(test, source, ZeroShotOptions(sentences, protocol))
        else:
            report = evaluate_probe(training, test, source, ProbeOptions(probe or "pooler", protocol))
    finish(report, out)


@app.command()
def caption(
    protocol: Annotated[CaptionProtocol, typer.Argument(help="The data set, for the published figures beside ours.")],
    annotations: Annotations,
    media: Media = None,
    split: Split = "test",
    method: Annotated[Literal["beam", "greedy", "contrastive"], typer.Option(help="How words are chosen.")] = "beam",
    beams: Annotated[int, typer.Option(min=1, max=64, help="Sentences that beam search follows at once.")] = 4,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """What the model says of pictures: BLEU-4, METEOR, ROUGE-L, CIDEr, SPICE, and whether a caption finds its own picture."""
    from coca_model import CaptionOptions
    from evaluation.console import feature_source, finish
    from evaluation.datasets.picture_captions import read_captions
    from evaluation.tasks.captions import CaptionEvaluation, evaluate_captions

    try:
        options = CaptionOptions(method, beams=beams)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    dataset = read_captions(annotations, media, split=split, allow_missing=allow_missing)
    with feature_source(model, cache, dtype=dtype, allow_missing=allow_missing) as source:
        report = evaluate_captions(dataset, source, CaptionEvaluation(protocol, options))
    finish(report, out)


@app.command()
def moments(
    annotations: Annotated[Path, typer.Argument(help="charades_sta_test.txt, DiDeMo's test_data.json, or a CSV: path,query,start,stop.")],
    media: Media = None,
    seconds_between: Annotated[float, typer.Option(min=0.05, help="How far the frames are apart that are looked at.")] = 1.0,
    model: Model = "default",
    out: Out = None,
    cache: Cache = None,
    dtype: Dtype = "auto",
    allow_missing: AllowMissing = False,
) -> None:
    """Where in a video a sentence happens: R@1 at temporal IoU 0.3, 0.5 and 0.7, and the mean IoU."""
    from evaluation.console import feature_source, finish
    from evaluation.datasets.moments import read_moments
    from evaluation.tasks.moments import evaluate_moments

    dataset = read_moments(annotations, media, allow_missing=allow_missing)
    with feature_source(model, cache, dtype=dtype, allow_missing=allow_missing) as source:
        report = evaluate_moments(dataset, source, seconds_between=seconds_between)
    finish(report, out)


@app.command()
def collection(
    queries: Annotated[Path, typer.Argument(help="A CSV with the columns query, path: a line for each right answer; path may be empty.")],
    collection: Annotated[
        Path | None,
        typer.Option("--collection", "-c", envvar="COCA_SEARCH_COLLECTION", help="Its directory; by default in your data directory."),
    ] = None,
    shortlist: Annotated[int, typer.Option(min=1, max=200, help="How many hits the decoder looks at again.")] = 20,
    out: Out = None,
) -> None:
    """Your collection by your own queries: what is found, what reranking gains, how long it takes, how sure a hit is."""
    from evaluation.console import finish, progress_bars
    from evaluation.tasks.collection import evaluate_collection, read_own_queries_of
    from search import open_collection

    opened = open_collection(collection)
    asked = read_own_queries_of(opened, queries)
    with progress_bars() as on_progress:
        report = evaluate_collection(opened, asked, shortlist=shortlist, on_progress=on_progress)
    finish(report, out)


def add_commands(root: typer.Typer) -> None:
    """Add `eval` to the console command."""
    root.add_typer(app, name="eval")
