"""The console script `hitrun`. Bodies live in their modules and are imported when they are called,
so that `hitrun --help` is quick and works without the extras.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration, 4 halted until a person acts.
Nothing but results goes to stdout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.faults import HALTED, MISCONFIGURED, ConfigError, HaltWorker, RestartWorker

if TYPE_CHECKING:
    from streams.settings import Settings

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2

HELP: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="hitrun",
    help="Tells a marketplace which confirmed checkouts will never be paid: reminders, verdicts "
    "and advice, exactly once, from Kafka. Settings are HITRUN_* variables or .env.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its frames with locals would show customers and passwords
    context_settings=HELP,
)
topics_app = typer.Typer(
    no_args_is_help=True, help="Make hitrun's topics, or compare them with the cluster."
)
policy_app = typer.Typer(no_args_is_help=True, help="The policy in force, or a check of one.")
app.add_typer(topics_app, name="topics")
app.add_typer(policy_app, name="policy")

Pretty = Annotated[bool, typer.Option("--pretty", help="Logs for people instead of JSON lines.")]


# Running


@app.command()
def demo(
    *,
    workers: Annotated[int, typer.Option(min=1, max=8, help="Workers sharing the load.")] = 1,
    seconds: Annotated[
        int | None,
        typer.Option(min=10, help="How long the show takes, about; never less than 30 s."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same marketplace.")] = None,
    score: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the score there, as JSON.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave Kafka and the workers running at the end.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Kafka's; 0: a free one.")] = 0,
) -> None:
    """See it work: a real Kafka on this machine, a simulated marketplace, a live screen, the score.

    Exit 1 when the score against the known truth is not perfect.
    """

    def body() -> int:
        if score is not None:
            _demand_writable(score, "--score")
        from streams.demo.stage import main

        return main(workers=workers, seconds=seconds, seed=seed, score=score, keep=keep, port=port)

    _end(body, extra="local")


@app.command()
def worker(
    *,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Start from an empty state: read the history again, announce the difference only. "
            "For this start: take it away for the next one.",
        ),
    ] = False,
    accept_dead_letters: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC",
            help="Go on although this topic brought too many dead letters (after exit 4).",
        ),
    ] = None,
    pretty: Pretty = False,
) -> None:
    """One worker on your Kafka; start as many as there are cores. SIGTERM ends it in order."""

    def body() -> int:
        settings = _settings(pretty=pretty)
        from streams.worker import run

        return run(
            settings,
            settings.policy,
            rebuild=rebuild,
            accept_dead_letters=accept_dead_letters or [],
        )

    _end(body)


@app.command()
def broker(
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its data stays over restarts.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one, printed.")] = 9092,
    nodes: Annotated[int, typer.Option(help="Brokers: 1 or 3.")] = 1,
) -> None:
    """The local Kafka alone, until Ctrl-C; prints its address. For trying out, not production."""
    if nodes not in (1, 3):
        raise typer.BadParameter("1 or 3", param_hint="--nodes")

    def body() -> int:
        from streams.local.command import main

        return main(data=data, port=port, nodes=nodes)

    _end(body, extra="local")


# Topics


@topics_app.command("create")
def topics_create(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is missing.")] = False,
) -> None:
    """Make the topics that are not there. Those that are there stay as they are: see check."""

    def body() -> int:
        settings = _settings()
        from streams.topics_admin import create

        return create(settings, out=sys.stdout, dry_run=dry_run)

    _end(body)


@topics_app.command("check")
def topics_check() -> None:
    """Compare the topics with the cluster. Exit 1 when a worker would refuse to start."""

    def body() -> int:
        settings = _settings()
        from streams.topics_admin import check

        return check(settings, out=sys.stdout)

    _end(body)


# Recorded events


@app.command()
def replay(
    *,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Recorded events; - is stdin.")
    ],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Let time pass until then (RFC 3339); else last arrival."
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judge by this policy instead.")
    ] = None,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Show only what --policy would change, of the one in force."),
    ] = False,
) -> None:
    """Judge recorded events without Kafka; prints the outputs, one {topic, key, value} a line.

    A line of a FILE is a record {topic, key, timestamp, headers, value}, as kcat -J writes it, or
    a bare CloudEvents object, which arrives at its event time.
    """
    if diff and policy is None:
        raise typer.BadParameter("it needs --policy, to compare with", param_hint="--diff")

    def body() -> int:
        from streams.recording import until_ms

        try:
            end_ms = None if until is None else until_ms(until)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--until") from None
        settings = _settings()
        from streams.replay import run

        return run(settings, files, until_ms=end_ms, policy_file=policy, diff=diff, out=sys.stdout)

    _end(body)


@app.command()
def simulate(
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write NDJSON files there instead of sending to Kafka."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Checkouts a second.")] = 20.0,
    customers: Annotated[int, typer.Option(min=1, help="How many buyers there are.")] = 1_000,
    seconds: Annotated[int, typer.Option(min=1, help="How long the marketplace is open.")] = 60,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same marketplace.")] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CASE=WEIGHT", help="How often a tricky case is played; a wrong one lists them."
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the truth of each checkout there, as NDJSON."),
    ] = None,
) -> None:
    """A marketplace's traffic with the truth beside it: to Kafka, or to files for replay.

    Windows are those of the policy in force (HITRUN_POLICY_FILE).
    """

    def body() -> int:
        from streams.demo.simulate import parse_shares
        from streams.demo.simulate import simulate as act

        try:
            shares = parse_shares(share or [])
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--share") from None
        return act(
            _settings(),
            out=out,
            rate=rate,
            customers=customers,
            seconds=seconds,
            seed=seed,
            truth=truth,
            shares=shares,
        )

    _end(body)


@app.command()
def redrive(
    *,
    topic: Annotated[str, typer.Argument(metavar="TOPIC.dlq", help="The topic of dead letters.")],
    reason: Annotated[
        str | None, typer.Option(help="Only those of one reason: malformed, invalid, key, ...")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be sent.")
    ] = False,
    dump: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write them to a file to be mended; sends nothing."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Send the mended records of this file."),
    ] = None,
    pretty: Pretty = False,
) -> None:
    """Send dead letters back to their topic, once each, after their cause was removed."""
    if sum((dry_run, dump is not None, source is not None)) > 1:
        raise typer.BadParameter("one of --dry-run, --dump and --from at a time")

    def body() -> int:
        settings = _settings(pretty=pretty)
        from streams.redrive import run

        return run(
            settings,
            topic,
            reason=reason,
            dry_run=dry_run,
            dump=dump,
            source=source,
            out=sys.stdout,
        )

    _end(body)


@app.command()
def inspect(
    *,
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="A customer_id.")],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="As it would stand then (RFC 3339) if nothing more is told."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as data.")] = False,
) -> None:
    """What is known of a customer, in words: each checkout, why it stands so, what happens next.

    Reads the workers' changelog and asks nothing of them. Exit 1 when the customer is not known.
    """
    if not (0 < len(customer) <= 128 and customer.isprintable()):
        raise typer.BadParameter("1-128 printable characters", param_hint="CUSTOMER")

    def body() -> int:
        from streams.recording import until_ms

        try:
            at_ms = None if at is None else until_ms(at)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--at") from None
        settings = _settings()
        from streams.inspect import BeforeNow, run

        try:
            return run(settings, customer, at_ms=at_ms, as_json=as_json, out=sys.stdout)
        except BeforeNow as error:
            raise typer.BadParameter(str(error), param_hint="--at") from None

    _end(body)


# Policy and version


@policy_app.command("show")
def policy_show() -> None:
    """The policy in force, every key with its value, and its version (a hash of the values)."""

    def body() -> int:
        settings = _settings()
        from streams.settings import policy_in_words

        print(policy_in_words(settings.policy_file), end="")
        return DONE

    _end(body)


@policy_app.command("check")
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy.toml.")],
) -> None:
    """Check a policy file: its version, or every mistake with its line (exit 3)."""

    def body() -> int:
        from streams.settings import read_policy

        print(f"{file}: a valid policy, version {read_policy(file).version}")
        return DONE

    _end(body)


@app.command()
def version() -> None:
    """The version of hitrun."""
    print(_version())


# How every command ends


def _end(body: Callable[[], int], *, extra: str = "") -> None:
    """Runs a command and ends the process with its code, with one line about why it failed.
    `extra`: the optional part it needs."""
    try:
        code = body()
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        ours = ("streams", "agents", "domain", "schemas")
        if not extra or (error.name or "").partition(".")[0] in ours:
            raise
        _say(
            f"{error.name} is missing: this command needs the extra: pip install 'hitrun[{extra}]'"
        )
        code = FAILED
    except ConfigError as error:
        for problem in error.problems:
            _say(problem)
        code = MISCONFIGURED
    except HaltWorker as error:
        _say(str(error))
        code = HALTED
    except RestartWorker as error:
        _say(str(error))
        code = FAILED
    except BrokenPipeError:  # the reader (head) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = DONE
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        named = error.filename is not None and error.strerror
        _say(f"{error.filename}: {error.strerror}" if named else str(error))
        code = FAILED
    raise typer.Exit(code)


def _settings(*, pretty: bool = False) -> Settings:
    """The settings, with logging set up by them. Ends the process with 3 when they are wrong."""
    from streams.logging import configure_logging, say
    from streams.settings import load_settings, unknown_variables

    settings = load_settings()
    configure_logging(settings.log_level, pretty=pretty)
    for told in unknown_variables():
        say("setting.unknown", message=told)
    return settings


def _demand_writable(file: Path, option: str) -> None:
    """Wrong usage, told before the work rather than after it."""
    try:
        file.touch()
        with file.open("ab"):  # touch is content with a directory
            pass
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}; choose another file"
        raise typer.BadParameter(message, param_hint=option) from None


def _say(line: str) -> None:
    print(f"hitrun: {line}", file=sys.stderr, flush=True)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hitrun")
    except PackageNotFoundError:  # run from the sources
        return "0+sources"


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
