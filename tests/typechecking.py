"""The runtime checker of annotations, used by conftest where beartype is installed."""

from beartype import BeartypeConf, beartype

# An int where a float is asked for is right in Python's type system, and beartype's default refuses it.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
