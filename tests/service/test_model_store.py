"""Folders that are right and folders that are not, read by the real engine."""

import asyncio
import errno
import json
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.app import create_app
from service.errors import NotReady, UnknownModel, UnknownVersion
from service.manifest import MANIFEST, MODEL, file_entry
from service.model import Model
from service.model_store import LONGEST_SWEEP, SHORTEST_SWEEP, SWEEPS, ModelStore, Snapshot
from service.settings import Settings
from service.standby import Standby
from tests.service.held import PATIENCE
from tests.service.stripes import stripe, stripes_graph, write_aliases, write_model
from tests.service.test_errands import no_thread_can_be_started


def store_of(artifacts: Path, **settings: Any) -> ModelStore:
    store: ModelStore = create_app(Settings(artifacts=artifacts, **settings)).state.service.store
    return store


def is_open(model: Model) -> bool:
    return not isinstance(model.engine, Standby) or model.engine.is_open


def rewrite(folder: Path, **changes: Any) -> None:
    """Changes top-level entries of a manifest."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reasons(snapshot: Snapshot) -> dict[str, str]:
    return {one.name: one.reason for one in snapshot.refused}


async def test_the_latest_whole_number_wins(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        write_model(tmp_path, "stripes", version)
    (tmp_path / "models" / "stripes" / "11.partial").mkdir()
    snapshot = await store_of(tmp_path).reload()
    assert list(snapshot.versions["stripes"]) == ["2", "9", "10"]
    assert snapshot.find("stripes").version == "10"
    assert snapshot.find("stripes", "9").version == "9"
    assert snapshot.refused == ()


@pytest.mark.parametrize("name", ["02", "v2", "0"])
async def test_a_folder_that_was_meant_for_a_version_and_is_none_is_told(tmp_path: Path, name: str) -> None:
    version = write_model(tmp_path, "stripes", "1")
    for other in (name, ".partial-2"):
        shutil.copytree(version, version.with_name(other))
    snapshot = await store_of(tmp_path).reload()
    assert list(snapshot.versions["stripes"]) == ["1"]
    [refused] = snapshot.refused
    assert (refused.name, refused.version) == ("stripes", name)
    assert "no version" in refused.reason


async def test_an_unknown_model_or_version_lists_those_there_are(artifacts: Path) -> None:
    snapshot = await store_of(artifacts).reload()
    with pytest.raises(
        UnknownModel, match="no model 'mnits'; there are mnist, cifar10, stripes, stripes-colour"
    ):
        snapshot.find("mnits")
    with pytest.raises(UnknownVersion, match="mnist has no version '2'; it has 1"):
        snapshot.find("mnist", "2")


async def test_an_empty_folder_is_no_models_and_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await store_of(tmp_path).reload()).versions == {}
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(tmp_path / "models") in warning


async def test_a_changed_file_is_refused_and_the_others_are_served(artifacts: Path) -> None:
    graph = artifacts / "models" / "stripes" / "1" / MODEL
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    snapshot = await store_of(artifacts).reload()
    assert reasons(snapshot)["stripes"] == f"{MODEL} has another checksum than the manifest says"
    assert list(snapshot.versions) == ["stripes-colour"]
    with pytest.raises(UnknownModel, match=r"version 1 was refused: model\.onnx has another checksum"):
        snapshot.find("stripes")


async def test_a_truncated_file_is_refused(artifacts: Path) -> None:
    graph = artifacts / "models" / "stripes" / "1" / MODEL
    graph.write_bytes(graph.read_bytes()[:-1])
    assert "bytes, not" in reasons(await store_of(artifacts).reload())["stripes"]


@pytest.mark.parametrize("keep_open", ["all", "none"])
async def test_a_version_is_refused_also_for_a_file_that_predictions_do_not_need(
    artifacts: Path, keep_open: str
) -> None:
    folder = artifacts / "models" / "stripes" / "1"
    (folder / "history.json").write_text("[]")
    files = json.loads((folder / MANIFEST).read_text())["files"]
    rewrite(folder, files=files | {"history.json": file_entry(folder / "history.json").model_dump()})
    (folder / "history.json").write_text("{}")
    snapshot = await store_of(artifacts, keep_open=keep_open).reload()
    assert reasons(snapshot)["stripes"] == "history.json has another checksum than the manifest says"


async def test_a_missing_file_is_refused(artifacts: Path) -> None:
    (artifacts / "models" / "stripes" / "1" / MODEL).unlink()
    assert reasons(await store_of(artifacts).reload())["stripes"] == f"{MODEL} is missing"


async def test_a_folder_without_a_manifest_is_refused(artifacts: Path) -> None:
    (artifacts / "models" / "stripes" / "1" / MANIFEST).unlink()
    assert reasons(await store_of(artifacts).reload())["stripes"] == f"{MANIFEST} is missing"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"parameters": "many"}, "first parameters"),
        ({"schema_version": 2}, "first schema_version"),
        ({"surprise": 1}, "first surprise"),
        ({"files": {"../../secret": {"bytes": 1, "sha256": "0" * 64}}}, "first files"),
        ({"files": {}}, "files lists no model.onnx"),
        ({"name": "another"}, "which is another folder"),
        ({"version": "2"}, "which is another folder"),
    ],
)
async def test_a_manifest_against_the_schema_is_refused(
    artifacts: Path, changes: dict[str, Any], reason: str
) -> None:
    rewrite(artifacts / "models" / "stripes" / "1", **changes)
    assert reason in reasons(await store_of(artifacts).reload())["stripes"]


async def test_a_manifest_that_is_no_json_is_refused(artifacts: Path) -> None:
    (artifacts / "models" / "stripes" / "1" / MANIFEST).write_bytes(b"\x00{")
    assert "does not follow the schema" in reasons(await store_of(artifacts).reload())["stripes"]


async def test_a_graph_that_is_none_is_refused_without_a_path(tmp_path: Path) -> None:
    write_model(tmp_path, "broken", graph=b"no graph")
    [reason] = reasons(await store_of(tmp_path).reload()).values()
    assert reason.startswith("it failed in warm-up: ")
    assert str(tmp_path) not in reason


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (stripes_graph("mnist", classes=7), "gives [1, 7], not [1, 10]"),
        (stripes_graph("mnist", last="Neg"), "no probabilities"),
        (stripes_graph("cifar10"), "it failed in warm-up"),
    ],
    ids=["too-few-classes", "no-probabilities", "another-input"],
)
async def test_a_model_that_fails_its_warm_up_is_refused(tmp_path: Path, graph: Any, reason: str) -> None:
    write_model(tmp_path, "failing", graph=graph.SerializeToString())
    assert reason in reasons(await store_of(tmp_path).reload())["failing"]


async def test_an_alias_of_nothing_is_refused_and_the_others_hold(artifacts: Path) -> None:
    write_aliases(artifacts, {"mnist": "stripes", "cifar10": "gone"})
    snapshot = await store_of(artifacts).reload()
    assert snapshot.aliases == {"mnist": "stripes"}
    assert reasons(snapshot) == {"cifar10": "it stands for 'gone', which is not served"}


async def test_an_alias_may_not_hide_a_model(artifacts: Path) -> None:
    write_aliases(artifacts, {"mnist": "stripes", "stripes": "stripes-colour"})
    snapshot = await store_of(artifacts).reload()
    assert snapshot.aliases == {"mnist": "stripes"}
    assert snapshot.find("stripes").name == "stripes"
    assert "would be hidden" in reasons(snapshot)["stripes"]


async def test_an_alias_that_no_path_can_have_is_refused(artifacts: Path) -> None:
    write_aliases(artifacts, {"mnist": "stripes", "": "stripes", "a/b": "stripes", "Digits": "stripes"})
    snapshot = await store_of(artifacts).reload()
    assert snapshot.aliases == {"mnist": "stripes"}
    assert [one.name for one in snapshot.refused] == ["", "a/b", "Digits"]
    assert all("no name that a path can have" in one.reason for one in snapshot.refused)


async def test_whoever_asks_for_a_refused_version_is_told_why(artifacts: Path) -> None:
    write_model(artifacts, "stripes", "2")
    (artifacts / "models" / "stripes" / "1" / MODEL).unlink()
    snapshot = await store_of(artifacts).reload()
    why = r"stripes has no version '1'; it has 2; version 1 was refused: model\.onnx is missing"
    with pytest.raises(UnknownVersion, match=why):
        snapshot.find("stripes", "1")
    with pytest.raises(UnknownVersion, match=why.replace("stripes", "mnist", 1)):
        snapshot.find("mnist", "1")
    with pytest.raises(UnknownVersion, match=r"it has 2$"):
        snapshot.find("stripes", "7")


async def test_whoever_asks_for_a_refused_alias_is_told_why(artifacts: Path) -> None:
    write_aliases(artifacts, {"mnist": "gone"})
    snapshot = await store_of(artifacts).reload()
    with pytest.raises(
        UnknownModel, match="; the alias was refused: it stands for 'gone', which is not served"
    ):
        snapshot.find("mnist")


async def test_aliases_that_cannot_be_read_leave_the_models_served(artifacts: Path) -> None:
    (artifacts / "aliases.json").unlink()
    (artifacts / "aliases.json").mkdir()
    snapshot = await store_of(artifacts).reload()
    assert snapshot.find("stripes").name == "stripes"
    assert reasons(snapshot)["aliases.json"] == "it cannot be read: Is a directory"


@pytest.mark.parametrize("text", ["", "[]", '{"mnist": 1}', "\x00"])
async def test_broken_aliases_leave_the_models_served(artifacts: Path, text: str) -> None:
    (artifacts / "aliases.json").write_text(text)
    snapshot = await store_of(artifacts).reload()
    assert snapshot.aliases == {}
    assert snapshot.find("stripes").name == "stripes"
    assert "no JSON object" in reasons(snapshot)["aliases.json"]


async def test_reloading_swaps_versions_and_keeps_what_did_not_change(artifacts: Path) -> None:
    store = store_of(artifacts)
    before = await store.reload()
    held = before.find("stripes")
    write_model(artifacts, "stripes", "2")
    after = await store.reload()
    assert after.find("stripes").version == "2"
    assert after.find("stripes", "1") is held
    assert before.find("stripes") is held


async def test_a_request_keeps_its_model_through_a_swap(artifacts: Path) -> None:
    store = store_of(artifacts)
    held = (await store.reload()).find("stripes")
    assert (await held.predict(stripe(2)[None])).argmax() == 2
    folder = artifacts / "models" / "stripes" / "1"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    after = await store.reload()
    with pytest.raises(UnknownModel):
        after.find("stripes")
    assert (await held.predict(stripe(3)[None])).argmax() == 3


async def test_a_failed_reload_of_a_version_leaves_the_others(artifacts: Path) -> None:
    store = store_of(artifacts)
    await store.reload()
    folder = write_model(artifacts, "stripes", "2")
    rewrite(folder, files={MODEL: file_entry(folder / MODEL).model_dump() | {"sha256": "0" * 64}})
    after = await store.reload()
    assert after.find("stripes").version == "1"
    assert [(one.name, one.version) for one in after.refused] == [("stripes", "2")]


async def test_a_model_answers_in_the_order_of_the_rows(artifacts: Path) -> None:
    model = (await store_of(artifacts).reload()).find("mnist")
    images = np.stack([stripe(digit % 10) for digit in range(200)])
    probabilities = await model.predict(images)
    assert probabilities.shape == (200, 10)
    assert probabilities.argmax(axis=1).tolist() == [digit % 10 for digit in range(200)]


@pytest.mark.parametrize(
    ("keep_open", "at_first", "in_the_end"), [("all", "ab", "ab"), ("aliases", "", "a"), ("none", "", "")]
)
async def test_models_that_are_kept_open_are_so_from_their_first_use(
    tmp_path: Path, keep_open: str, at_first: str, in_the_end: str
) -> None:
    def open_ones() -> str:
        return "".join(model.name for model in store.snapshot.all() if is_open(model))

    for name in "ab":
        write_model(tmp_path, name)
    write_aliases(tmp_path, {"mnist": "a"})
    store = store_of(tmp_path, keep_open=keep_open, engine_idle=3600)
    models = list((await store.reload()).all())
    assert open_ones() == at_first
    for model in models:
        assert (await model.predict(stripe(3)[None])).argmax() == 3
    assert open_ones() == "ab"
    for model in models:
        model._used -= 3600
    store.let_go()
    assert open_ones() == in_the_end


async def test_a_version_that_comes_later_is_open_when_it_takes_the_place_of_another(artifacts: Path) -> None:
    store = store_of(artifacts, keep_open="none", engine_idle=3600)
    await store.reload()
    write_model(artifacts, "stripes", "2")
    newer = (await store.reload()).find("mnist")
    assert (newer.version, is_open(newer)) == ("2", True)
    assert store.let_go() == []
    newer._used -= 3600
    assert store.let_go() == [newer]


async def test_a_model_whose_engine_was_let_go_opens_it_answers_and_lets_go_of_it_when_it_is_idle(
    artifacts: Path,
) -> None:
    store = store_of(artifacts, keep_open="none", engine_idle=3600)
    model = (await store.reload()).find("mnist")
    learned = model._batcher.load.seconds(1)
    assert (await model.predict(stripe(3)[None])).argmax() == 3
    assert is_open(model)
    assert store.let_go() == []  # it was used just now
    assert 0 < learned != model._batcher.load.seconds(1) > 0  # by the trial runs, then by the run
    model._used -= 3600
    assert store.let_go() == [model]
    assert not is_open(model)
    assert (await model.predict(stripe(4)[None])).argmax() == 4


async def test_a_running_service_lets_go_of_idle_engines(artifacts: Path) -> None:
    app = create_app(Settings(artifacts=artifacts, keep_open="none", engine_idle=0.001))
    async with app.router.lifespan_context(app):
        model = app.state.service.store.snapshot.find("mnist")
        await model.predict(stripe(3)[None])
        async with asyncio.timeout(PATIENCE):
            while is_open(model):  # noqa: ASYNC110 — nobody is told of it
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("idle", "pause"), [(20, 20 / SWEEPS), (1e-6, SHORTEST_SWEEP), (3600, LONGEST_SWEEP)]
)
async def test_idle_engines_are_looked_for_several_times_in_what_they_may_be_idle_but_not_all_the_time(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, idle: float, pause: float
) -> None:
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    store = store_of(artifacts, keep_open="none", engine_idle=idle)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await store.tend()
    assert slept == [pause]


async def test_they_are_looked_for_also_after_there_was_no_thread_to_give_memory_back(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = list[bool]()

    def let_go() -> bool:
        swept.append(True)
        if len(swept) > 1:
            raise asyncio.CancelledError
        return True

    store = store_of(artifacts, keep_open="none", engine_idle=1e-6)
    monkeypatch.setattr("service.model_store.SHORTEST_SWEEP", 0)
    monkeypatch.setattr(store, "let_go", let_go)
    with no_thread_can_be_started(), pytest.raises(asyncio.CancelledError):
        await store.tend()
    assert len(swept) == 2


async def test_what_opening_the_models_took_is_given_back(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[bool]()
    store = store_of(artifacts, keep_open="none")
    monkeypatch.setattr(
        "service.model_store.give_back", lambda: given.append(any(map(is_open, store.snapshot.all())))
    )
    await store.reload()
    assert given == [False]  # once they are closed


async def test_a_model_that_is_no_alias_any_more_is_not_kept_open(artifacts: Path) -> None:
    store = store_of(artifacts, keep_open="aliases", engine_idle=3600)
    model = (await store.reload()).find("mnist")
    await model.predict(stripe(3)[None])
    model._used -= 3600
    assert store.let_go() == []
    write_aliases(artifacts, {})
    await store.reload()
    assert store.let_go() == [model]


@pytest.mark.parametrize("inline_run", [0, 10])  # by the model's thread; by the loop
async def test_an_engine_that_is_used_now_and_then_is_kept(artifacts: Path, inline_run: float) -> None:
    store = store_of(artifacts, keep_open="none", engine_idle=3600, inline_run=inline_run)
    model = (await store.reload()).find("mnist")
    for digit in range(3):  # the first opens it
        model._used -= 3600
        assert (await model.predict(stripe(digit)[None])).argmax() == digit
        while model._batcher.busy:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
        assert store.let_go() == []


async def test_an_engine_is_opened_again_by_a_thread(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes about a tenth of a second, in which the loop has others to answer."""
    model = (await store_of(artifacts, keep_open="none").reload()).find("mnist")
    threads, opens = list[threading.Thread](), model._open

    def noting(engine: Standby) -> None:
        threads.append(threading.current_thread())
        opens(engine)

    monkeypatch.setattr(model, "_open", noting)
    assert (await model.predict(stripe(3)[None])).argmax() == 3
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


