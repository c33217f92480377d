"""Marks a wheel that contains the program as one for its platform. The rest is in pyproject.toml."""

import os

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.dist import Distribution


class Wheel(bdist_wheel):
    def get_tag(self):
        """Any Python 3. The platform is that of the program, `build-wheel` names it."""
        _python, _abi, platform = super().get_tag()
        return "py3", "none", os.environ.get("REGISTRY_TEST_PLATFORM", platform)


class Binary(Distribution):
    def has_ext_modules(self):
        return os.path.exists(os.path.join(os.path.dirname(__file__), "registry_test", "bin", "registry-test"))


setup(cmdclass={"bdist_wheel": Wheel}, distclass=Binary)
