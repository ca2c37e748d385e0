"""The command `ssah`: plan a run, find units, prove a freezing, keep completions, judge them, write the report, and see
to the cache.

Each command says what it found on standard output. What is wrong is one sentence on standard error, with exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

# The rest of the package is imported inside the commands: with torch it takes seconds, and `ssah --help` needs none.
if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .freezing import FrozenReport
    from .units import Scores

CRITERIA = ("attribution", "fisher", "variance", "contrast")
REFUSAL, COMPLIANCE = ("I cannot", "Sorry"), ("Sure", "Here")
"""Ways to begin a response, as many chat models have them."""
CHANGED, WRONG = 1, 2
"""Exit codes: frozen entries changed or a report is stale; and what was asked for cannot be done."""


_Usage: Any = typer.BadParameter.__mro__[1]
"""click's error of a command line that is not understood, of the click that this typer has."""


class _OneSentence(TyperGroup):
    """A group of commands whose errors are one sentence, without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _Usage as error:
            _end_by(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _Usage as error:
            _end_by(error)
            raise
        except BrokenPipeError:  # `ssah plan ... | head`: nobody reads any more
            raise
        except (ValueError, OSError, RecursionError) as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(WRONG) from None


def _end_by(error: Any) -> None:
    """End with one sentence, unless the error is the help that was not asked for."""
    if type(error).__name__ != "NoArgsIsHelpError":
        where = error.ctx.command_path if error.ctx else "ssah"
        typer.echo(f"error: {' '.join(error.format_message().split()).rstrip('.')}: see {where} --help", err=True)
        raise typer.Exit(WRONG) from None


app = typer.Typer(cls=_OneSentence, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
                  pretty_exceptions_enable=False,
                  help="The Superficial Safety Alignment Hypothesis on models of your own.")

Model = Annotated[str, typer.Argument(help="a folder or a hub id")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16")]
Kwargs = Annotated[str, typer.Option(help='arguments of the chat template, such as {"enable_thinking": false}')]
Device = Annotated[str, typer.Option(help='"auto": a GPU where there is one; or a torch device such as cuda:1')]


@app.command("plan")
def plan(model: Model, gpus: Annotated[int, typer.Option(help="GPUs that share the model")] = 1,
         memory: Annotated[float | None, typer.Option(help="GB of a GPU; default that of the GPU here, or 80")] = None,
         dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "bfloat16",
         data: Annotated[bool, typer.Option("--data", help="see that the data sets of a run can be had")] = False,
         rehearse: Annotated[bool, typer.Option("--rehearse", help="try it on random weights of its shape")] = False,
         ) -> None:
    """Say what a run on a checkpoint will need, from its config alone: memory, hours, disk."""
    from .planning.__main__ import show

    show(model, gpus=gpus, dtype=dtype, memory=memory, data=data, rehearsed=rehearse)


@app.command("score")
def score(model: Model,
          safety: Annotated[Path, typer.Option(help="malicious requests with refusals: .jsonl, .json or .csv with "
                                                    "prompt and response")],
          utility: Annotated[Path, typer.Option(help="instructions with answers, in the same form")],
          out: Annotated[Path, typer.Option(help="the labels, as .safetensors")],
          criterion: Annotated[str, typer.Option(help=f"what ranks SCU: {', '.join(CRITERIA)}")] = CRITERIA[0],
          scu: Annotated[float, typer.Option(help="share of all units (0-1) that is SCU")] = 0.04,
          ucu: Annotated[float, typer.Option(help="... that is UCU")] = 0.08,
          ru: Annotated[float, typer.Option(help="... that is RU; CU are the rest")] = 0.15,
          refusal: Annotated[list[str] | None, typer.Option(help="how a refusal begins, for attribution; several times "
                                                                 f"for several; default {', '.join(REFUSAL)}")] = None,
          compliance: Annotated[list[str] | None, typer.Option(help="how compliance begins, likewise; default "
                                                                    f"{', '.join(COMPLIANCE)}")] = None,
          chat_template_kwargs: Kwargs = "{}", dtype: Dtype = "auto", device: Device = "auto") -> None:
    """Label every unit of a model SCU, UCU, CU or RU, from chats of your own, and write the labels."""
    from .records import parse_template_kwargs

    _check_writable(out)
    if criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r} is unknown: choose one of {', '.join(CRITERIA)}")
    arguments = parse_template_kwargs(chat_template_kwargs, "--chat-template-kwargs")
    asked, told = (_rows(file, ("prompt", "response")) for file in (safety, utility))
    from .models import load
    from .units import check_shares, label_units

    check_shares(scu=scu, ucu=ucu, ru=ru)  # before the slow part
    loaded, tokenizer = load(model, dtype, device, chat_template_kwargs=arguments)
    openings = refusal or REFUSAL, compliance or COMPLIANCE
    scores = _scores(loaded, tokenizer, asked, told, criterion, openings, scu)
    labels = label_units(scores, scu=scu, ucu=ucu, ru=ru)
    labels.save(out, about={"model": model, "safety": str(safety), "utility": str(utility), "criterion": criterion,
                            "scu": str(scu), "ucu": str(ucu), "ru": str(ru)})
    typer.echo("\n".join(f"{kind}  {mask.count:,} units ({100 * mask.fraction:.1f} %)"
                         for kind, mask in labels.masks.items()))
    typer.echo(f"written to {out}")


@app.command("freeze-check")
def freeze_check(before: Annotated[Path, typer.Argument(help="folder of the checkpoint before training")],
                 after: Annotated[Path, typer.Argument(help="folder of the checkpoint after it")],
                 mask: Annotated[Path, typer.Argument(help="the frozen units: a file of UnitMask.save, or of labels")],
                 kind: Annotated[str, typer.Option(help="of labels, the kind that was frozen")] = "SCU",
                 shared: Annotated[str, typer.Option(help="as it was given to freeze: any or all")] = "any",
                 rest: Annotated[str, typer.Option(help="as it was given to freeze: train or freeze")] = "train",
                 ) -> None:
    """Prove that training changed no frozen entry, bit for bit; exit code 1 if it did."""
    from .freezing import FrozenChanged, check_frozen
    from .units import UnitLabels, UnitMask, read_about

    frozen = UnitLabels.load(mask).mask(kind) if read_about(mask)["kind"] == "UnitLabels" else UnitMask.load(mask)
    if not frozen.count and rest != "freeze":
        raise ValueError(f"{mask} holds no unit, so there is nothing to prove: give the mask that was frozen")
    try:
        _show_frozen(check_frozen(_weights(before), _weights(after), frozen, shared, rest))
    except FrozenChanged as error:
        _show_frozen(error.report)
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(CHANGED) from None


@app.command("complete")
def complete(model: Model,
             prompts: Annotated[Path, typer.Argument(help=".jsonl, .json or .csv with a column prompt")],
             out: Annotated[Path, typer.Option(help="folder for the completions; a stopped run goes on in it")],
             max_new_tokens: Annotated[int, typer.Option(help="tokens of a response at most")] = 256,
             batch_size: Annotated[int, typer.Option(help="prompts that are answered together")] = 32,
             system: Annotated[str | None, typer.Option(help="system prompt for every row")] = None,
             prefill: Annotated[str, typer.Option(help="text that every response is made to begin with")] = "",
             chat_template_kwargs: Kwargs = "{}", dtype: Dtype = "auto", device: Device = "auto") -> None:
    """Answer every prompt, greedily, and keep the completions in a folder."""
    from .records import parse_template_kwargs

    arguments = parse_template_kwargs(chat_template_kwargs, "--chat-template-kwargs")
    rows = _rows(prompts, ("prompt",))
    from .generation import complete_to
    from .models import load

    loaded, tokenizer = load(model, dtype, device, chat_template_kwargs=arguments)
    done = complete_to(out, loaded, tokenizer, rows, progress=sys.stderr.isatty(), system=system,
                       prefill=prefill, max_new_tokens=max_new_tokens, batch_size=batch_size)
    typer.echo(f"{len(done)} completions in {out}")


@app.command("judge")
def judge(completions: Annotated[Path, typer.Argument(help="a folder that ssah complete filled, or .jsonl, .json or "
                                                           ".csv with prompt and response")],
          by: Annotated[list[str], typer.Option("--judge", help="a name of ssah.list_judges(); may be repeated")],
          ) -> None:
    """Judge completions: on how many a judge is true, which for a keyword judge means that the attack succeeded."""
    from .generation import load_completions
    from .judging import judge as judged
    from .judging import raw_rate
    from .records import wilson

    rows: Sequence = load_completions(completions) if completions.is_dir() else _rows(completions, ("response",))
    for name in by:
        verdicts = judged(rows, name)
        low, high = (100 * bound for bound in wilson(sum(verdicts), len(verdicts)))
        rate = sum(verdicts) / len(verdicts)
        raw = raw_rate(rows, name) if name.startswith("keyword:") else rate
        beside = "" if raw == rate else f"; with typographic quotes left as they are, {100 * raw:.1f} %"
        typer.echo(f"{name}: true on {sum(verdicts)} of {len(verdicts)}, {100 * rate:.1f} % [{low:.1f}, {high:.1f}]"
                   f"{beside}")


@app.command("report")
def report(check: Annotated[bool, typer.Option("--check", help="write nothing; exit code 1 if it is stale")] = False,
           ) -> None:
    """Write paper_repro.md, the paper's claims against ours, from the records of this clone."""
    from .records.report import main

    raise typer.Exit(main(["--check"] if check else []))