async def test_an_engine_in_use_is_not_let_go(artifacts: Path) -> None:
    store = store_of(artifacts, keep_open="none", inline_run=0)
    model = (await store.reload()).find("mnist")
    await model.predict(stripe(3)[None])
    assert is_open(model)
    answer = asyncio.create_task(model.predict(stripe(3)[None]))
    await asyncio.sleep(0)
    assert not model.let_go(0)
    assert (await answer).argmax() == 3
    assert model.let_go(0)
    assert not model.let_go(0)


async def test_an_engine_that_fails_its_warm_up_when_opened_again_answers_nobody(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("no probabilities")

    model = (await store_of(artifacts, keep_open="none").reload()).find("mnist")
    with monkeypatch.context() as patch:
        patch.setattr(model, "_check", fails)
        for _ in range(2):
            with pytest.raises(NotReady, match="cannot be opened again: no probabilities"):
                await model.predict(stripe(3)[None])
            assert not is_open(model)
    assert (await model.predict(stripe(3)[None])).argmax() == 3


async def test_a_failure_that_nobody_foresaw_is_logged_with_where_it_was(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise ArithmeticError("13")

    model = (await store_of(artifacts, keep_open="none").reload()).find("mnist")
    monkeypatch.setattr(model, "_check", fails)
    with pytest.raises(NotReady, match="again: it failed in warm-up: ArithmeticError"):
        await model.predict(stripe(3)[None])
    told = caplog.records[-1].exc_info
    assert told is not None
    assert told[0] is ArithmeticError


async def test_files_that_changed_since_the_start_are_not_served(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(artifacts, keep_open="none")
    model = (await store.reload()).find("mnist")
    graph = artifacts / "models" / "stripes" / "1" / MODEL
    right = graph.read_bytes()
    graph.write_bytes(right[:-1])
    with pytest.raises(NotReady, match=r"stripes 1 cannot be opened again: model\.onnx has \d+ bytes, not"):
        await model.predict(stripe(3)[None])
    [refused] = store.snapshot.refused_now()
    assert (refused.name, refused.version) == ("stripes", "1")
    told = caplog.records[-1]
    assert (told.exc_info, told.getMessage()) == (None, f"stripes 1 cannot be opened again: {refused.reason}")
    graph.write_bytes(right)
    assert (await model.predict(stripe(3)[None])).argmax() == 3
    assert [*store.snapshot.refused_now()] == []


async def test_why_a_version_is_unavailable_is_logged_once_until_it_is_another_reason(
    artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request finds it out anew, and there may be thousands in a second."""
    model = (await store_of(artifacts, keep_open="none").reload()).find("mnist")
    graph = artifacts / "models" / "stripes" / "1" / MODEL
    right = graph.read_bytes()

    async def told(data: bytes | None) -> list[str]:
        graph.unlink() if data is None else graph.write_bytes(data)
        caplog.clear()
        for _ in range(3):
            with suppress(NotReady):
                await model.predict(stripe(3)[None])
        while model._batcher.busy:  # noqa: ASYNC110 — nobody is told of it
            await asyncio.sleep(0)
        model.let_go(0)
        return [
            one.getMessage().partition(" again: ")[2] for one in caplog.records if one.levelname == "WARNING"
        ]

    assert await told(None) == ["model.onnx is missing"]
    assert await told(b"") == [f"model.onnx has 0 bytes, not {len(right)}"]
    assert await told(right) == []
    assert await told(b"") == [f"model.onnx has 0 bytes, not {len(right)}"]


async def test_a_file_that_cannot_be_read_is_told_in_words(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    store = store_of(artifacts, keep_open="none")
    model = (await store.reload()).find("mnist")
    why = "model.onnx cannot be read: Permission denied"
    with monkeypatch.context() as patch:
        patch.setattr("service.artifact_files.sha256_of", fails)
        with pytest.raises(NotReady, match=f"^stripes 1 cannot be opened again: {why}$"):
            await model.predict(stripe(3)[None])
        assert reasons(await store_of(artifacts).reload())["stripes"] == why
    assert not any(record.exc_info for record in caplog.records)
    assert (await model.predict(stripe(3)[None])).argmax() == 3


async def test_a_manifest_that_cannot_be_read_is_told_in_words(artifacts: Path) -> None:
    manifest = artifacts / "models" / "stripes" / "1" / MANIFEST
    manifest.unlink()
    manifest.mkdir()
    snapshot = await store_of(artifacts).reload()
    assert reasons(snapshot)["stripes"] == "manifest.json cannot be read: Is a directory"
    assert [*snapshot.versions] == ["stripes-colour"]


async def test_folders_that_cannot_be_looked_into_are_none(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: object) -> list[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "glob", denied)
    assert (await store_of(artifacts).reload()).versions == {}


async def test_files_that_predictions_do_not_need_may_change_meanwhile(artifacts: Path) -> None:
    folder = write_model(artifacts, "stripes", "2")
    (folder / "history.json").write_text("[]")
    files = json.loads((folder / MANIFEST).read_text())["files"]
    rewrite(folder, files=files | {"history.json": file_entry(folder / "history.json").model_dump()})
    model = (await store_of(artifacts, keep_open="none").reload()).find("mnist")
    assert model.version == "2"
    (folder / "history.json").unlink()
    assert (await model.predict(stripe(3)[None])).argmax() == 3
