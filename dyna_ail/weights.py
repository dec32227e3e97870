"""Weights that ``torch.save`` has written, read without running any code of the file."""

from __future__ import annotations

import os
import zipfile
from typing import IO

import torch
from torch import Tensor

from dyna_ail.errors import InputError


def load_weights(file: IO[bytes]) -> dict[str, Tensor]:
    """A state dict, read without running code.

    Raises:
        InputError: it holds something else than named tensors of floats.
    """
    check_tensors(file)
    weights = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise InputError("its weights are not a dictionary of named tensors.")
    return {name: value.detach().float() for name, value in weights.items()}


def check_tensors(file: IO[bytes]) -> None:
    """Refuse what ``torch.save`` has not written: it does not compress, so nothing unpacks to more than its size.

    Raises:
        InputError: it does.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > file.seek(0, os.SEEK_END):
            raise InputError("its tensors unpack to more than their size: they were made to fill the memory.")
    file.seek(0)
