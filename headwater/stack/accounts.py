"""Which operating-system account runs Postgres, and what that account can reach.

Postgres refuses to run as root, so root hands it to an account without rights. That account may be unable to
pass a folder above the data (a clone below `/root`, a folder made with mode 0700), which is asked here.
"""

from __future__ import annotations

import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNPRIVILEGED = "nobody"
UNPRIVILEGED_ID = 65534


@dataclass(frozen=True, slots=True)
class Account:
    """An account by its numbers; `dropped` says that it is not the one of this process."""

    uid: int
    gid: int
    dropped: bool

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments of `subprocess.Popen` that run the child under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.dropped else {}

    def become(self) -> None:
        """Turn this process into the account, for good."""
        if self.dropped:
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)

    def own(self, path: Path) -> None:
        """Give a file or folder (not what is in it) to the account."""
        if self.dropped:
            os.chown(path, self.uid, self.gid)

    def reaches(self, folder: Path) -> bool:
        """Whether the account can pass every folder down to and including `folder`.

        Only the permission for others counts: the folders above belong to whoever cloned the project.
        """
        folder = folder.resolve()
        return not self.dropped or all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def postgres_account() -> Account:
    """The account for Postgres: this process's own, or an unprivileged one when that is root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), dropped=False)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        return Account(UNPRIVILEGED_ID, UNPRIVILEGED_ID, dropped=True)
    return Account(entry.pw_uid, entry.pw_gid, dropped=True)


def copy_readable(source: Path, target: Path) -> None:
    """Copy a tree for every account to read; a copy that was cut short is never taken for a whole."""
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, part, symlinks=True)
    for path in (part, *part.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    part.rename(target)
