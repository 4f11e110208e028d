"""NeRF editing (paper §4.6): the Iterative Dataset Update of Instruct-NeRF2NeRF, with any method as its editor."""
