"""The archives of the published versions: taken in, kept in a store of objects, handed out, and thrown away."""

from controller.artifacts.artifacts import CHUNK, LARGEST, Artifacts, opened

__all__ = ["CHUNK", "LARGEST", "Artifacts", "opened"]
