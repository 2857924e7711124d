"""Every knob of the service. Each is set by the environment variable CONVSCOPE_<NAME>; nothing is read at import."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    DirectoryPath,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.engines import EngineName, Precision, choose
from service.standby import KeepOpen

ROOT = Path(__file__).resolve().parent.parent
MEBIBYTE = 1024 * 1024
ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def _origin(text: str) -> str:
    """As a browser writes it, which is what requests are compared with: anything else would never fit."""
    origin = text.lower()
    if origin != "*" and ORIGIN.fullmatch(origin) is None:
        raise ValueError(
            "it is no origin, as https://example.org or http://localhost:3000 are, with nothing after them; "
            "* stands for all"
        )
    return origin.removesuffix(":443" if origin.startswith("https:") else ":80")


Origin = Annotated[str, AfterValidator(_origin)]


class Settings(BaseSettings):
    """Defaults serve the repository's own models to one machine."""

    model_config = SettingsConfigDict(
        env_prefix="CONVSCOPE_",
        env_ignore_empty=True,  # VARIABLE= in a compose file is no setting: an empty host would be every interface
        frozen=True,
        populate_by_name=True,
        allow_inf_nan=False,
    )

    artifacts: DirectoryPath = Field(
        ROOT / "artifacts", description="folder with aliases.json, models/ and datasets/"
    )

    # Where it listens. PORT and WEB_CONCURRENCY are what platforms set, so they count too.
    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("CONVSCOPE_PORT", "PORT"),
        description="TCP port; 0 takes any free one",
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        validation_alias=AliasChoices("CONVSCOPE_WORKERS", "WEB_CONCURRENCY"),
        description="processes; each holds every model, so more than the cores only costs memory",
    )

    # What runs the graphs.
    engine: EngineName = Field(
        "auto", description="auto is OpenVINO where it is installed and works, else ONNX Runtime"
    )
    precision: Literal["auto", Precision] = Field(
        "auto",
        description="what OpenVINO multiplies in: auto is bfloat16 where the processor has tiles for it (AMX) and the "
        "model's manifest says that its answers stay the same; float32 forces float32",
    )
    engine_threads: int = Field(
        1,
        ge=1,
        le=256,
        description="threads of one run, divided among the workers; "
        "nets this small lose more to hand-over than a second thread gains",
    )

    keep_open: KeepOpen = Field(
        "aliases",
        description="models whose engines stay open. Every one is opened and checked at the start, let go, and opened "
        "again when somebody asks, which takes some hundredths of a second. Aliases stay open from then on; `all` are "
        "never let go. TensorFlow takes seconds, so with it all stay open",
    )
    engine_idle: float = Field(
        300.0,
        gt=0,
        description="seconds after which an engine that is not to stay open and that nobody uses is let go",
    )

    # The batcher, for each model.
    max_batch_rows: int = Field(
        256,
        ge=1,
        description="images in one run; 64 at most where it would take longer than twice inline_run, since more would "
        "only make it longer",
    )
    max_batch_wait: float = Field(
        0.0,
        ge=0,
        description="seconds that several queued images wait for more, half of their time at most; one alone never",
    )
    max_queue_rows: int = Field(
        4096,
        ge=1,
        description="images that may wait, each with some kilobytes; more are refused at once, while waiting is short",
    )
    max_queue_delay: float = Field(
        0.5,
        gt=0,
        description="seconds that a single image may have to wait, as far as the latest runs tell; beyond, it is "
        "refused at once. Parts of a batch are not: they wait in a lane of their own. Nor are images of which an "
        "engine does 20,000 a second or more: refusing one is as much work as answering it",
    )
    max_overload_delay: float = Field(
        0.005,
        gt=0,
        description="the same, in seconds, while more than a third are refused: such a load does not wait for answers, "
        "and a longer queue would only make late the answers that there are",
    )
    inline_run: float = Field(
        0.002,
        ge=0,
        description="seconds: shorter runs are done by the event loop itself, the hand-over to a thread costs more; "
        "0 for none",
    )
    deadline: float = Field(
        10.0,
        gt=0,
        description="seconds from a complete body to its answer; later is 504, nobody waits for it. While "
        "others are under way, many images at once are refused where they or those would take more than four fifths",
    )
    keep_alive: int = Field(
        75,
        ge=1,
        description="seconds after which a connection is closed on which nothing comes, or of whose answer nothing is "
        "read; more than a load balancer's own (often 60), which would send requests into connections that are just "
        "being closed",
    )
    drain: float = Field(10.0, ge=0, description="seconds that running requests get to finish at shutdown")

    # What a client may send.
    max_body_bytes: int = Field(10 * MEBIBYTE, ge=1, description="bytes of a request with one image")
    max_batch_bytes: int = Field(64 * MEBIBYTE, ge=1, description="bytes of a request with many images")
    max_json_bytes: int = Field(
        4 * MEBIBYTE,
        ge=1,
        description="bytes of tensors in JSON, each number of which becomes an object: some 0.1 s of the event loop; "
        "binary tensors have max_batch_bytes",
    )
    max_batch_files: int = Field(1024, ge=1, description="images of one batch request: a thousand and some")
    max_pixels: int = Field(
        25_000_000,
        ge=1,
        description="width x height of an image, read from its header before anything is decoded; "
        "a side of more than 65,535 is refused whatever this is",
    )
    max_decoding: int = Field(
        64,
        ge=1,
        description="large images and batches being decoded or waiting for it, or 16 times as many of 128 x 128 pixels "
        "and less; a picture may take 0.1 to 0.45 GB while it is decoded, so not endless",
    )

    # Looking inside.
    feature_maps_idle: float = Field(
        300.0, gt=0, description="seconds after which a graph of feature maps that nobody uses is let go"
    )
    max_aside: int = Field(
        32,
        ge=1,
        description="pictures that may wait for the one thread that draws them, and as many other answers from "
        "inside models for theirs",
    )
    figure_time: float = Field(
        30.0,
        gt=0,
        description="seconds that Matplotlib gets for one figure; who waits for it gets a 504 at the deadline, and "
        "finds it drawn when asking again",
    )
    figure_cache_bytes: int = Field(
        8 * MEBIBYTE, ge=0, description="of figures that are kept: some 100 of them"
    )

    # What it says.
    access_log: bool = Field(False, description="a line for each request; it costs a tenth of the throughput")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    cors_origins: Annotated[list[Origin], NoDecode] = Field(
        [],
        description="origins whose pages may call this, as https://example.org, with commas between them or as a JSON "
        "list, * for all; off unless asked for",
    )

    @field_validator("artifacts", mode="before")
    @classmethod
    def _can_be_looked_into(cls, artifacts: Path | str) -> Path:
        folder = Path(artifacts)
        try:
            folder.is_dir()  # whether it is one, pydantic says
        except OSError as error:
            raise ValueError(f"it cannot be looked into: {error.strerror}") from error
        return folder

    @field_validator("engine")
    @classmethod
    def _is_installed(cls, engine: EngineName) -> EngineName:
        choose(engine)
        return engine

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _are_listed(cls, origins: object) -> object:
        if not isinstance(origins, str):
            return origins
        if origins.lstrip().startswith("["):
            return TypeAdapter(list[str]).validate_json(origins)
        return [origin.strip() for origin in origins.split(",") if origin.strip()]

    @property
    def threads_of_worker(self) -> int:
        """This process's share of `engine_threads`, at least one."""
        return max(1, self.engine_threads // self.workers)


def in_words(error: ValidationError, arguments: Collection[str] = ()) -> list[str]:
    """A line for each of the settings that cannot be used, which names what was set as it was set: by argument, or by
    which of its variables."""
    return [_line(one, arguments) for one in error.errors()]


def _line(error: ErrorDetails, arguments: Collection[str]) -> str:
    field = str(error["loc"][0]).lower().removeprefix("convscope_")
    alias = Settings.model_fields[field].validation_alias
    variables = (
        map(str, alias.choices) if isinstance(alias, AliasChoices) else (f"CONVSCOPE_{field.upper()}",)
    )
    name = next((one for one in variables if one in os.environ), f"CONVSCOPE_{field.upper()}")
    said = f"--{field} {error['input']}" if field in arguments else f"{name}={error['input']}"
    return f"{said}: {error['msg'].removeprefix('Value error, ')}"
