"""Settings of the data: where images come from, how they are made square, how they are augmented."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from sivae_translate.config.kinds import MOST, Section, Share


class AugmentConfig(Section):
    """Random changes to training images; 0 is off. Avoid changes that turn one domain into another."""

    shift: Annotated[float, Field(ge=0, le=0.5, description="largest shift, as a fraction of the side")] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1, description="0.1 scales images to 90 to 110 %")] = 0.0
    rotate: Annotated[float, Field(ge=0, le=180, description="largest rotation in degrees")] = 0.0
    flip: Annotated[bool, Field(description="mirror left and right at random")] = False
    brightness: Annotated[float, Field(ge=0, le=1, description="0.2 changes brightness by up to 20 %")] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1, description="0.2 changes contrast by up to 20 %")] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1, description="0.2 changes saturation by up to 20 %")] = 0.0
    hue: Annotated[
        float, Field(ge=0, le=0.5, description="largest turn of the hue, as a fraction of the circle")
    ] = 0.0


class DataConfig(Section):
    """Where images come from and how they are made square."""

    name: Annotated[
        str,
        Field(
            max_length=200,
            description="data set: folder (images below data.root), glyphs, glyphs-colour, idx (the files of "
            "MNIST and its relatives), cars3d, facades, emoji, digits, doom, doom-depth, or a "
            "registered one",
        ),
    ] = "folder"
    root: Annotated[
        Path | None,
        Field(
            description="folder with one sub-folder per domain, a zip file of one, or a list of images "
            "(.csv, .tsv, .jsonl)"
        ),
    ] = None
    image_size: Annotated[Literal[28, 32, 64, 128, 256], Field(description="side in pixels")] = 64
    channels: Annotated[Literal[1, 3], Field(description="1 is grey, 3 is RGB")] = 3
    fit: Annotated[
        Literal["cover", "contain", "stretch"], Field(description="how an image is made square")
    ] = "cover"
    labels: Annotated[bool, Field(description="false: ignore which folder an image is in")] = True
    pairs: Annotated[
        bool, Field(description="folders: test files with the same name in two domains show the same content")
    ] = False
    split_seed: Annotated[
        int,
        Field(ge=0, le=MOST, description="glyphs, doom: seed of the letters or views; 0 is the benchmark"),
    ] = 0
    validation_size: Annotated[
        int,
        Field(
            ge=0,
            le=MOST,
            description="cars3d, facades, emoji, doom: test on this many training cars, pairs or maps "
            "instead, to choose settings",
        ),
    ] = 0
    white_level: Annotated[
        int | None, Field(ge=1, le=2**32 - 1, description="value of white in 16-bit files; none is 65535")
    ] = None
    seconds_per_file: Annotated[
        float, Field(gt=0, le=86_400, description="time limit for reading an image, in seconds")
    ] = 60.0
    max_unreadable: Annotated[
        int, Field(ge=0, le=MOST, description="unreadable images that are skipped before giving up")
    ] = 100
    cache_megabytes: Annotated[
        int, Field(ge=0, le=MOST, description="decode data sets up to this size once and cache them")
    ] = 2048
    cache: Annotated[
        Path | None,
        Field(description="folder of the cache of decoded images; none is the user's cache folder"),
    ] = None
    gpu_share: Annotated[
        Share,
        Field(
            description="share of a GPU's memory that decoded training images may take; sets that fit are "
            "drawn and augmented there"
        ),
    ] = 0.25
    workers: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="loader processes, at most one a core; 0 loads in the training process; if it is not "
            "set, up to 8 on a GPU",
        ),
    ] = 0
    augment: AugmentConfig = AugmentConfig()

    @field_validator("root", "cache", mode="before")
    @classmethod
    def _name_of_digits(cls, value: object) -> object:
        return str(value) if type(value) is int else value  # in YAML, 2024 is a number
