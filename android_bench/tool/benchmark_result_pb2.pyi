from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LatencyMetrics(_message.Message):
    __slots__ = ("avg_ms", "min_ms", "max_ms", "stddev_ms", "median_ms", "p5_ms", "p95_ms", "init_ms", "first_inference_ms", "average_warm_up_ms")
    AVG_MS_FIELD_NUMBER: _ClassVar[int]
    MIN_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_MS_FIELD_NUMBER: _ClassVar[int]
    STDDEV_MS_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_MS_FIELD_NUMBER: _ClassVar[int]
    P5_MS_FIELD_NUMBER: _ClassVar[int]
    P95_MS_FIELD_NUMBER: _ClassVar[int]
    INIT_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_INFERENCE_MS_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_WARM_UP_MS_FIELD_NUMBER: _ClassVar[int]
    avg_ms: float
    min_ms: float
    max_ms: float
    stddev_ms: float
    median_ms: float
    p5_ms: float
    p95_ms: float
    init_ms: float
    first_inference_ms: float
    average_warm_up_ms: float
    def __init__(self, avg_ms: _Optional[float] = ..., min_ms: _Optional[float] = ..., max_ms: _Optional[float] = ..., stddev_ms: _Optional[float] = ..., median_ms: _Optional[float] = ..., p5_ms: _Optional[float] = ..., p95_ms: _Optional[float] = ..., init_ms: _Optional[float] = ..., first_inference_ms: _Optional[float] = ..., average_warm_up_ms: _Optional[float] = ...) -> None: ...

class MemoryMetrics(_message.Message):
    __slots__ = ("init_footprint_kb", "overall_footprint_kb", "peak_mem_mb")
    INIT_FOOTPRINT_KB_FIELD_NUMBER: _ClassVar[int]
    OVERALL_FOOTPRINT_KB_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEM_MB_FIELD_NUMBER: _ClassVar[int]
    init_footprint_kb: int
    overall_footprint_kb: int
    peak_mem_mb: float
    def __init__(self, init_footprint_kb: _Optional[int] = ..., overall_footprint_kb: _Optional[int] = ..., peak_mem_mb: _Optional[float] = ...) -> None: ...

class MiscMetrics(_message.Message):
    __slots__ = ("model_size_mb", "num_runs", "num_warmup_runs", "model_throughput_in_mb_per_sec")
    MODEL_SIZE_MB_FIELD_NUMBER: _ClassVar[int]
    NUM_RUNS_FIELD_NUMBER: _ClassVar[int]
    NUM_WARMUP_RUNS_FIELD_NUMBER: _ClassVar[int]
    MODEL_THROUGHPUT_IN_MB_PER_SEC_FIELD_NUMBER: _ClassVar[int]
    model_size_mb: float
    num_runs: int
    num_warmup_runs: int
    model_throughput_in_mb_per_sec: float
    def __init__(self, model_size_mb: _Optional[float] = ..., num_runs: _Optional[int] = ..., num_warmup_runs: _Optional[int] = ..., model_throughput_in_mb_per_sec: _Optional[float] = ...) -> None: ...

class BenchmarkResult(_message.Message):
    __slots__ = ("name", "latency", "memory", "misc")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MISC_FIELD_NUMBER: _ClassVar[int]
    name: str
    latency: LatencyMetrics
    memory: MemoryMetrics
    misc: MiscMetrics
    def __init__(self, name: _Optional[str] = ..., latency: _Optional[_Union[LatencyMetrics, _Mapping]] = ..., memory: _Optional[_Union[MemoryMetrics, _Mapping]] = ..., misc: _Optional[_Union[MiscMetrics, _Mapping]] = ...) -> None: ...
