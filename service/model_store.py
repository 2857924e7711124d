"""artifacts/ on disk → models that were checked and are warm, in a snapshot that is replaced as a whole.

A request looks its model up once and keeps it, so a new snapshot never takes a model from under it.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from service.artifact_files import first_fault, unreadable
from service.engines import Engine
from service.errors import UnknownModel, UnknownVersion, brief, counted
from service.manifest import ALIASES, MANIFEST, MODEL, NAME_PATTERN, VERSION_PATTERN, Manifest, served_files
from service.memory import give_back
from service.model import Model, RefusedError
from service.standby import KeepOpen, Standby

HASHING_THREADS = 4
SWEEPS = 4  # in the time after which an idle engine is let go
SHORTEST_SWEEP = 0.1  # seconds between them at least: a look at every model costs the loop something
LONGEST_SWEEP = 10.0  # a model that could not be opened is not ready for so long after it could be again

log = logging.getLogger("convscope.models")


class Refused(NamedTuple):
    """A version folder, or an alias, that is not served. `version` is None for an alias."""

    name: str
    version: str | None
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """What is served at one moment. Never changed, only replaced."""

    versions: dict[str, dict[str, Model]] = field(default_factory=dict)
    """name → version → model, the latest version last"""
    aliases: dict[str, str] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()

    def find(self, name: str, version: str | None = None) -> Model:
        """By name or alias, the latest version unless told. Raises UnknownModel, UnknownVersion."""
        versions = self.versions.get(self.aliases.get(name, name))
        if versions is None:
            raise UnknownModel(self._unknown(name))
        if version is None:
            return next(reversed(versions.values()))
        if version not in versions:
            refused = self._refused(self.aliases.get(name, name), version)
            raise UnknownVersion(
                f"{name} has no version {brief(version)!r}; it has {', '.join(versions)}{refused}"
            )
        return versions[version]

    def get(self, name: str) -> Model | None:
        """The latest version by name or alias; None where there is none."""
        versions = self.versions.get(self.aliases.get(name, name))
        return None if versions is None else next(reversed(versions.values()))

    def latest(self) -> list[Model]:
        """The latest version of every model, by name."""
        return [self.find(name) for name in self.versions]

    def refused_now(self) -> Iterator[Refused]:
        """What was refused at the start, and versions whose files have become unservable since."""
        yield from self.refused
        for model in self.all():
            if model.unavailable is not None:
                yield Refused(model.name, model.version, model.unavailable)

    def all(self) -> Iterator[Model]:
        """Every version of every model."""
        return (model for versions in self.versions.values() for model in versions.values())

    def aliases_of(self, name: str) -> list[str]:
        return [alias for alias, target in self.aliases.items() if target == name]

    def _unknown(self, name: str) -> str:
        there = ", ".join([*self.aliases, *self.versions]) or "none"
        return f"there is no model {brief(name)!r}; there are {there}{self._refused(name)}"

    def _refused(self, name: str, version: str | None = None) -> str:
        """What was refused of this name, or its one version, with the reason, as the end of a sentence."""
        return "".join(
            f"; {f'version {one.version}' if one.version else 'the alias'} was refused: {one.reason}"
            for one in self.refused
            if one.name == name and version in (None, one.version)
        )


class ModelStore:
    """Keeps the snapshot in step with the folder. `load_engine` opens a graph with the engine in use;
    `make_model` puts manifest and engine together.

    Every model is opened to see whether it works. Unless `keep_open` is "all", the engines are let go then, and opened
    again when somebody asks; those that it leaves out are let go once more after `idle` seconds. A version that comes
    later is not let go at first: it may take the place of one that is asked all the time.
    """

    def __init__(
        self,
        artifacts: Path,
        load_engine: Callable[[Path, Manifest], Engine],
        make_model: Callable[[Manifest, Engine], Model],
        *,
        keep_open: KeepOpen = "all",
        idle: float = 300.0,
    ) -> None:
        self._artifacts = artifacts
        self._load_engine = load_engine
        self._make_model = make_model
        self._keep_open = keep_open
        self._idle = idle
        self._reloading = asyncio.Lock()
        self._started = False
        self.snapshot = Snapshot()

    async def reload(self) -> Snapshot:
        """Reads the folder again. Versions already served stay as they are, new ones are checked and warmed
        first, and then the snapshot is swapped in one step."""
        async with self._reloading:
            self.snapshot = await asyncio.to_thread(self._read)
            if not self._started:
                for model in self.snapshot.all():
                    model.let_go(0)
                self._started = True
            give_back()
        return self.snapshot

    async def tend(self) -> None:
        """Lets go of idle engines, and tries those again that could not be opened, until it is cancelled."""
        while True:
            await asyncio.sleep(min(max(self._idle / SWEEPS, SHORTEST_SWEEP), LONGEST_SWEEP))
            if self.let_go():
                with suppress(RuntimeError):  # for want of a thread: it is done by the next there is
                    await asyncio.to_thread(give_back)
            await asyncio.gather(*(model.try_again() for model in self.snapshot.all()))

    def let_go(self) -> list[Model]:
        """Closes the engines that nobody used for a while and that are not to be kept open; gives their models."""
        return [
            model for model in self.snapshot.all() if not self._is_kept(model) and model.let_go(self._idle)
        ]

    def _is_kept(self, model: Model) -> bool:
        if self._keep_open == "aliases":
            return any(self.snapshot.get(alias) is model for alias in self.snapshot.aliases)
        return self._keep_open == "all"

    async def drain(self, limit: float) -> None:
        """Every model finishes what it has, within `limit` seconds."""
        await asyncio.gather(*(model.drain(limit) for model in self.snapshot.all()))

    def _read(self) -> Snapshot:
        folders = sorted(
            _version_folders(self._artifacts / "models"), key=lambda it: (it.parent.name, int(it.name))
        )
        with ThreadPoolExecutor(HASHING_THREADS) as threads:
            outcomes = list(threads.map(self._open, folders))
        served = list(self.snapshot.all())
        versions: dict[str, dict[str, Model]] = {}
        for model in outcomes:
            if isinstance(model, Model):
                if model not in served:
                    model.time_runs()
                versions.setdefault(model.name, {})[model.version] = model
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        refused += _misnamed(self._artifacts / "models")
        aliases, dangling = _read_aliases(self._artifacts / ALIASES, versions.keys())
        for one in (*refused, *dangling):
            log.warning("refused %s %s: %s", one.name, one.version or "(alias)", one.reason)
        if versions:
            log.info("serving %s", ", ".join(f"{name} {'+'.join(them)}" for name, them in versions.items()))
        else:
            log.warning("serving nothing: there is no model to serve in %s", self._artifacts / "models")
        return Snapshot(versions, aliases, (*refused, *dangling))

    def _open(self, folder: Path) -> Model | Refused:
        """Whatever is wrong with a folder is that folder's matter: the others are served."""
        name, version = folder.parent.name, folder.name
        try:
            return self._load(folder)
        except RefusedError as error:
            return Refused(name, version, str(error))
        except Exception as error:
            log.exception("models/%s/%s failed", name, version)
            return Refused(name, version, f"it failed in warm-up: {type(error).__name__}")

    def _load(self, folder: Path) -> Model:
        manifest = _read_manifest(folder)
        served = self.snapshot.versions.get(manifest.name, {}).get(manifest.version)
        if served is not None and served.manifest == manifest:
            return served
        engine = self._open_engine(folder, manifest, manifest.files)
        if self._keep_open != "all":
            # What it does not need may well have changed meanwhile.
            reopen = partial(self._open_engine, folder, manifest, served_files(manifest))
            engine = Standby(engine, reopen)
        model = self._make_model(manifest, engine)
        try:
            model.warm_up()
        except ValueError as error:
            raise RefusedError(f"it failed in warm-up: {error}") from error
        return model

    def _open_engine(self, folder: Path, manifest: Manifest, files: Collection[str]) -> Engine:
        reason = first_fault(folder, manifest, files)
        if reason is not None:
            raise RefusedError(reason)
        try:
            return self._load_engine(folder / MODEL, manifest)
        except FileNotFoundError as error:
            raise RefusedError(f"{Path(error.filename).name} is missing, which the engine needs") from error


