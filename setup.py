"""Find the packages. All other metadata is in setup.cfg.

``conf/`` is at the top level, where it is easy to find, and is installed as the package
``darts.conf``. ``packages = find:`` in setup.cfg cannot express this.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["darts", "darts.*"]), "darts.conf"])
