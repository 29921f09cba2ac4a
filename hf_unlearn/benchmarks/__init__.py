"""The field's benchmarks as specs: which data play which role, what is measured, which published models are compared with. Knows no metric's inside."""

from hf_unlearn.benchmarks._loaded import LoadedBenchmark as LoadedBenchmark
from hf_unlearn.benchmarks._own import read_benchmark as read_benchmark
from hf_unlearn.benchmarks._registry import BENCHMARKS as BENCHMARKS
from hf_unlearn.benchmarks._registry import find_benchmark as find_benchmark
from hf_unlearn.benchmarks._registry import load_benchmark as load_benchmark
from hf_unlearn.benchmarks._spec import Benchmark as Benchmark
from hf_unlearn.benchmarks._spec import BenchmarkSet as BenchmarkSet
from hf_unlearn.benchmarks._spec import Configuration as Configuration
from hf_unlearn.benchmarks._spec import PublishedModels as PublishedModels
from hf_unlearn.benchmarks._spec import Source as Source