def _version_folders(models: Path) -> Iterator[Path]:
    """models/<name>/<whole number>/; anything else, such as a folder still being written, is no version."""
    return (
        folder
        for folder in _found(models, "*/*")
        if re.fullmatch(VERSION_PATTERN, folder.name) and _is_folder(folder)
    )


def _found(models: Path, pattern: str) -> list[Path]:
    """In order. Nothing where the folder cannot be looked into, as where it is not there."""
    try:
        return sorted(models.glob(pattern))
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # whatever it is: who reads its manifest is told why that cannot be
        return True


def _misnamed(models: Path) -> Iterator[Refused]:
    """What was meant for a version, and is none. A folder still being written has a hidden name."""
    for file in _found(models, f"*/*/{MANIFEST}"):
        name = file.parent.name
        if not name.startswith(".") and not re.fullmatch(VERSION_PATTERN, name):
            reason = "its folder's name is no version: a whole number from 1, without zeros before it"
            yield Refused(file.parent.parent.name, name, reason)


def _read_manifest(folder: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise RefusedError(unreadable(MANIFEST, error)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "as a whole"
        places = counted(error.error_count(), "place")
        raise RefusedError(
            f"{MANIFEST} does not follow the schema in {places}, first {where}: {first['msg']}"
        ) from None
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise RefusedError(f"{MANIFEST} is of {manifest.name} {manifest.version}, which is another folder")
    return manifest


def _read_aliases(path: Path, served: Collection[str]) -> tuple[dict[str, str], list[Refused]]:
    """The aliases of models that are served, and the others with the reason. No file is no aliases."""
    try:
        aliases = TypeAdapter(dict[str, str]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [Refused(ALIASES, None, f"it cannot be read: {error.strerror}")]
    except ValidationError:
        return {}, [Refused(ALIASES, None, 'it is no JSON object of "alias": "model"')]
    good, refused = {}, []
    for alias, target in aliases.items():
        if not re.fullmatch(NAME_PATTERN, alias):
            refused.append(
                Refused(alias, None, "it is no name that a path can have: small letters, digits, . _ -")
            )
        elif target not in served:
            refused.append(Refused(alias, None, f"it stands for {target!r}, which is not served"))
        elif alias in served:
            refused.append(Refused(alias, None, "a model has this name, and would be hidden"))
        else:
            good[alias] = target
    return good, refused
