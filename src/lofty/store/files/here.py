"""What lies at the paths of one directory, as far as one look at it finds out."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from .read import Changing, describe
from .tree import File


class Here:
    """One directory, looked at path by path."""

    def __init__(self, root: Path, *, executables: bool) -> None:
        """`executables`: whether the store keeps the executable bit."""
        self._root, self._executables = os.fspath(root), executables
        self.known: dict[str, tuple[File | None, bytes | None]] = {}
        """What is known to be here in the end, and its look."""

    def at(self, path: str) -> str:
        """Where a path lies."""
        return f"{self._root}/{path}"

    def stat(self, path: str) -> os.stat_result | None:
        """How a path looks; None for a folder and for what is not there."""
        try:
            return None if path.endswith("/") else os.lstat(self.at(path))
        except OSError:
            return None

    def file(self, path: str) -> File | None:
        """What is there, read through; None when that cannot be told."""
        try:
            there = self.at(path)
            return describe(there, os.lstat(there))
        except (Changing, OSError):
            return None

    def fit(self, file: File, base: File | None) -> File:
        """Where the store cannot keep the executable bit, it is what it was."""
        if self._executables or file.link:
            return file
        return msgspec.structs.replace(file, executable=base.executable if base else False)
