"""The address of a run: a versioned hash of everything that determines its results. Only this module computes it."""

from collections.abc import Mapping
from typing import Any

from eval.benchmarks.base import Benchmark
from eval.runs.declared import non_identity_keys_of
from instructedit.checkpoints import BY_CONTENT, checkpoints, fingerprint
from instructedit.files import digest

ID_VERSION = "v2"
"""Increase the version if the code gives other results for the same parts."""


def address(method: Mapping[str, Any], benchmark: Benchmark, seed: int) -> str:
    """Return the run id of a method on a benchmark.

    Args:
        method: The method's configuration, from :func:`fingerprinted`.
        benchmark: The benchmark with the run's paraphrase of its instructions.
        seed: Seed of all noise.
    """
    parts: dict[str, Any] = {"name": benchmark.name, "revision": benchmark.revision}
    if benchmark.variation:
        parts["variation"] = benchmark.variation
    return run_id({"method": method, "benchmark": parts, "seed": seed})


def run_id(parts: Mapping[str, Any]) -> str:
    """Return a versioned hash.

    Args:
        parts: Everything that determines the results, without device, paths, launcher or logging. Values are text,
            numbers (1 and 1.0 differ), lists and mappings.

    Returns:
        A run id such as ``v2-0123456789abcdef``.
    """
    return f"{ID_VERSION}-{digest(parts)[:16]}"


def fingerprinted(node: Any, versions: Mapping[str, str] | None = None) -> Any:
    """Replace each checkpoint of a configuration by its fingerprint, and remove keys outside the identity.

    Args:
        node: The configuration, resolved to plain mappings and lists.
        versions: The version of each checkpoint by id, from a run's manifest; None uses the present checkpoints of
            this machine.

    Raises:
        KeyError: A checkpoint has no revision and is missing in ``versions``.
    """
    if isinstance(node, Mapping):
        if node.get("_target_") not in BY_CONTENT:
            return {k: fingerprinted(v, versions) for k, v in deciding(node).items()}
        if versions is None:
            return next(checkpoints(node)).fingerprint
        version = versions[node["id"]] if node["id"] in versions or not node.get("revision") else node["revision"]
        return fingerprint({k: v for k, v in node.items() if k != "_target_"}, str(version))
    return [fingerprinted(v, versions) for v in node] if isinstance(node, list) else node


def deciding(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of the configuration without keys outside the identity, such as the URL of a server."""
    outside = non_identity_keys_of(node["_target_"]) if "_target_" in node else frozenset()
    return {str(k): v for k, v in node.items() if k != "_partial_" and k not in outside}
