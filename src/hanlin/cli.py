"""The command line: a thin shell over `hanlin.workflow`. Subcommands import what they need when they run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hanlin.cli_help import ChattingCommand, DataCommand, RoomCommand, SearchingCommand, ServingCommand, WritingCommand
from hanlin.cli_keys import keys
from hanlin.cli_runs import runs
from hanlin.core.run.ranks import is_first, world_size
from hanlin.rooms import ROOMS

app = typer.Typer(
    name="hanlin",
    help="Hanlin 翰林: from text you own to a model you understand. Start with: hanlin demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Words = Annotated[list[str] | None, typer.Argument(metavar="[name=value]...", show_default=False)]


def main() -> None:
    """Entry point. A user's problem is four lines and exit code 2; a traceback only with --debug."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        _check_characters(arguments)
        code = app(args=arguments or ["--help"], prog_name="hanlin", standalone_mode=False)
        if code == 130:  # so newer parsers answer Ctrl-C
            _leave("Stopped.", code)
    except KeyboardInterrupt:
        _leave("Stopped.", 130)
    except Exception as error:
        if debug:
            raise
        _leave(*_explain(error))
    if world_size() > 1:
        _end_at_once(0)


def _check_characters(arguments: list[str]) -> None:
    """Raises HanlinError for bytes that are no UTF-8: Python hands them on as halves of characters."""
    from hanlin.core.run.errors import HanlinError

    for word in arguments:
        if not word.isprintable() and any("\ud800" <= character <= "\udfff" for character in word):
            shown = word.encode("utf-8", "replace").decode()
            raise HanlinError(
                f'The argument "{shown[:60]}" has bytes that are no UTF-8.',
                "whole characters in UTF-8",
                "check where the text was cut, or convert it: iconv -f BIG5 -t UTF-8",
                "README.md",
            )


def _explain(error: Exception) -> tuple[str, int]:
    from hanlin.core.run.errors import HanlinError, Interrupted, explain_os_error

    if isinstance(error, typer.Exit):
        raise SystemExit(error.exit_code)
    if isinstance(error, Interrupted):
        # A terminal shows ^C where the cursor stands.
        return ("\n" if sys.stderr.isatty() else "") + str(error), 130
    if isinstance(error, HanlinError):
        return f"error: {error}", 2
    if type(error).__name__ == "NoArgsIsHelpError":  # a group without its subcommand: the message is the help
        return str(error), 2
    if hasattr(error, "format_message"):  # the parser's own complaints: unknown command, missing argument
        what = " ".join(error.format_message().split())
        return f"error: {HanlinError(what, 'a command as hanlin --help shows it', 'hanlin --help', 'README.md')}", 2
    if isinstance(error, typer.Abort):
        return "Stopped.", 130
    if isinstance(error, OSError):
        return f"error: {explain_os_error(error, 'running hanlin')}", 2
    return (
        f"error: {type(error).__name__}: {' '.join(str(error).split())}\n"
        "  expected: no such thing; this is a fault in Hanlin\n"
        "  do:       run it again with --debug and report what it prints\n  more:     docs/runs.md",
        1,
    )


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    if world_size() > 1:
        _end_at_once(code)
    raise SystemExit(code)


def _end_at_once(code: int) -> None:
    """One of several processes: threads that still wait for the others would abort an orderly end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _make(name: str, words: list[str]) -> None:
    from hanlin.core.run.config import parse_overrides
    from hanlin.terminal import terminal_view
    from hanlin.workflow import make

    with terminal_view() as listener:
        artifact = make(name, parse_overrides(words), listeners=(listener,))
    if is_first():
        print(f"{artifact.kind}: {artifact.path}  (id {artifact.id[:8]})")
        if artifact.file("report.html").exists():
            print(f"to read: {artifact.file('report.html')}")


def _collect(
    words: Words = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would happen, on a sample; keep nothing")
    ] = False,
    sample: Annotated[int, typer.Option(min=1, help="rows of each source that a dry run reads")] = 1000,
) -> None:
    if not dry_run:
        _make("collect", words or [])
        return
    from hanlin.core.run.config import parse_overrides
    from hanlin.output import print_lines, terminal_ink, terminal_width
    from hanlin.shows.dry_run import show_dry_run

    show_dry_run(parse_overrides(words or []), sample, print_lines, terminal_width(), terminal_ink())


def _room_command(name: str, summary: str) -> None:
    def command(words: Words = None) -> None:
        _make(name, words or [])

    run_it = _collect if name == "collect" else command
    app.command(name, help=f"{summary}.", cls=RoomCommand, rich_help_panel="Rooms")(run_it)


for _room in ROOMS.values():
    _room_command(_room.name, _room.summary)


@app.command()
def run(recipe: Path, words: Words = None) -> None:
    """Run a recipe; finished steps are skipped. Options: STEP.option=value, out=folder."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.terminal import terminal_view
    from hanlin.workflow import run_recipe

    with terminal_view() as listener:
        made = run_recipe(recipe, parse_overrides(words or []), (listener,))
    for name, artifact in made.items():
        print(f"{name:12} {artifact.kind:10} {artifact.path}")


