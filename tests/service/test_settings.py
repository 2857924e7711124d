import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ROOT, Settings
from tests.conftest import nothing_set


def test_every_setting_has_a_default_and_says_why() -> None:
    for name, field in Settings.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name


def test_artifacts_are_the_repositorys_own_by_default() -> None:
    assert Settings().artifacts == ROOT / "artifacts"


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVSCOPE_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("CONVSCOPE_MAX_BATCH_ROWS", "8")
    monkeypatch.setenv("CONVSCOPE_CORS_ORIGINS", '["https://example.org"]')
    settings = Settings()
    assert (settings.artifacts, settings.max_batch_rows) == (tmp_path, 8)
    assert settings.cors_origins == ["https://example.org"]


def test_what_a_shell_has_set_is_not_heeded_by_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"CONVSCOPE_DATA": "/data", "REPORT": "1"}
    dropped = {"port": "1", "WEB_CONCURRENCY": "2", "Convscope_Host": "::", "CONVSCOPE_LOG_LEVEL": "error"}
    for name, value in {**kept, **dropped, "HTTP_PROXY": "http://x:1", "no_proxy": "y"}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with nothing_set():
        assert Settings() == Settings.model_construct()
        assert kept.items() <= os.environ.items()
        assert not [name for name in os.environ if name.lower().endswith("_proxy")]
    assert os.environ == before


@pytest.mark.parametrize(("name", "field"), [("PORT", "port"), ("WEB_CONCURRENCY", "workers")])
def test_what_platforms_set_counts_unless_our_own_is_set(
    monkeypatch: pytest.MonkeyPatch, name: str, field: str
) -> None:
    monkeypatch.setenv(name, "3")
    assert getattr(Settings(), field) == 3
    monkeypatch.setenv(f"CONVSCOPE_{field.upper()}", "4")
    assert getattr(Settings(), field) == 4


def started(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m service`, which cannot be."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_service_says_in_words_which_settings_it_cannot_use() -> None:
    wrong = {
        "PORT": "99999",
        "WEB_CONCURRENCY": "many",
        "CONVSCOPE_ENGINE": "abacus",
        "CONVSCOPE_PRECISION": "int8",
        "CONVSCOPE_DRAIN": "inf",
        "CONVSCOPE_ARTIFACTS": "/nowhere",
        "CONVSCOPE_CORS_ORIGINS": "[1",
    }
    done = started(**wrong)
    assert done.returncode == 1
    first, *lines = done.stderr.splitlines()
    assert first == "the settings cannot be used:"
    assert sorted(line.split("=")[0].strip() for line in lines) == sorted(wrong)
    assert "  PORT=99999: Input should be less than or equal to 65535" in lines
    assert "  CONVSCOPE_PRECISION=int8: Input should be 'auto', 'float32' or 'bfloat16'" in lines


def test_a_misspelt_setting_is_told() -> None:
    # The second as Kubernetes makes it for a service of this name.
    hints = subprocess.run(
        [sys.executable, "-c", "from service.__main__ import _misspelt; print(_misspelt())"],
        cwd=ROOT,
        env={
            "PATH": "",
            "CONVSCOPE_KEEPALIVE": "5",
            "CONVSCOPE_PORT_8000_TCP": "x",
            "CONVSCOPE_DEADLINE": "5",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert hints.stdout.strip() == "['CONVSCOPE_KEEPALIVE is no setting; CONVSCOPE_KEEP_ALIVE is']"


def test_arguments_are_checked_like_settings_and_come_before_them() -> None:
    done = started("--port", "70000", "--workers", "-3", PORT="1", CONVSCOPE_HOST="127.0.0.1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "  --port 70000: Input should be less than or equal to 65535",
        "  --workers -3: Input should be greater than or equal to 1",
    ]


@pytest.mark.parametrize("name", ["HOST", "ARTIFACTS", "CORS_ORIGINS", "PORT"])
def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"CONVSCOPE_{name}", "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("*", ["*"]),
        ("http://localhost:3000,http://[::1]:8000", ["http://localhost:3000", "http://[::1]:8000"]),
        ("HTTPS://A.example:443,http://a.example:80", ["https://a.example", "http://a.example"]),
        ("https://a.example", ["https://a.example"]),
        ("https://a.example, http://b.example:8080,", ["https://a.example", "http://b.example:8080"]),
        (' ["https://a.example"]', ["https://a.example"]),
    ],
)
def test_origins_may_be_listed_as_people_do(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: list[str]
) -> None:
    monkeypatch.setenv("CONVSCOPE_CORS_ORIGINS", text)
    assert Settings().cors_origins == origins


@pytest.mark.parametrize(
    "origin",
    [
        "nonsense", "null", "https://", "ftp://a.example", "a.example", "https://a.example/", "https://a.example/page",
        "https://a.example?x", "https://*.example", "https://me@a.example", "https://a.example:", "http://a b.example",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    monkeypatch.setenv("CONVSCOPE_CORS_ORIGINS", f"https://b.example,{origin}")
    with pytest.raises(ValidationError, match="it is no origin"):
        Settings()


def test_the_service_names_the_entry_that_is_no_origin() -> None:
    done = started(CONVSCOPE_CORS_ORIGINS="https://a.example,https://b.example/page")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "  CONVSCOPE_CORS_ORIGINS=https://b.example/page: it is no origin, as https://example.org or "
        "http://localhost:3000 are, with nothing after them; * stands for all"
    ]


@pytest.mark.parametrize(
    ("name", "value"), [("MAX_BATCH_ROWS", "0"), ("ENGINE_THREADS", "257"), ("WORKERS", "257")]
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CONVSCOPE_{name}", value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_folder_that_cannot_be_looked_into_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    with pytest.raises(ValidationError, match="it cannot be looked into: Permission denied"):
        Settings()
