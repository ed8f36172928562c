"""Stand-in for the two official `benchmark_model` tools: runs the model in LiteRT, prints what they print.

The test puts a line with the interpreter and `KIND = "interpreter"` or `"compiled_model"` before this text.
What goes wrong is asked for in /data/standin/behaviour.
"""

import os
import re
import sys
import time
from pathlib import Path

KIND = globals().get("KIND", "interpreter")
COMMON = [
    "graph",
    "num_threads",
    "num_runs",
    "min_secs",
    "max_secs",
    "warmup_runs",
    "warmup_min_secs",
    "result_file_path",
]
COMMON += ["report_peak_memory_footprint", "require_full_delegation"]
FLAGS = {
    "interpreter": [
        *COMMON,
        "use_xnnpack",
        "use_gpu",
        "use_nnapi",
        "enable_op_profiling",
        "op_profiling_output_mode",
    ],
    "compiled_model": [*COMMON, "use_cpu", "use_gpu", "use_npu", "use_profiler", "gpu-precision"],
}[KIND]


def info(text: str) -> None:
    print(f"INFO: {text}", flush=True)


def statistics_line(times: list[int]) -> str:
    if len(set(times)) == 1:
        line = f"count={len(times)} curr={times[0]}" + ("(all same)" if len(times) > 1 else "")
    else:
        mean = sum(times) / len(times)
        std = (sum((value - mean) ** 2 for value in times) / len(times)) ** 0.5
        line = f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)}"
        line += f" avg={mean:g} std={std:.0f}"
    rank = sorted(times)
    p5, median, p95 = (rank[min(len(rank) - 1, int(len(rank) * q))] for q in (0.05, 0.5, 0.95))
    return f"{line} p5={p5} median={median} p95={p95}"


