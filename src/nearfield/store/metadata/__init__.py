"""Metadata of rows: its checks, its text, and its columns."""

from nearfield.store.metadata.check import check_metadata, decode_metadata, encode_metadata
from nearfield.store.metadata.table import Leaf, Metadata

__all__ = ["Leaf", "Metadata", "check_metadata", "decode_metadata", "encode_metadata"]
