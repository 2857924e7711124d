import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import ROOT, Settings


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


@pytest.mark.parametrize(("name", "field"), [("PORT", "port"), ("WEB_CONCURRENCY", "workers")])
def test_what_platforms_set_counts_unless_our_own_is_set(
    monkeypatch: pytest.MonkeyPatch, name: str, field: str
) -> None:
    monkeypatch.setenv(name, "3")
    assert getattr(Settings(), field) == 3
    monkeypatch.setenv(f"CONVSCOPE_{field.upper()}", "4")
    assert getattr(Settings(), field) == 4


def test_the_service_says_in_words_which_setting_it_cannot_use() -> None:
    environment = {**os.environ, "PORT": "99999", "CONVSCOPE_ENGINE": "abacus"}
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "CONVSCOPE_ENGINE=abacus: Input should be 'auto'" in done.stderr
    assert "PORT=99999: Input should be less than or equal to 65535" in done.stderr
    assert "Traceback" not in done.stderr


def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSCOPE_MAX_BATCH_ROWS", "0")
    with pytest.raises(ValidationError):
        Settings()
