"""A GPU that does not exist: tensors that claim to be on ``cuda:0`` and are on the CPU.

Commands run on it with real values. Mixing devices raises an error as on a GPU. Kernel launches
and synchronizations of the host with the device are counted. Random numbers of the device come from
a generator of its own. There are no real CUDA random numbers, streams, memory limits, kernels,
collective operations or timings.

``load_guard`` must be called before the first import of PyTorch, so programs run in a process of
their own, see ``run_on_gpu.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import subprocess
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("device_guard.cpp")


def load_guard() -> None:
    """Compile the device guard if necessary, and load it."""
    assert "torch" not in sys.modules
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.submodule_search_locations
    torch_folder = Path(found.submodule_search_locations[0])
    changed = max(int((torch_folder / "version.py").stat().st_mtime), int(SOURCE.stat().st_mtime))
    library = Path(tempfile.gettempdir()) / f"darts_device_guard_{changed}.so"
    if not library.exists():
        built = library.with_suffix(f".{os.getpid()}")  # another process may build it, too
        include, lib = torch_folder / "include", torch_folder / "lib"
        flags = ["-shared", "-fPIC", "-std=c++20", f"-I{include}", f"-L{lib}"]
        flags += [f"-I{include}/torch/csrc/api/include", f"-Wl,-rpath,{lib}"]
        flags += ["-ltorch_cpu", "-lc10"]
        subprocess.run(["g++", str(SOURCE), "-o", str(built), *flags], check=True)
        built.replace(library)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


load_guard()

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_iter, tree_map  # noqa: E402

GPU = torch.device("cuda", 0)

# Operations that start no kernel.
FREE = {
    "alias", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty",
    "new_empty_strided", "resize_", "set_", "_unsafe_view", "record_stream",
}  # fmt: skip
# Operations whose result has a size, or a Python value, that depends on values on the device.
WAITING = {
    "_local_scalar_dense", "bincount", "equal", "is_nonzero", "masked_select", "nonzero",
    "_unique2", "unique_consecutive", "unique_dim",
}  # fmt: skip
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class GpuTensor(torch.Tensor):
    """A tensor on the pretended GPU, with its value on the CPU."""

    value: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, value: torch.Tensor) -> GpuTensor:
        tensor: GpuTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            layout=value.layout,
            device=GPU,
        )
        tensor.value = value
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return COUNTS.run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"GpuTensor({self.value})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.value.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copy: Any = GpuTensor(self.value.detach().clone())
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            memo[id(self)] = copy.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def data_ptr(self) -> int:
        return self.value.data_ptr()  # otherwise 0, so that all tensors would seem to be the same

    def tolist(self) -> Any:
        COUNTS.wait("tolist")
        return self.value.tolist()

    def numpy(self, **options: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy


class Counts(TorchDispatchMode):
    """Runs every operation on the CPU and counts what a GPU would do.

    Attributes:
        launches: Operations that start kernels, by name.
        waits: Synchronizations, by what waits and the line of the project.
        generator: The generator of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def reset(self) -> None:
        self.launches.clear()
        self.waits.clear()

    def wait(self, what: str) -> None:
        self.waits[f"{what} in {project_line()}"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def execute(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Execute an operation of the device, with tensors on the CPU."""
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        before = torch.default_generator.get_state()
        torch.default_generator.set_state(self.generator.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            self.generator.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(before)

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.split("::")[1]
        tensors = [x for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor)]
        on_gpu = any(isinstance(x, GpuTensor) for x in tensors)
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        if not on_gpu and (device is None or device.type != "cuda"):
            return func(*args, **kwargs)
        result_on_gpu = device is None or device.type == "cuda"
        if name in ("_to_copy", "copy_"):
            source, target = (args[1], args[0]) if name == "copy_" else (args[0], None)
            to_gpu = result_on_gpu if target is None else isinstance(target, GpuTensor)
            if target is None and device is None:
                to_gpu = result_on_gpu = isinstance(source, GpuTensor)
            self._count_copy(name, isinstance(source, GpuTensor), to_gpu, args, kwargs)
        else:
            self._check_devices(name, tensors, args, device)
            self._count(name, func, args)
        plain_args, plain_kwargs = tree_map(_to_cpu, (args, kwargs))
        if result_on_gpu and "device" in kwargs:
            plain_kwargs["device"] = torch.device("cpu")
        if "pin_memory" in kwargs:
            plain_kwargs["pin_memory"] = False
        result = self.execute(func, plain_args, plain_kwargs)
        written = _written_arguments(func, args, kwargs)
        if written:
            return written[0] if len(func._schema.returns) == 1 else tuple(written)
        return tree_map(_to_gpu, result) if result_on_gpu else result

    def _count_copy(self, name: str, source: bool, target: bool, args: Any, kwargs: Any) -> None:
        if source and target:
            self.launches[name] += 1
        elif source or target:
            in_place = len(args) > 2 and args[2]
            if not (kwargs.get("non_blocking") or (name == "copy_" and in_place)):
                self.wait("copy to the CPU" if source else "copy from pageable memory")

    def _count(self, name: str, func: Any, args: Any) -> None:
        if name in WAITING:
            self.wait(name)
        elif name in INDEXING:
            for index in (x for x in args[1] if x is not None):
                if index.dtype in (torch.bool, torch.uint8) or not isinstance(index, GpuTensor):
                    self.wait("index")
        elif name == "repeat_interleave" and func._overloadname == "Tensor":
            self.wait(name)
        if not _is_view(func) and name not in FREE:
            self.launches[name] += 1

    def _check_devices(self, name: str, tensors: Any, args: Any, device: Any) -> None:
        """Raise an error if an operation mixes devices; scalars on the CPU are allowed."""
        indices = args[1] if name in INDEXING else ()
        others = [
            x
            for x in tensors
            if not isinstance(x, GpuTensor)
            and (x.dim() > 0 or name in ("cat", "stack"))
            and not any(x is index for index in indices)
        ]
        if others and device is None:
            shapes = [tuple(x.shape) for x in others]
            raise RuntimeError(f"Expected all tensors on the same device: {name} of CPU {shapes}")


def _to_cpu(x: Any) -> Any:
    return x.value if isinstance(x, GpuTensor) else x


def _to_gpu(x: Any) -> Any:
    return GpuTensor(x) if isinstance(x, torch.Tensor) and not isinstance(x, GpuTensor) else x


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info and not r.alias_info.is_write for r in returns)


def _written_arguments(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """Return the arguments that an operation writes and returns."""
    schema = func._schema
    if not any(r.alias_info and r.alias_info.is_write for r in schema.returns):
        return []
    return [
        kwargs[argument.name] if argument.name in kwargs else args[position]
        for position, argument in enumerate(schema.arguments)
        if argument.alias_info and argument.alias_info.is_write
    ]


def project_line() -> str:
    """Return the innermost line of the project that is being executed."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        _, found, file = frame.f_code.co_filename.rpartition("/darts/")
        if found and "/tests/" not in frame.f_code.co_filename:
            return f"darts/{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "a backward pass"


COUNTS = Counts()


def install() -> None:
    """Make PyTorch, in this process, believe that there is one GPU."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
        importlib.import_module(module)._foreach_supported_types.append(GpuTensor)
    properties = types.SimpleNamespace(
        name="pretended GPU", uuid="0", major=9, minor=0, total_memory=2**36,
        multi_processor_count=100,
    )  # fmt: skip
    replacements: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "synchronize": lambda device=None: None,
        "empty_cache": lambda: None,
        "max_memory_allocated": lambda device=None: 0,
        "get_device_name": lambda device=None: properties.name,
        "get_device_properties": lambda device=None: properties,
        "get_device_capability": lambda device=None: (properties.major, properties.minor),
        "is_bf16_supported": lambda *args, **options: True,
        "get_rng_state": _get_rng_state,
        "set_rng_state": _set_rng_state,
        "manual_seed_all": COUNTS.generator.manual_seed,
    }
    for name, function in replacements.items():
        setattr(torch.cuda, name, function)
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.Tensor.pin_memory = lambda self, device=None: self  # type: ignore[assignment, misc]
    torch.inference_mode = _inference_mode  # type: ignore[assignment, misc]
    _accept_gpu_generators()
    COUNTS.__enter__()


def _get_rng_state(device: Any = None) -> torch.Tensor:
    return COUNTS.generator.get_state()


def _set_rng_state(state: torch.Tensor, device: Any = None) -> None:
    COUNTS.generator.set_state(state)


def _inference_mode(mode: bool = True) -> Any:
    """Replace ``torch.inference_mode``, which tensor subclasses do not support."""
    return torch.no_grad() if mode else contextlib.nullcontext()


def _accept_gpu_generators() -> None:
    """Let ``torch.Generator("cuda")`` return a generator of the CPU."""
    real = torch.Generator

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

        def __call__(cls, device: Any = "cpu") -> Any:
            return real()

    class Generator(metaclass=Kind):
        pass

    torch.Generator = Generator  # type: ignore[assignment, misc]
