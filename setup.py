"""Wheels carry the native step, built with the machine's compiler. All else is in pyproject.toml."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))
from tokenloom.native import build


class BuildWithNative(build_py):
    """Adds the library to a wheel; an editable install builds it at set-up instead."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib) / "tokenloom" / "native"
            try:
                build.build(target=folder / build.LIBRARY.name)
            except build.NoCompiler as error:
                self.warn(f"{error}: the wheel goes without the native step, and PyTorch will answer")
                return
            (folder / build.STAMP.name).write_text(build.fingerprint() + "\n")


class PlatformWheel(bdist_wheel):
    """The library is called through ctypes: any Python 3, but one kind of machine."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class Binary(Distribution):
    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildWithNative, "bdist_wheel": PlatformWheel}, distclass=Binary)
