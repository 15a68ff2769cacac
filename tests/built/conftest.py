"""Kernels from source, built once and kept in the cache."""

from __future__ import annotations

from ..guest.conftest import recording

__all__ = ("recording",)