def run(interpreter, count: int, least: float, most: float) -> list[int]:
    begin = time.monotonic()
    times: list[int] = []
    while (len(times) < count or time.monotonic() - begin < least) and time.monotonic() - begin <= most:
        start = time.perf_counter_ns()
        interpreter.invoke()
        times.append((time.perf_counter_ns() - start) // 1000)
    return times


def write_result(path: str, values: dict) -> None:
    """Writes the tools' BenchmarkResult with Google's own protobuf library, from the message's published fields."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = {"float": 2, "int64": 3, "int32": 5}
    file = descriptor_pb2.FileDescriptorProto(name="result.proto", package="standin", syntax="proto2")
    for name, fields in (
        (
            "Latency",
            "avg_ms min_ms max_ms stddev_ms median_ms p5_ms p95_ms init_ms first_inference_ms average_warm_up_ms",
        ),
        ("Memory", "init_footprint_kb:int64 overall_footprint_kb:int64 peak_mem_mb"),
        ("Misc", "model_size_mb num_runs:int32 num_warmup_runs:int32 model_throughput_in_mb_per_sec"),
    ):
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields.split(), 1):
            field_name, _, kind = field.partition(":")
            message.field.add(name=field_name, number=number, label=1, type=kinds[kind or "float"])
    result = file.message_type.add(name="Result")
    result.field.add(name="name", number=1, label=1, type=9)
    for number, name in enumerate(("Latency", "Memory", "Misc"), 2):
        result.field.add(name=name.lower(), number=number, label=1, type=11, type_name=f".standin.{name}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("standin.Result"))()
    for part, fields in values.items():
        for name, value in fields.items():
            setattr(getattr(made, part), name, value)
    Path(path).write_bytes(made.SerializeToString())


def print_profile(operators: list[str], mean_us: float) -> None:
    share = mean_us / 1000 / len(operators)
    head = "\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]"
    print("Operator-wise Profiling Info for Regular Benchmark Runs:")
    for title in ("Run Order", "Top by Computation Time"):
        print(f"============================== {title} ==============================\n{head}")
        for number, name in enumerate(operators):
            percent = 100 / len(operators)
            print(
                f"\t{name:>24}\t{share:9.3f}\t{share:9.3f}\t{percent:7.3f}%\t{percent * (number + 1):7.3f}%\t   "
                f" 0.000\t        1\t[output_{number}]:{number}"
            )
        print()
    print(f"Number of nodes executed: {len(operators)}")
    print("============================== Summary by node type ==============================")
    print("\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]")
    for name in sorted(set(operators)):
        count = operators.count(name)
        print(
            f"\t{name:>24}\t{count:9d}\t{share * count:10.3f}\t    {100 * count / len(operators):6.3f}%\t    0.000%\t  "
            f"   0.000\t{count:9d}"
        )
    print()
    print(f"Timings (microseconds): count=50 first=1 curr=1 min=1 max=1 avg={mean_us:g} std=0", flush=True)
    print("Memory (bytes): count=0\n", flush=True)


def main() -> int:
    behaviour = Path("/data/standin/behaviour").read_text().strip() if Path("/data/standin").is_dir() else ""
    given = dict(re.fullmatch(r"--([\w-]+)=(.*)", word).groups() for word in sys.argv[1:] if "=" in word)
    if "--help" in sys.argv:
        print("usage: benchmark_model\nFlags:", file=sys.stderr)
        for name in FLAGS:
            print(f"\t--{name}=0\tint32\toptional\tstand-in", file=sys.stderr)
        return 1
    unknown = [name for name in given if name not in FLAGS]
    if unknown:
        print(f"ERROR: Unconsumed cmdline flags: --{unknown[0]}", file=sys.stderr)
        return 1
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    info("STARTING!")
    plain = KIND == "interpreter" and given.get("use_xnnpack") == "false"
    kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else OpResolverType.AUTO
    start = time.perf_counter_ns()
    interpreter = Interpreter(given["graph"], num_threads=int(given["num_threads"]), experimental_op_resolver_type=kind)
    interpreter.allocate_tensors()
    init_us = (time.perf_counter_ns() - start) // 1000
    info(f"Loaded model {given['graph']}")
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    kernels = operators.count("DELEGATE")
    if KIND == "interpreter" and given.get("use_xnnpack") == "true":
        said = "partially executed by the delegate w/ {} delegate kernels." if kernels else "not"
        info(f"Explicitly applied XNNPACK delegate, and the model graph will be {said.format(kernels)}")
    if given.get("use_gpu") == "true":
        if behaviour == "gpu works":
            count = len(operators) - kernels
            info(
                f"Replacing {count} out of {count} node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 "
                "partitions for the whole graph."
            )
            info("Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.")
        elif KIND == "interpreter":
            info("Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.")
    if behaviour == "hang":
        time.sleep(3600)
    most = float(given.get("max_secs", 150))
    warmup = run(interpreter, int(given["warmup_runs"]), float(given["warmup_min_secs"]), most)
    info(statistics_line(warmup) if warmup else "count=0")
    if behaviour == "die":
        print("ERROR: Something in the driver went wrong", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 9)
    times = run(interpreter, int(given["num_runs"]), float(given["min_secs"]), most)
    if behaviour == "cut":
        print(f"INFO: {statistics_line(times)[:40]}", end="", flush=True)
        return 0
    info(statistics_line(times))
    mean, first = sum(times) / len(times), (warmup or [0])[0]
    if KIND == "interpreter":
        warm = sum(warmup) / len(warmup) if warmup else 0
        info(
            f"Inference timings in us: Init: {init_us}, First inference: {first}, Warmup (avg): {warm:g}, Inference "
            f"(avg): {mean:g}"
        )
        info("Memory footprint delta from the start of the tool (MB): init=3.5 overall=7.25")
        if given.get("enable_op_profiling") == "true":
            info("Overall peak memory footprint (MB) via periodic monitoring: 41.5")
            print_profile([name for name in operators if name != "DELEGATE"], mean)
    else:
        head = "INFO: [benchmark_litert_model.h:82] "
        std = (sum((value - mean) ** 2 for value in times) / len(times)) ** 0.5
        for line in (
            "\n========== BENCHMARK RESULTS ==========",
            f"Model initialization: {init_us / 1e3:.2f} ms",
            f"Warmup (first):       {first / 1e3:.2f} ms",
            f"Warmup (avg):         {sum(warmup) / max(len(warmup), 1) / 1e3:.2f} ms ({len(warmup)} runs)",
            f"Inference (avg):      {mean / 1e3:.2f} ms ({len(times)} runs)",
            f"Inference (min):      {min(times) / 1e3:.2f} ms",
            f"Inference (max):      {max(times) / 1e3:.2f} ms",
            f"Inference (std):      {std / 1e3:.2f}",
            "\nMemory Usage:",
            "Init footprint:       3.50 MB",
            "Overall footprint:    7.25 MB",
            "Peak memory usage not available. (peak_mem_mb <= 0)",
            "======================================\n",
        ):
            print(f"{head}{line}", file=sys.stderr, flush=True)
    if "result_file_path" in given:
        ordered = sorted(times)
        latency = {
            "avg_ms": mean / 1e3,
            "min_ms": min(times) / 1e3,
            "max_ms": max(times) / 1e3,
            "init_ms": init_us / 1e3,
        }
        latency.update(median_ms=ordered[len(ordered) // 2] / 1e3, stddev_ms=0.0, first_inference_ms=first / 1e3)
        memory = {"init_footprint_kb": 3584, "overall_footprint_kb": 7424}
        write_result(
            given["result_file_path"],
            {
                "latency": latency,
                "memory": memory,
                "misc": {"num_runs": len(times), "num_warmup_runs": len(warmup)},
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