@app.command()
def rehearse(
    recipe_or_command: str,
    words: Words = None,
    keep: Annotated[bool, typer.Option("--keep", help="leave the rehearsal's folder")] = False,
    compiled: Annotated[
        bool, typer.Option("--compile", help="compile as the real run will; takes as long as that does")
    ] = False,
) -> None:
    """Before a long run: three real steps and all that comes after; prints hours, memory, disk and what would fail."""
    from hanlin.rehearsal.rehearse import rehearse as rehearse_all

    if not rehearse_all(recipe_or_command, words or [], keep, compiled):
        raise SystemExit(1)


@app.command()
def demo(
    minutes: Annotated[
        float, typer.Option(min=0.05, help="time for pretraining; fine-tuning takes a fifth of it")
    ] = 5.0,
    serve: Annotated[bool, typer.Option(help="open the chat page at the end")] = True,
    out: Annotated[str, typer.Option(help="folder of the run")] = "runs/demo",
    words: Words = None,
) -> None:
    """The whole life cycle, small, on this machine: real text → a model you chat with."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.demo import run_demo

    run_demo(minutes, Path(out), serve and sys.stdout.isatty(), parse_overrides(words or []))


@app.command(cls=SearchingCommand)
def generate(model: str, prompt: str, words: Words = None) -> None:
    """Continue a text. Options: temperature=, top_p=, max_tokens=, json_schema=, search.beams=, engine.weights= …"""
    import hanlin
    from hanlin.core.connect import is_remote
    from hanlin.core.run.config import parse_overrides

    options = parse_overrides(words or [])
    if is_remote(model):
        from hanlin.connected import print_continuation

        print_continuation(model, prompt, options)
        return
    searching, engine = options.pop("search", None), {"max_streams": 1, **options.pop("engine", {})}
    loaded = hanlin.load(model)
    if searching is not None:
        for reply in hanlin.search(loaded, prompt, **searching, **options):
            print(f"{prompt}{reply}")
        return
    print(prompt, end="")
    for piece in hanlin.generate(hanlin.engine(loaded, **engine), prompt, **options):
        print(piece, end="", flush=True)
    print()


@app.command(cls=ChattingCommand)
def chat(model: str, words: Words = None) -> None:
    """Talk with a model in the terminal. /help lists what else can be done there; an empty line ends it."""
    from hanlin.conversation.talk import converse
    from hanlin.core.run.config import parse_overrides

    converse(model, parse_overrides(words or []))


@app.command(cls=ServingCommand)
def serve(model: str, words: Words = None) -> None:
    """Serve a model: OpenAI-compatible API and a chat page, on this machine only. Options: port=, host=, token= …"""
    from hanlin.core.run.config import build, parse_overrides
    from hanlin.use.serve.config import Serve
    from hanlin.use.serve.run import serve as serve_model

    serve_model(Path(model), build(Serve, parse_overrides(words or []), "serve"))


@app.command()
def lineage(path: Path) -> None:
    """The ancestry of an artifact, down to the raw source with its hash and licence."""
    from hanlin.core.run.artifact import lineage as ancestors

    for depth, name, facts in ancestors(path):
        label = f"{name}: " if name else ""
        made = (
            f"  made by {facts['room']}" + (f" ({facts['method']})" if facts.get("method") else "")
            if "room" in facts
            else ""
        )
        licence = f"  licence: {facts['licence']}" if facts.get("licence") else ""
        missing = "  (not found here)" if facts.get("missing") else ""
        print(
            f"{'   ' * depth}{'└─ ' if depth else ''}{label}{facts['kind']} {facts['path']}"
            f"  id {facts['id'][:12]}{made}{licence}{missing}"
        )


@app.command()
def export(
    model: str,
    format: Annotated[str, typer.Option(help="gguf (llama.cpp, Ollama) or hf (transformers, vLLM)")] = "gguf",
    dtype: Annotated[str, typer.Option(help="gguf: f16, q8_0, q4_k …; hf: bfloat16, float16, float32")] = "",
    out: Annotated[Path | None, typer.Option(help="file or folder to write; default under runs/")] = None,
) -> None:
    """Take a model elsewhere: as a GGUF file or a Hugging Face folder."""
    from hanlin.export import export_model

    export_model(model, format, dtype, out, print)


show = typer.Typer(no_args_is_help=True, help="Look inside: data, model, chat, sampling, speculate, cache.")
check = typer.Typer(no_args_is_help=True, help="Prove it on your own files: model, export.")
app.add_typer(runs, name="runs")
app.add_typer(show, name="show")
app.add_typer(check, name="check")
app.add_typer(keys, name="keys")


@show.command("model")
def show_model(model: str) -> None:
    """The anatomy of a checkpoint: blocks, shapes, parameters, bytes, cache bytes per token."""
    from hanlin.core.model.anatomy import lines, read_anatomy
    from hanlin.core.model.opening import locate_model

    print("\n".join(lines(read_anatomy(locate_model(model)))))


@show.command("data", cls=DataCommand)
def show_data(path: str, words: Words = None) -> None:
    """Rows of a corpus, or of any file that collect reads: text, chat, preferences side by side."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.output import print_lines, terminal_ink, terminal_width
    from hanlin.shows.data import show_data as show

    show(path, parse_overrides(words or []), print_lines, terminal_width(), terminal_ink().colours)


