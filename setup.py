"""What pyproject.toml cannot say: a wheel carries the recipes, which lie beside the package in a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Copies `recipes/` into the package, except in an editable install, which reads the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "rlvr" / "recipes"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / "recipes", target)


setup(cmdclass={"build_py": BuildWithRecipes})
