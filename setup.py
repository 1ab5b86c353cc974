"""Find the packages; all other metadata is in setup.cfg.

``conf/`` stays at the top level for people to read and is installed as the package ``darts.conf``,
which ``find:`` in setup.cfg cannot express.
"""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["darts", "darts.*"]), "darts.conf"])
