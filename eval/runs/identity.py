"""The address of a run, a versioned hash of what decides its numbers. No other module computes one."""

from collections.abc import Mapping
from typing import Any

from eval.benchmarks.base import Benchmark
from eval.runs.declared import non_identity_keys_of
from instructedit.checkpoints import CHECKPOINT, fingerprint, named
from instructedit.files import digest

ID_VERSION = "v2"
"""Raise it when the code comes to give other numbers for the same parts."""


def address(method: Mapping[str, Any], benchmark: Benchmark, seed: int) -> str:
    """The run id of a method on a benchmark.

    Args:
        method: The method's configuration, from :func:`fingerprinted`.
        benchmark: With the paraphrase of its instructions that the method is asked for.
        seed: Of everything that draws noise.
    """
    parts: dict[str, Any] = {"name": benchmark.name, "revision": benchmark.revision}
    if benchmark.variation:
        parts["variation"] = benchmark.variation
    return run_id({"method": method, "benchmark": parts, "seed": seed})


def run_id(parts: Mapping[str, Any]) -> str:
    """A versioned hash of parts.

    Args:
        parts: What decides the numbers, and never device, paths, launcher or logging. Text, numbers (1 and 1.0
            differ), lists and mappings.

    Returns:
        Such as ``v2-0123456789abcdef``.
    """
    return f"{ID_VERSION}-{digest(parts)[:16]}"


def fingerprinted(node: Any, versions: Mapping[str, str] | None = None) -> Any:
    """A configuration with each checkpoint replaced by its fingerprint, and without what decides no number.

    Args:
        node: The configuration, resolved to plain mappings and lists.
        versions: The version of each checkpoint by id, as a run's manifest noted it; None takes the checkpoints as
            they are on this machine now.

    Raises:
        KeyError: ``versions`` lacks a checkpoint that has no revision.
    """
    if isinstance(node, Mapping):
        if node.get("_target_") != CHECKPOINT:
            return {k: fingerprinted(v, versions) for k, v in deciding(node).items()}
        if versions is None:
            return named(node).fingerprint
        version = versions[node["id"]] if node["id"] in versions or not node.get("revision") else node["revision"]
        return fingerprint({k: v for k, v in node.items() if k != "_target_"}, str(version))
    return [fingerprinted(v, versions) for v in node] if isinstance(node, list) else node


def deciding(node: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of the configuration without what decides no number, such as the address of a server."""
    outside = non_identity_keys_of(node["_target_"]) if "_target_" in node else frozenset()
    return {str(k): v for k, v in node.items() if k != "_partial_" and k not in outside}
