"""android_bench.tool.delegation: what really ran, from the lines of real logs."""

from __future__ import annotations

import pytest

from android_bench.tool import delegation

COMPLETE = "INFO: Explicitly applied {} delegate, and the model graph will be completely executed by the delegate.\n"
PARTLY = (
    "INFO: Explicitly applied {} delegate, and the model graph will be partially executed by the delegate "
    "w/ {} delegate kernels.\n"
)
NOT = "INFO: Though {} delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
REPLACED = "{}: Replacing {} out of {} node(s) with delegate ({}) node, yielding {} partitions for {}.\n"


@pytest.mark.parametrize(
    ("kind", "requested", "log", "accelerator", "delegated", "total", "partitions"),
    [
        ("interpreter", "xnnpack", COMPLETE.format("XNNPACK"), "CPU/XNNPACK", None, None, None),
        ("interpreter", "xnnpack", PARTLY.format("XNNPACK", 3), "CPU/XNNPACK", None, None, 3),
        (
            "interpreter", "gpu",
            REPLACED.format("INFO", 58, 58, "TfLiteGpuDelegateV2", 1, "the whole graph") + COMPLETE.format("GPU"),
            "GPU", 58, 58, 1,
        ),
        (
            "interpreter", "nnapi",
            REPLACED.format("VERBOSE", 5, 64, "TfLiteNnapiDelegate", 5, "the whole graph")
            + REPLACED.format("VERBOSE", 59, 62, "TfLiteXNNPackDelegate", 5, "the whole graph")
            + PARTLY.format("NNAPI", 5),
            "NNAPI + CPU", 5, 64, 5,
        ),
        (
            "compiled_model", "gpu",
            REPLACED.format("INFO", 31, 31, "LITERT_CL", 1, "subgraph 0"), "GPU", 31, 31, 1,
        ),
        (
            "compiled_model", "npu",
            REPLACED.format("INFO", 17, 21, "DispatchDelegate", 2, "subgraph 0"), "NPU + CPU", 17, 21, 2,
        ),
        ("compiled_model", "xnnpack", "", "CPU (XNNPACK where it can)", None, None, None),
        ("interpreter", "none", "", "CPU", 0, None, None),
        (
            "interpreter", "none",
            REPLACED.format("INFO", 57, 58, "TfLiteXNNPackDelegate", 2, "the whole graph"),
            "CPU/XNNPACK (none was asked for)", None, None, None,
        ),
        (
            "interpreter", "gpu",
            "INFO: Replacing 7 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.\n"
            + COMPLETE.format("GPU"),
            "GPU", 7, None, 1,
        ),
    ],
)  # fmt: skip
def test_delegated(kind, requested, log, accelerator, delegated, total, partitions):
    found = delegation.read(kind, requested, log, "")
    assert found["accelerator"] == accelerator
    assert (found["delegated"], found["total"], found["partitions"]) == (delegated, total, partitions)
    assert delegation.missing(requested, found) is None
    assert delegation.read(kind, requested, "", log) == found
    assert bool(found["evidence"]) == bool(log)


@pytest.mark.parametrize(
    ("kind", "requested", "log", "match"),
    [
        ("interpreter", "gpu", NOT.format("GPU"), "took no node"),
        ("interpreter", "nnapi", NOT.format("NNAPI"), "took no node"),
        ("interpreter", "xnnpack", NOT.format("XNNPACK"), "delegates=none"),
        ("interpreter", "gpu", "", "logged nothing"),
        ("interpreter", "gpu", COMPLETE.format("XNNPACK"), "does not show that GPU"),
        (
            "compiled_model",
            "gpu",
            REPLACED.format("INFO", 20, 20, "TfLiteXNNPackDelegate", 1, "subgraph 0"),
            "GPU",
        ),
        (
            "compiled_model",
            "gpu",
            REPLACED.format("INFO", 0, 20, "LITERT_CL", 0, "subgraph 0"),
            "0 of 20 nodes",
        ),
        (
            "compiled_model",
            "npu",
            REPLACED.format("INFO", 1, 1, "DispatchDelegate", 1, "subgraph 0")
            + "ERROR: Failed to dispatch the graph\n",
            "Failed to dispatch",
        ),
    ],
)
def test_no_figure(kind, requested, log, match):
    found = delegation.read(kind, requested, log, "")
    assert match in delegation.missing(requested, found)


def test_a_tool_that_insists_on_the_whole_graph_is_evidence():
    flags = ["--use_gpu=true", "--require_full_delegation=true"]
    assert delegation.read("compiled_model", "gpu", "", "", flags)["accelerator"] == "GPU"


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("TfLiteXNNPackDelegate", "xnnpack"),
        ("TfLiteGpuDelegateV2", "gpu"),
        ("LITERT_CL", "gpu"),
        ("TfLiteNnapiDelegate", "nnapi"),
        ("TfLiteQnnDelegate", "npu"),
        ("DispatchDelegate", "npu"),
        ("TfLiteFlexDelegate", "TfLiteFlexDelegate"),
    ],
)
def test_names(name, ours):
    assert delegation.own_name(name) == ours
