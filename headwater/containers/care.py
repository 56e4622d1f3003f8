"""Backup and restore in the containers, as the service `care` runs them; see docs/containers.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from headwater.backup import create
from headwater.backup import restore as job
from headwater.backup.create import Report
from headwater.backup.place import Place, in_containers
from headwater.console import progress
from headwater.containers import roles
from headwater.containers.init import ADMIN, passwords_of, urls
from headwater.stack.databases import create_role, make_databases, open_cursor
from models.serving.bento import BENTO_FILE, bento_folder, bento_sha256, publish
from pipelines import database, shared
from pipelines.errors import StackError
from pipelines.settings import Settings, layers, read_settings

BACKUPS = Path("/backups")
"""What a name of a backup is below of: the host's folder, which the compose file mounts there."""
LAKE = "--lake"
_BENTOS = """
select bento from ops.promotions where bento is not null union select evidence ->> 'bento' from ops.evidence
order by 1"""


def backup(given: Mapping[str, str], folder: str, options: Sequence[str]) -> None:
    """Makes a backup in the mounted folder.

    Raises:
        StackError: a password is missing, a name or an option is none, or the backup failed.
    """
    if odd := [option for option in options if option != LAKE]:
        raise StackError(f"{' '.join(odd)} is no option; there is {LAKE}.")
    target, place = _target(folder), _place(given)
    with progress(f"backing up into {target}") as report:
        for tag in _fetch_bentos(place):
            report(f"the Bento {tag} is nowhere, and not in this backup")
        create.create(place, target, lake=LAKE in options, report=report)


def restore(given: Mapping[str, str], folder: str) -> None:
    """Restores one before `airflow-init` has run for the first time; it makes databases and roles.

    Raises:
        StackError: a password is missing, the backup was changed, or there is something already.
    """
    source, place = _target(folder), _place(given)
    with progress(f"restoring {source}") as report:
        found = job.check(source)
        report(f"{len(found.files)} files are as they were written")
        prepare(given)
        with _lending(place.urls["headwater"]):
            done = job.restore(place, source, found, report, finish=lambda: _hand_out_bentos(place, report))
        if done.lake_lacks:
            report(f"the lake lacks {done.lake_lacks} of {found.lake['objects']} objects that it had")
        report(job.AFTERWARDS)


_LEND = f"""
do $$ begin
    if not (select rolsuper from pg_roles where rolname = current_user)
            and not pg_has_role('{roles.OWNER}', '{roles.PIPELINE}', 'member') then
        grant {roles.OWNER} to {roles.PIPELINE};
    end if;
end $$"""


@contextmanager
def _lending(url: str) -> Iterator[None]:
    """Lets the pipeline own what is in the owner's schemas before the grants on those are restored, which come last.

    A superuser does not need it, and lends nothing.
    """
    with open_cursor(url) as cursor:
        cursor.execute(_LEND)
        try:
            yield
        finally:
            cursor.execute(roles.NO_OWNER)


def _settings() -> Settings:
    """Without prod's refusals: the databases are reached by passwords of their own here."""
    return read_settings(layers())


def _target(name: str) -> Path:
    if name.startswith("-"):
        raise StackError(f"{name} is no name of a backup; that comes first: backup NAME [{LAKE}], restore NAME.")
    return BACKUPS / name


def _fetch_bentos(place: Place) -> list[str]:
    """Brings here what other machines have built, which may lie in their store alone; gives what is nowhere."""
    warehouse = place.urls["headwater"]
    if not database.exists(warehouse, "ops.evidence"):
        return []
    rows = database.query(warehouse, _BENTOS)
    return [row["bento"] for row in rows if not bento_folder(_settings(), row["bento"]).is_dir()]


def _hand_out_bentos(place: Place, report: Report) -> None:
    """Gives them to the other machines, where there are some.

    A store that was not lost may have Bentos of after the backup, whose names the next versions are to have.
    """
    settings, bentos = _settings(), place.folders["bentos"]
    there = {f"{folder.parent.name}/{folder.name}": folder for folder in sorted(bentos.glob("[!.]*/[!.]*/"))}
    kept = {name: bento_sha256(folder) for name, folder in there.items()}
    for name in shared.keep_only(settings, bentos, BENTO_FILE, kept):
        report(f"the Bento {name.replace('/', ':')} of {settings.files} is not in the backup, and was set aside")
    for name in there:
        publish(settings, name.replace("/", ":"))


def _place(given: Mapping[str, str]) -> Place:
    url = urls(given)
    return in_containers(_settings(), lambda name: url(name, ADMIN))


def prepare(given: Mapping[str, str]) -> None:
    """Makes the databases, and the roles that owners and grants of a backup name."""
    passwords, url = passwords_of(given), urls(given)
    make_databases(url, passwords)
    with open_cursor(url(ADMIN)) as cursor:
        for role in (roles.PIPELINE, roles.ANALYST, roles.SERVING):
            create_role(cursor, role, passwords[role])
