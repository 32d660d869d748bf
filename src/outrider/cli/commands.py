"""The table of commands: what `outrider --help` prints and `main` registers. Nothing heavy is imported here."""

from typing import NamedTuple


class Command(NamedTuple):
    name: str
    target: str
    """`module:function`, imported only when the command runs."""
    summary: str
    parent: str = ""
    """Name of the command group, as in `outrider rollout status`."""


PASSED_ON = "outrider.cli.kubectl:kubectl"
"""The command whose arguments are not ours to read, not even --help."""


class Section(NamedTuple):
    title: str
    commands: tuple[Command, ...]


SECTIONS: tuple[Section, ...] = (
    Section(
        "Try it",
        (
            Command("demo", "outrider.cli.demo.command:demo", "See a model served, released and rolled back."),
            Command("up", "outrider.cli.up:up", "Run a local world: a small cluster whose pods are local processes."),
            Command("kubectl", PASSED_ON, "Run kubectl on the local world (up --kubernetes)."),
            Command("down", "outrider.cli.down:down", "End the local world and every process in it."),
        ),
    ),
    Section(
        "Serve and look",
        (
            Command("apply", "outrider.cli.apply:apply", "Create or change objects from manifests."),
            Command("get", "outrider.cli.get:get", "List objects, or show one."),
            Command(
                "describe", "outrider.cli.describe:describe", "Tell all about one object: conditions, pods, events."
            ),
            Command("status", "outrider.cli.status:status", "Show how every LLM service is doing."),
            Command("logs", "outrider.cli.logs:logs", "Print what the pods of a service wrote."),
            Command("delete", "outrider.cli.delete:delete", "Delete objects."),
        ),
    ),
    Section(
        "Release and roll back",
        (
            Command("plan", "outrider.cli.plan:plan", "Show what Outrider would do, and why, without doing it."),
            Command(
                "rollout", "", "Follow and steer releases: status, history, pause, resume, skip, promote, abort, retry."
            ),
            Command("explain", "", "Tell how the last release went, and why: explain release."),
            Command("rollback", "outrider.cli.rollback:rollback", "Go back to a version that worked, now."),
            Command("unpin", "outrider.cli.rollback:unpin", "Lift a rollback: follow the spec again."),
        ),
    ),
    Section(
        "Prove it",
        (Command("sim", "outrider.cli.sim:sim", "Simulate what can go wrong, and check what is promised."),),
    ),
    Section(
        "Set up",
        (
            Command("install", "outrider.cli.install.command:install", "Install Outrider into a cluster."),
            Command("upgrade", "outrider.cli.install.command:upgrade", "Bring an installation to this version."),
            Command(
                "uninstall",
                "outrider.cli.install.uninstall:uninstall",
                "Take the operator away; every model goes on serving.",
            ),
            Command("operator", "outrider.cli.operator:operator", "Run the operator on a cluster, as its pods do."),
            Command("completion", "outrider.cli.completion:completion", "Print a completion script for your shell."),
        ),
    ),
)

SUBCOMMANDS: tuple[Command, ...] = (
    Command("status", "outrider.cli.rollout:rollout_status", "Wait for a release to end, and say how.", "rollout"),
    Command("history", "outrider.cli.rollout:rollout_history", "List the revisions of a service.", "rollout"),
    Command("pause", "outrider.cli.steer:rollout_pause", "Hold a release where it is.", "rollout"),
    Command("resume", "outrider.cli.steer:rollout_resume", "Let a release go on that was paused.", "rollout"),
    Command("skip", "outrider.cli.steer:rollout_skip", "End the present step of a release.", "rollout"),
    Command("promote", "outrider.cli.steer:rollout_promote", "Give a new version all traffic now.", "rollout"),
    Command("abort", "outrider.cli.steer:rollout_abort", "Take back a release that is under way.", "rollout"),
    Command("retry", "outrider.cli.rollout:rollout_retry", "Release again what was taken back.", "rollout"),
    Command("release", "outrider.cli.explain:explain_release", "Tell how the last release went, and why.", "explain"),
)

EXIT_CODES = """\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 refused: invalid manifest; 5 timed out while waiting;
6 no cluster or local world to talk to; 7 conflict; 8 operator: the lease was lost; 130 interrupted."""


def group_help(group: Command) -> str:
    """What the help of a command group says: its summary, and what each of its commands does."""
    inside = [command for command in SUBCOMMANDS if command.parent == group.name]
    return "\n".join([group.summary, "", *(f"{command.name:<10}{command.summary}" for command in inside)])


def top_level_help() -> str:
    """What `outrider` and `outrider --help` print: plain text, so that it costs nothing to print."""
    lines = [
        "Usage: outrider COMMAND [OPTIONS]",
        "",
        "Outrider keeps LLM services healthy in production: it releases versions safely, checks that inference",
        "truly works, and goes back when it does not.",
    ]
    for section in SECTIONS:
        lines += ["", f"{section.title}:"]
        lines += [f"  {command.name:<12}{command.summary}" for command in section.commands]
    lines += [
        "",
        "Options:",
        "  -h, --help  This text; after a command, its options.",
        "  --version   The version.",
        "",
        "Commands talk to the cluster that KUBECONFIG, --kubeconfig or --context name, as kubectl does; where none of",
        "these is given, to the running local world (`outrider up`), else to the current context of ~/.kube/config.",
        "",
        EXIT_CODES,
    ]
    return "\n".join(lines)
