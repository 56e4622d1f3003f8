"""Base images under their public names, where they cannot be pulled: made of Debian's packages, and kept.

The Dockerfile and the compose file are used as they are; they meet the same programs as in the public images, built by
another. A machine that can pull them does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.containers.engine import CACHE, DEBIAN, Engine, NoEngineError

STANDINS = Path(__file__).with_name("standins")
PACKAGES = {
    "python": "ca-certificates,python3.13,python3.13-venv,python3-pip,tzdata",
    "postgres": "ca-certificates,postgresql-17",
    "valkey": "passwd,valkey-server,valkey-tools",
}
NAMES = {"python": "python:3.13-slim-trixie", "postgres": "postgres:17", "valkey": "valkey/valkey:8"}
LABEL = "headwater.standin"
OBJECT_STORE = "headwater-standin/s3"
PROJECT = Path(__file__).resolve().parents[2]
MADE_S = 1200.0
PULLED_S = 300.0


def provide(engine: Engine, *kinds: str) -> None:
    """Has base images there, under the names of the public ones.

    Raises:
        NoEngineError: they can neither be pulled nor be made.
    """
    with ThreadPoolExecutor() as threads:  # each is minutes of one core
        list(threads.map(partial(_provide, engine), kinds))


def _provide(engine: Engine, kind: str) -> None:
    if not engine.run("images", "--quiet", NAMES[kind]):
        try:
            engine.run("pull", "--quiet", NAMES[kind], timeout_s=PULLED_S)
        except (AssertionError, subprocess.TimeoutExpired):
            _make(engine, kind)
    elif (made_of := _made_of(engine, NAMES[kind])) is not None and made_of != _digest():
        _make(engine, kind)


def _made_of(engine: Engine, image: str) -> str | None:
    """What a stand-in was made of; None of a public image."""
    (found,) = json.loads(engine.run("image", "inspect", image))
    label: str | None = (found["Config"].get("Labels") or {}).get(LABEL)
    return label


def _digest() -> str:
    """A hash of what stand-ins are made of."""
    found = hashlib.sha256(repr(PACKAGES).encode())
    for path in sorted(STANDINS.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def _make(engine: Engine, kind: str) -> None:
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        raise NoEngineError(f"{NAMES[kind]} cannot be pulled, and to make a stand-in takes root and mmdebstrap")
    imported = f"headwater-standin/trixie-{kind}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        archive = Path(folder) / "root.tar"
        made = subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES[kind]}",
             '--aptopt=APT::Install-Recommends "false"', "--dpkgopt=force-unsafe-io", "trixie", str(archive), DEBIAN],
            check=False,
            capture_output=True,
            text=True,
            timeout=MADE_S,
        )  # fmt: skip
        if made.returncode:
            raise NoEngineError(f"{NAMES[kind]} can neither be pulled nor made: {made.stderr.strip()[-300:]}")
        engine.run("import", str(archive), imported, timeout_s=MADE_S)
        context = Path(folder) / "context"
        shutil.copytree(STANDINS, context)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        _build(engine, kind, context)


def _build(engine: Engine, kind: str, context: Path) -> None:
    compose = ("compose", "--file", str(context / "compose.yaml"))
    network = "host" if engine.own else "default"
    given = {"CONTEXT": str(context), "NETWORK": network, "DIGEST": _digest()}
    engine.run(*compose, "build", kind, timeout_s=MADE_S, **given)


def provide_object_store(engine: Engine) -> None:
    """Has the image of an object store there, which is no public one's; the one for Python is there already."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        shutil.copytree(STANDINS, context)
        shutil.copy(PROJECT / "tests" / "object_store.py", context)
        (context / "s3.txt").write_text(_locked("moto", "flask-cors"))
        _build(engine, "s3", context)


def _locked(*names: str) -> str:
    """Requirements with hashes for these of the packages in `dev.in` and what they need, as they are in the lock."""
    wanted = [line for line in (PROJECT / "requirements" / "dev.in").read_text().splitlines() if line.startswith(names)]
    lock = PROJECT / "requirements" / "dev.txt"
    command = [Path(sys.executable).with_name("uv"), "pip", "compile", "--quiet", "--python-version", "3.13",
               "--generate-hashes", "--no-emit-index-url", "--constraint", lock, "-"]  # fmt: skip
    done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True, check=True, timeout=300)
    return done.stdout
