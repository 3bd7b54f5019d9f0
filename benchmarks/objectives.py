"""Measures the effect of each training objective on validation recall, with the same budget. Writes `docs/objectives.md`.

    python -m benchmarks.objectives DATA [--steps 60] [--batch 192] [--seeds 2] [NAME ...]

All sets of objectives start from the text phase of the shipped recipe. They train for the same number of steps, on the same batches in the
same order, with the same learning rate. Recall is measured with the averaged weights after the last step, on the split "val", not
after the best step. Finished runs stay in the work folder: the same command continues where it was stopped, and a higher --seeds
trains only the new seeds. The last line printed is one JSON document.
"""

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from training import Examples, Recipe, read_examples, read_recipe, train

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "objectives.md"
RECIPE = ROOT / "data" / "coca-embedded" / "recipe.toml"
COCA = {"contrastive": 1.0, "captioning": 2.0}
BESIDE = {  # CoCa and these losses
    "momentum contrast (COTS)": {"momentum_contrast": 1.0},
    "momentum contrast and KL alignment (COTS)": {"momentum_contrast": 1.0, "kl_alignment": 1.0},
    "masked words and patches (COTS)": {"masked_words": 0.5, "masked_patches": 0.5},
    "all of COTS": {"momentum_contrast": 1.0, "kl_alignment": 1.0, "masked_words": 0.5, "masked_patches": 0.5},
    "painted patches (SyCoCa)": {"painted_patches": 1.0},
    "sentence distillation, language": {"sentence_distillation": 1.0, "language": 0.3},
    "class distillation": {"class_distillation": 0.5},
    "self-retrieval": {"self_retrieval": 0.1},
    "false texts (NegCLIP)": {"hard_negatives": 0.5},
    "contrast to the sentence teacher": {"contrastive_to_teacher": 1.0},
    "arbitrary pairs (SimLAP)": {"arbitrary_pairs": 1.0},
    "swapped prototypes (SwAV)": {"swapped_prototypes": 1.0},
    "clustered prototypes (ProtoCLIP)": {"clustered_prototypes": 1.0},
    "group ordering (GroCo)": {"group_ordering": 1.0},
}
INSTEAD = {  # CoCa with this loss instead of the contrastive one
    "decoupled (DCL)": "decoupled_contrastive",
    "decoupled and weighted (DCLW)": "weighted_decoupled_contrastive",
    "continuously weighted (CWCL)": "continuously_weighted_contrastive",
    "soft targets": "soft_contrastive",
    "attraction and repulsion (CACR)": "attraction_repulsion",
    "group ordering (GroCo)": "group_ordering",
    "mixed pictures and texts (M3CoL)": "mixed_contrastive",
}
KEYS = [f"{way} R@{k}" for way in ("text to picture", "picture to text") for k in (1, 5, 10)]


def objective_sets(shipped: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The sets of objectives that are compared: name in the table -> weight of each loss."""
    sets = {"CoCa": dict(COCA), "contrastive alone": {"contrastive": 1.0}}
    sets |= {name: {loss: 1.0, "captioning": 2.0} for name, loss in INSTEAD.items()}
    sets |= {f"CoCa, {name}": COCA | more for name, more in BESIDE.items()}
    return sets | {"the recipe that ships": dict(shipped)}


def measure(data: Examples, sentences: Sequence[str], recipe: Recipe, output: Path, work: Path) -> dict[str, float]:
    """Recall after the last step, and the seconds of a step in the fastest interval of the log, because other load slows the others."""
    began = time.monotonic()
    train(data, sentences, recipe, output, work=work, snapshot_seconds=1e9)
    lines = [json.loads(line) for line in (output / "training" / "log.jsonl").read_text().splitlines()]
    recall = [line for line in lines if line["kind"] == "validation"][-1]
    steps = [line for line in lines if line["kind"] == "step"]
    seconds = min((b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairwise(steps))
    print(f"{output.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return {key: recall[key] for key in KEYS} | {"seconds a step": seconds}


def page(results: Mapping[str, Sequence[Mapping[str, float]]], recipe: Recipe) -> str:
    """The page with one table, best first by the sum of recalls. Figures are means over seeds; R@1 has its range if there are several."""
    phase, seeds = recipe.phases[0], max(map(len, results.values()))
    lines = [
        "# What the objectives do",
        "",
        f"Recall in percent on Flickr8k `val` (1,000 pictures, 5,000 captions), after {phase.steps} steps of {phase.batch} pictures.",
        f"All runs start from the same text phase. Each figure is the mean over seeds (here {seeds}). With several seeds, R@1 also has its",
        "range. The time of a step is relative to the fastest. Recall is uncertain by about 2.5 points, so most sets cannot be told apart.",
        "Written by `python -m benchmarks.objectives`.",
        "",
        "| Objectives | text to picture R@1 | R@5 | R@10 | picture to text R@1 | R@5 | R@10 | time of a step |",
        "|---|---|---|---|---|---|---|---|",
    ]
    fastest = min(run["seconds a step"] for runs in results.values() for run in runs)
    for name, runs in sorted(results.items(), key=lambda item: -sum(run[key] for run in item[1] for key in KEYS) / len(item[1])):
        cells = []
        for key in KEYS:
            values = [run[key] for run in runs]
            spread = f" ({min(values):.1f}-{max(values):.1f})" if key.endswith("R@1") and len(values) > 1 else ""
            cells.append(f"{sum(values) / len(values):.1f}{spread}")
        seconds = sum(run["seconds a step"] for run in runs) / len(runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {seconds / fastest:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the given sets, or all of them. Write the page if all ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only these sets, and write no page")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "objectives")
    options = parser.parse_args(arguments)
    shipped = read_recipe(RECIPE)
    text, joint = shipped.phases
    sets = objective_sets(joint.objectives)
    if unknown := sorted(set(options.names) - set(sets)):
        parser.error(f"Unknown set ({unknown[0]}). Known: {', '.join(sets)}.")
    data, start = read_examples([options.data]), options.work / "text"
    sentences = (options.data / shipped.sentences).read_text(encoding="utf-8").splitlines()
    train(data, sentences, dataclasses.replace(shipped, phases=(text,)), start, work=options.work)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options.names or sets}
    recipe = shipped
    for seed in range(options.seeds):
        for name, runs in results.items():
            phase = dataclasses.replace(joint, steps=options.steps, batch=options.batch, decoded=0, objectives=sets[name])
            recipe = dataclasses.replace(shipped, start=str(start), seed=seed, phases=(phase,), validate_every=options.steps)
            output = options.work / f"{re.sub(r'[^a-zA-Z]+', '-', name).strip('-')}-{seed}"
            runs.append(measure(data, sentences, recipe, output, options.work))
    if not options.names:
        PAGE.write_text(page(results, recipe), encoding="utf-8")
    print(json.dumps({"steps": options.steps, "batch": options.batch, "results": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