@app.command("cache")
def show_cache(empty: Annotated[str | None, typer.Option(help="remove a kind: organisms, scores, studies ..., all, or "
                                                              "unfinished; says only what, without --yes")] = None,
               study: Annotated[str | None, typer.Option(help="of this study alone")] = None,
               older_than: Annotated[float, typer.Option(help="not used for so many days")] = 0,
               yes: Annotated[bool, typer.Option("--yes", help="remove it")] = False,
               as_json: Annotated[bool, typer.Option("--json", help="say it as JSON")] = False) -> None:
    """List what lies in the cache and how large it is, and empty it of what ssah wrote there."""
    from .records import emptying, list_stored, paths, remove_stored

    if yes and empty is None:
        raise ValueError("--yes removes nothing by itself: add --empty all, or another kind")
    there = emptying.select(list_stored(), "all" if empty is None else empty, study, older_than)
    if empty is None:
        typer.echo(emptying.as_json(there) if as_json else emptying.as_list(there, paths.cache(make=False)))
        return
    chosen = [found for found in there if emptying.is_removable(found)]
    done = remove_stored(chosen) if yes else chosen
    typer.echo(emptying.as_json(done) if as_json else emptying.as_removal(done, len(there) - len(done), yes))


@app.command("version")
def show_version() -> None:
    """Say which versions are installed, as a report of a fault should."""
    for package in ("ssah", "torch", "transformers", "tokenizers", "safetensors", "numpy"):
        typer.echo(f"{package} {_version(package)}")
    typer.echo(f"python {sys.version.split()[0]} on {sys.platform}")


