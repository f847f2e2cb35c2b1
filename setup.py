"""The weights at the top of the repository become `cyclegan/weights` in a wheel; the rest is in
pyproject.toml, which has no words for a package whose folder lies elsewhere beside found ones."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["cyclegan*"]), "cyclegan.weights"],
    package_dir={"cyclegan.weights": "weights"},
    package_data={
        "cyclegan": ["py.typed", "viewer/*", "reading/*.toml", "report/*.jinja"],
        "cyclegan.weights": ["*"],
    },
)
