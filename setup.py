"""What setup.cfg has no words for: packages are found, and the lessons in lessons/ are installed as `minires.lessons`."""
from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithLessons(build_py):
    """Adds the lessons to what is built, and only there.

    With them in `package_dir`, an editable install would be a finder that Python asks after its own; in the folder around a
    clone that is named minires, Python's own takes the clone for a package without `__init__.py`. Without them it is a path,
    on which the package is found before that.
    """

    def finalize_options(self):
        super().finalize_options()
        self.packages = [*self.packages, "minires.lessons"]
        self.package_dir = {**(self.package_dir or {}), "minires.lessons": "lessons"}


setup(packages=find_packages(include=["minires", "minires.*"]), cmdclass={"build_py": BuildWithLessons})
