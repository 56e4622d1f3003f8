"""`headwater slurm`: the same steps as jobs of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.commands.options import Cutoff, UseCaseName
from headwater.console import err, out
from pipelines.registry import get_use_case
from pipelines.window import parse_day

Time = Annotated[str, typer.Option("--time", metavar="LIMIT", help="Time limit, such as 04:00:00 or 1-12:00.")]
Memory = Annotated[str, typer.Option("--mem", metavar="SIZE", help="Memory, such as 8G.")]
Cpus = Annotated[int, typer.Option("--cpus", metavar="COUNT", min=1, help="Processors.")]
Partition = Annotated[str | None, typer.Option("--partition", metavar="NAME", help="Partition; by default SLURM's.")]
Account = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Account that pays for the job.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the script there and not to stdout.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(no_args_is_help=True, help="Scripts for a SLURM cluster.")
    group.callback()(lambda: None)
    group.command()(train)
    app.add_typer(group, name="slurm")


def train(
    use_case: UseCaseName,
    time: Time = "04:00:00",
    mem: Memory = "8G",
    cpus: Cpus = 4,
    partition: Partition = None,
    account: Account = None,
    cutoff: Cutoff = None,
    file: Out = None,
) -> None:
    """Write the script of a job that trains a use case, by the same entry point as headwater train.

    It holds this shell's settings and no secret: those are read where the job runs. The checkout, its .venv and the
    lake must be seen from there, and Postgres and MLflow be reached.

    Example: headwater slurm train flood --partition gpu --time 02:00:00 | sbatch
    """
    from headwater import slurm
    from headwater.effective import effective

    found, settings = get_use_case(use_case), effective()
    job = slurm.Job(time=time, mem=mem, cpus=cpus, partition=partition, account=account)
    script = slurm.train_script(found, job, settings, parse_day(cutoff) if cutoff else None)
    for sentence in slurm.doubts(settings):
        err.print(f"Mind: {sentence}", soft_wrap=True, markup=False)
    if file is None:
        out.out(script, end="")
        return
    file.write_text(script, "utf-8")
    file.chmod(0o755)
    out.print(f"sbatch {file}", soft_wrap=True, markup=False)