@show.command("chat")
def show_chat(
    model: str,
    conversation: Path,
    plain: Annotated[bool, typer.Option(help="brackets instead of colours")] = False,
) -> None:
    """A conversation as the model reads it: what training would count as a reply is coloured."""
    from hanlin.terminal import show_conversation

    show_conversation(model, conversation, plain)


Chat = Annotated[bool, typer.Option("--chat", help="the prompt is a question to a chat model, not a text")]


@show.command("sampling", cls=WritingCommand)
def show_sampling(
    model: str,
    prompt: str,
    words: Words = None,
    rows: Annotated[int, typer.Option(min=1, help="likeliest tokens that are shown")] = 12,
    chat: Chat = False,
) -> None:
    """The next token, step by step: what each option leaves of the model's distribution."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.output import print_lines, terminal_ink
    from hanlin.shows.sampling import show_sampling as show

    show(model, prompt, parse_overrides(words or []), rows, chat, print_lines, terminal_ink())


@show.command("speculate", cls=WritingCommand)
def show_speculate(model: str, prompt: str, words: Words = None, chat: Chat = False) -> None:
    """A reply pass by pass: what was guessed ahead, what of it stood, and the passes saved."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.output import print_lines, terminal_ink
    from hanlin.shows.speculate import show_speculate as show

    show(model, prompt, parse_overrides(words or []), chat, print_lines, terminal_ink())


@show.command("cache", cls=WritingCommand)
def show_cache(
    model: str,
    prompt: str,
    words: Words = None,
    second: Annotated[str, typer.Option(help="a prompt asked behind it. Default: its first half")] = "",
    chat: Chat = False,
) -> None:
    """What is kept of a prompt, in bytes and blocks, and what the next one finds there."""
    from hanlin.core.run.config import parse_overrides
    from hanlin.output import print_lines
    from hanlin.shows.cache import show_cache as show

    show(model, prompt, parse_overrides(words or []), second, chat, print_lines)


@check.command("export")
def check_export(path: Path) -> None:
    """An exported file or folder in llama.cpp and transformers: the same ids, the same greedy tokens."""
    from hanlin.checks.export import check_export as compare

    compare(path, print)


@check.command("model")
def check_model(
    path: Path,
    tolerance: Annotated[
        float, typer.Option(min=0, help="largest difference allowed, as a share of a value and its tensor's size")
    ] = 1e-5,
    gradients: Annotated[bool, typer.Option(help="compare every gradient too; takes twice the memory")] = True,
) -> None:
    """Our numbers beside those of the transformers installed here: loss, logits, hidden states, gradients."""
    from hanlin.checks.model import check_model as compare

    compare(path, tolerance, gradients, print)


if __name__ == "__main__":
    main()
