"""Runs hostile cases in a process of its own, under limits of memory and time: ``python -m tests.hostile.run``.

Prints a line of JSON a case as it begins and as it ends, so that whoever waits knows which one took the process down.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
import unicodedata
import warnings
from pathlib import Path
from typing import Any

from tests.hostile import looks, templates
from tests.hostile.writers import Catalogue, spoil_file

SECONDS = 60  # for a case, on a machine that does other things too
ROOM = 1 << 30  # bytes beyond what the process has when it begins


def limit() -> None:
    """No more memory than now and ``ROOM``."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, resource.RLIM_INFINITY))


def steers(text: str) -> bool:
    """Whether text would do something to a terminal."""
    return any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text.replace("\n", "").replace("\t", ""))


class Scene:
    """One kind of hostile thing: made from a template, spoilt, looked at."""

    def __init__(self, kind: str, number: int) -> None:
        self.kind, self.number = kind, number
        self.home = Path(tempfile.mkdtemp(prefix="hostile"))
        whole = self.home / "whole"
        whole.mkdir()
        made = {"packed": templates.packed, "words": lambda p, _: templates.words(p), "collection": _collection}[kind]
        self.source = made(whole / ("notes" if kind == "collection" else "a.nf"), number)
        self.target = self.home / self.source.name

    def fresh(self) -> None:
        """A sound copy."""
        if self.kind != "collection":
            shutil.copyfile(self.source, self.target)
            return
        shutil.rmtree(self.target, ignore_errors=True)
        shutil.copytree(self.source, self.target)

    def spoil(self, draw: random.Random) -> str:
        """A fresh copy with something wrong in it; what it was."""
        self.fresh()
        if self.kind != "collection":
            return spoil_file(self.target, draw)
        if draw.random() < 0.5:
            with Catalogue(self.target) as made:
                return made.spoil(draw)
        files = sorted(p for p in self.target.rglob("*.nf"))
        path = draw.choice(files)
        return f"{path.name.count('.')} {path.parent.name}: {spoil_file(path, draw)}"

    def look(self) -> list[str]:
        """What is found wrong with it; raises what is raised."""
        look = {"packed": looks.at_packed, "words": looks.at_words, "collection": looks.at_collection}[self.kind]
        return look(self.target)

    def verbs(self) -> None:
        """What the command line says: one line for an error, and nothing that steers a terminal."""
        from nearfield.cli import cli, guarded

        verbs = [["info"], ["info", "--json"]] if self.kind == "packed" else []
        if self.kind == "collection":
            verbs = [["info"], ["check"], ["check", "--json"], ["repair", "--dry-run"], ["get", "--limit", "30"]]
        for verb in verbs:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                arguments = [verb[0], str(self.target), *verb[1:]]
                code = guarded(
                    lambda given=arguments: cli.main(args=given, prog_name="nearfield", standalone_mode=False)
                )
            said = out.getvalue() + err.getvalue()
            if code not in (0, 1, 2) or steers(said) or "Traceback" in said:
                raise AssertionError(f"{verb}: {code} {said[-300:]!r}")

    def repaired(self) -> None:
        """What was repaired opens, and is sound."""
        from nearfield.collection.health import repair
        from nearfield.core.errors import Corrupt, NearfieldError

        try:
            repair(self.target, dry_run=False)
        except NearfieldError:
            return
        try:
            found = looks.at_collection(self.target)
        except Corrupt as error:
            if "plans" in str(error) or re.search(r"segments/\w+\.\d+\.", str(error)):
                return  # what was derived, or cannot be derived again, is told and not thrown away
            raise AssertionError(f"repaired, and does not open: {error}") from None
        if any("tail" in line or "hashes" in line for line in found):
            raise AssertionError(f"repaired, and not sound: {found[0]}")

    def close(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.home, ignore_errors=True)


def _collection(place: Path, number: int) -> Path:
    plans = ["int8 | rescore(codec='float16', depth=4)", None, "binary | ivf(lists=4)", "int8 | vamana(degree=6)"]
    return templates.collection(place, named=number % 2 == 0, plan=plans[number % len(plans)])


def outcome(scene: Scene, draw: random.Random) -> tuple[str, str]:
    """How a case ends: ``right``, ``named``, ``found`` by a check, or else what is wrong."""
    from nearfield.core.errors import BadInput, NearfieldError

    try:
        found = scene.look()
        ended = "found" if found else "right"
        if any(steers(line) for line in found):
            return "wrong", f"steers a terminal: {found!r}"
    except NearfieldError as error:
        told = str(error)
        if "\n" in told or steers(told) or scene.target.name not in told:
            return "wrong", f"not one line that names the file: {told!r}"
        if isinstance(error, BadInput) and "more memory" in told:
            return "wrong", f"claims more memory than it has bytes for: {told!r}"
        ended = "named"
    if draw.random() < 0.2:
        scene.verbs()
    if scene.kind == "collection" and draw.random() < 0.3:
        scene.repaired()
    return ended, ""


def main(kind: str, seed: int, count: int) -> None:
    """Run so many cases of one kind."""
    warnings.simplefilter("ignore")
    scene = Scene(kind, seed)
    scene.fresh()
    found = scene.look()
    if found:
        raise AssertionError(f"a sound one is not: {found}")
    limit()
    for case in range(count):
        draw = random.Random(f"{kind} {seed} {case}")
        _say(case=case, begins=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            what = scene.spoil(draw)
            ended, told = outcome(scene, draw)
        except BaseException as error:
            ended, told = "wrong", f"{type(error).__name__}: {str(error)[:300]} | {_place(error)}"
        faulthandler.cancel_dump_traceback_later()
        _say(case=case, what=what, ended=ended, told=told)
    scene.close()


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))


def _say(**told: Any) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
