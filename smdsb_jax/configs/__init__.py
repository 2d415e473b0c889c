"""The configuration files: in a clone they lie in configs/, from where a wheel takes them to here."""

from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[2] / "configs"))
