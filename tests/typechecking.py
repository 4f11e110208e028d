"""The runtime checker of annotations, used by conftest where beartype is installed."""

from beartype import BeartypeConf, beartype

# Python's type system accepts an int for a float, but beartype's default does not.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