# -- what the commands read and show -----------------------------------------------------------------------


def _rows(file: Path, columns: Sequence[str]) -> list[dict]:
    """The rows of a file. Raises ValueError unless every row has text in each of the columns."""
    from .data.files import read_rows

    rows = read_rows(file)
    for n, row in enumerate(rows, 1):
        for column in columns:
            if not isinstance(row.get(column), str):
                raise ValueError(f"{file} row {n} has no text in column {column!r}: give every row "
                                 f"{' and '.join(columns)}")
    return rows


def _scores(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, safety: list[dict], utility: list[dict],
            criterion: str, openings: tuple[Sequence[str], Sequence[str]], scu: float) -> Scores:
    """Scores by a criterion; by attribution SCU alone, and UCU and RU by the paper's importance (notebook 03)."""
    from .units import Scores, batches, collect, refusal_odds, score_units, search

    asked, told = batches(safety, tokenizer), batches(utility, tokenizer)
    if criterion != "attribution":
        return score_units(model, safety=collect(model, asked), utility=collect(model, told), criterion=criterion)
    odds = refusal_odds(tokenizer, *openings)  # before the slow part, since it may refuse its texts
    importance = score_units(model, safety=collect(model, asked), utility=collect(model, told), criterion="variance",
                             normalize="module")
    fill = collect(model, batches(utility, tokenizer, "last_prompt"))
    found = search(model, asked, told, odds, fill, share=max(scu, 0.05))
    return Scores(criterion, importance.safety, importance.utility, found.contrast)


def _weights(folder: Path) -> PreTrainedModel:
    """A checkpoint in the precision that it is stored in; it needs no tokenizer."""
    from .models import load_weights

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: give one that save_pretrained wrote")
    return load_weights(folder, dtype="auto")


def _show_frozen(found: FrozenReport) -> None:
    typer.echo(f"frozen entries     {found.frozen:,}, of which changed {found.frozen_changed:,}\n"
               f"trainable entries  {found.trainable:,}, of which changed {found.trainable_changed:,}")


def _check_writable(file: Path) -> None:
    if file.is_dir() or not file.resolve().parent.is_dir():
        raise ValueError(f"{file} cannot be written: give a file in a folder that exists")
    from .records.own_files import check_free

    check_free(file)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
