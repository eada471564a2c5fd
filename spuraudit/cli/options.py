"""Options that several commands take, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA, MODEL, METHOD, PATCH, COMPUTE = "Data", "Model", "Method", "Patch swap", "Compute"
OUTPUT = "Output and verdict"

MODEL_HELP = (
    "A .pt/.pth/.ckpt/.safetensors file, timm:NAME, hf-hub:ORG/NAME, local-dir:FOLDER, open_clip:ARCH,TAG (zero-shot), "
    "zoo:ENTRY, or MODULE:FUNCTION with --trust-code."
)

Model = Annotated[str | None, typer.Argument(metavar="MODEL", help=f"{MODEL_HELP} Default: the config's.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="A folder with dataset.yaml, or a name such as salient1m.",
        rich_help_panel=DATA,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where the photos and masks lie.", rich_help_panel=DATA),
]
Split = Annotated[
    str | None,
    typer.Option("--split", help="Split to audit. Default: the dataset's, else test, else val.", rich_help_panel=DATA),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="At most so many images, evenly over classes.", rich_help_panel=DATA),
]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        help="Architecture, where the weights fit several: timm's, or torchvision:NAME.",
        rich_help_panel=MODEL,
    ),
]
ModelKwargs = Annotated[
    list[str] | None,
    typer.Option(
        "--model-kwargs",
        metavar="KEY=VALUE",
        help="For the constructor, such as pad_type=same. Repeatable.",
        rich_help_panel=MODEL,
    ),
]
Mean = Annotated[str | None, typer.Option("--mean", metavar="R,G,B", help="Normalisation mean.", rich_help_panel=MODEL)]
Std = Annotated[str | None, typer.Option("--std", metavar="R,G,B", help="Normalisation std.", rich_help_panel=MODEL)]
Interpolation = Annotated[
    str | None,
    typer.Option("--interpolation", help="bilinear, bicubic, nearest or lanczos.", rich_help_panel=MODEL),
]
CropPct = Annotated[float | None, typer.Option("--crop-pct", help="Input size / resized size.", rich_help_panel=MODEL)]
CropMode = Annotated[
    str | None,
    typer.Option(
        "--crop-mode",
        metavar="MODE",
        help="What the resize keeps: center (the middle), squash (all of it, squashed) or border (all of it, in a "
        "border).",
        rich_help_panel=MODEL,
    ),
]
ImgSize = Annotated[int | None, typer.Option("--img-size", min=1, help="Input size, pixels.", rich_help_panel=MODEL)]
Answers = Annotated[
    str | None,
    typer.Option(
        "--answers",
        metavar="all|mapped",
        help="all: any output of the model may win; mapped: only those of the dataset's classes.",
        rich_help_panel=MODEL,
    ),
]
AllowDownload = Annotated[
    bool,
    typer.Option("--allow-download", help="Fetch weights that are not here.", rich_help_panel=MODEL),
]
AllowChance = Annotated[
    bool,
    typer.Option("--allow-chance", help="Go on where clean accuracy is near chance.", rich_help_panel=DATA),
]
Audits = Annotated[
    str | None,
    typer.Option(
        "--audits",
        metavar="NAMES",
        help="Separated by commas: noise, feature_drop, region_swap, patch_swap. Default: the first three; without "
        "masks patch_swap.",
        rich_help_panel=METHOD,
    ),
]
Sigma = Annotated[
    list[float] | None,
    typer.Option(
        "--sigma",
        help="Noise, in [0, 1] pixels. Repeatable; the smallest serves feature_drop. Default: 0.25.",
        rich_help_panel=METHOD,
    ),
]
Trials = Annotated[
    int | None, typer.Option("--trials", min=1, help="Noise draws per image. Default: 5.", rich_help_panel=METHOD)
]
SpuriousRegion = Annotated[
    str | None,
    typer.Option(
        "--spurious-region",
        metavar="REGION",
        help="complement (all but the dilated core) or annotated (the spurious masks). Default: complement.",
        rich_help_panel=METHOD,
    ),
]
Clamp = Annotated[
    bool | None,
    typer.Option(
        "--clamp/--no-clamp",
        help="Noise audit: clamp noised pixels to [0, 1]. Default: yes.",
        rich_help_panel=METHOD,
    ),
]
SwapTrials = Annotated[
    int | None,
    typer.Option("--swap-trials", min=1, help="Donors of each kind per image. Default: 3.", rich_help_panel=METHOD),
]
Patch = Annotated[
    int | None,
    typer.Option(
        "--patch", min=1, help="Side of a patch, pixels. Default: a seventh of the input.", rich_help_panel=PATCH
    ),
]
Sources = Annotated[
    int | None,
    typer.Option("--sources", min=1, help="Source images per class. Default: 4.", rich_help_panel=PATCH),
]
Targets = Annotated[
    int | None,
    typer.Option(
        "--targets",
        min=1,
        help="Target images that lend cells, per target class. Default: 50.",
        rich_help_panel=PATCH,
    ),
]
Passes = Annotated[
    int | None, typer.Option("--passes", min=2, help="MC-dropout passes. Default: 100.", rich_help_panel=PATCH)
]
DropoutRate = Annotated[
    float | None,
    typer.Option("--dropout-rate", help="Rate where dropout must be injected. Default: 0.5.", rich_help_panel=PATCH),
]
SourceClass = Annotated[
    list[str] | None,
    typer.Option("--source-class", help="Sweep this class only. Repeatable.", rich_help_panel=PATCH),
]
Pair = Annotated[
    list[str] | None,
    typer.Option(
        "--pair",
        metavar="CLASS:CLASS",
        help="Images of the first class get cells of the second. Repeatable. Default: chosen.",
        rich_help_panel=PATCH,
    ),
]
TargetClasses = Annotated[
    int | None,
    typer.Option(
        "--target-classes",
        min=1,
        help="Classes that lend cells, per class: the most confused, then random ones. Default: 2.",
        rich_help_panel=PATCH,
    ),
]
LimitSources = Annotated[
    int | None,
    typer.Option(
        "--limit-sources",
        min=1,
        help="At most so many source images in all, evenly over classes.",
        rich_help_panel=PATCH,
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="full|adaptive",
        help="full: every cell under every target; adaptive: find the lowest cell with a quarter of the swaps.",
        rich_help_panel=PATCH,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="About so long (90s, 10m, 2h): adaptive search and fewer source images where needed.",
        rich_help_panel=PATCH,
    ),
]
DropPath = Annotated[
    bool | None,
    typer.Option(
        "--drop-path/--no-drop-path",
        help="Let stochastic depth drop too. Default: no.",
        rich_help_panel=PATCH,
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of every draw. Default: 0.", rich_help_panel=METHOD)]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", rich_help_panel=COMPUTE)]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="fp32|bf16|fp16",
        help="bf16 and fp16 are faster and less exact; how far answers agree with fp32 is checked and recorded.",
        rich_help_panel=COMPUTE,
    ),
]
BatchSize = Annotated[
    str,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="N|auto",
        help="Images per forward pass; halved where memory runs out. auto: measured before the scan.",
        rich_help_panel=COMPUTE,
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", "-j", min=1, help="Decoding threads.", rich_help_panel=COMPUTE)
]
Output = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", "-o", help="A run folder, or a file: .html .json .csv .md. Repeatable.", rich_help_panel=OUTPUT
    ),
]
Rule = Annotated[
    list[str] | None,
    typer.Option("--rule", help="A gate, such as 'rcs >= 0.2'. Repeatable.", rich_help_panel=OUTPUT),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Default: .spuraudit.yaml here or above.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; results only.", rich_help_panel=OUTPUT)]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="softmax|sigmoid",
        help="sigmoid: every output is a label of its own (multi-label). Default: softmax.",
        rich_help_panel=MODEL,
    ),
]
ClassMap = Annotated[
    Path | None,
    typer.Option(
        "--class-map",
        metavar="FILE",
        help="Which outputs are which class: YAML or CSV (class: output), or the model's class names, one per line.",
        rich_help_panel=MODEL,
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        "--classnames",
        metavar="imagenet|FILE",
        help="Zero-shot CLIP: class names, one per line. Default: ImageNet's, or those of a scanned dataset whose "
        "classes name no outputs.",
        rich_help_panel=MODEL,
    ),
]
Templates = Annotated[
    str | None,
    typer.Option(
        "--templates",
        metavar="NAME|FILE",
        help="Zero-shot CLIP: prompts with {} for the class name: openai (80), simple (7), eight (8) or a file. "
        "Default: openai.",
        rich_help_panel=MODEL,
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run code: of MODULE:FUNCTION, and of pickled checkpoints.", rich_help_panel=MODEL
    ),
]
Title = Annotated[
    str | None, typer.Option("--title", help="Title of the page instead of its own.", rich_help_panel=OUTPUT)
]
RedactImages = Annotated[
    bool,
    typer.Option(
        "--redact-images",
        help="No picture of the data on the page; descriptions and numbers stay. Only the page of a scan has pictures; "
        "the run folder keeps them.",
        rich_help_panel=OUTPUT,
    ),
]
Logo = Annotated[
    Path | None,
    typer.Option(
        "--logo",
        metavar="FILE",
        help="Shown beside the title of the page: PNG, JPEG, WebP or SVG, up to 200 kB.",
        rich_help_panel=OUTPUT,
    ),
]
Notes = Annotated[
    Path | None,
    typer.Option(
        "--notes",
        metavar="FILE",
        help="Your notes for the readers of the page: Markdown, or plain text as .txt.",
        rich_help_panel=OUTPUT,
    ),
]
MaxReportMb = Annotated[
    float | None,
    typer.Option(
        "--max-report-mb",
        metavar="MB",
        help="Largest page; pictures shrink, then go, as do files to download, and the page says so. Default: 10.",
        rich_help_panel=OUTPUT,
    ),
]
SplitPage = Annotated[
    bool,
    typer.Option(
        "--split",
        help="Style sheet and pictures beside the page, in PAGE_files, and no scripts: for Jenkins and other servers "
        "that drop what is inside a page.",
        rich_help_panel=OUTPUT,
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="zoo|DIR",
        help="Place the model among others: zoo: the published figures; DIR: a zoo run.",
        rich_help_panel=OUTPUT,
    ),
]
