"""What setup.cfg has no words for: packages are found, and the lessons in lessons/ are installed as `minires.lessons`."""
from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["minires", "minires.*"]), "minires.lessons"])
