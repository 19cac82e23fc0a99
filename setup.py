"""Builds the one extension, spikeconv._C; all else about the package stands in pyproject.toml.

SPIKECONV_CUDA=auto (default) compiles the CUDA sources where torch was built for CUDA and a toolkit
is found, 1 insists on it, 0 leaves them out. Whether a GPU is present plays no part: packages are
built on machines without one. TORCH_CUDA_ARCH_LIST names the architectures.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import setuptools

ROOT = Path(__file__).parent.resolve()
CSRC = ROOT / "csrc"
COMMANDS = set(sys.argv[1:])
BUILDS = {"bdist_wheel", "editable_wheel", "build", "build_ext", "develop", "install"}
NEED_WHEEL = {"bdist_wheel", "editable_wheel", "dist_info"}

# at::parallel_for is silently serial without -fopenmp, and GCC vectorises the comparison with the
# threshold only under -fno-trapping-math. -ffast-math would cost the bit equality of the backends,
# and so would a product and a sum that are rounded once where the others round twice.
CXX_FLAGS = ["-O3", "-g0", "-fopenmp", "-fno-trapping-math", "-ffp-contract=off"]
# nvcc only warns of a kernel that calls what is for the host, and leaves it empty.
NVCC_FLAGS = ["-O3", "-fmad=false", "-Werror=cross-execution-space-call"]
CUDA_DEFINE = "-DSPIKECONV_WITH_CUDA"
DEFAULT_ARCHITECTURES = "8.0;9.0+PTX"


def fail(message: str) -> NoReturn:
    """Ends the build with one line."""
    sys.exit(f"spikeconv: {message}")


def tell(message: str) -> None:
    """Says one line to whoever runs the install.

    pip shows what a build prints only with -v or after a failure, so where pip's own error stream
    is a terminal or a pipe the line goes there. A regular file is left alone: a second writer would
    be overwritten by pip's next line.
    """
    line = f"spikeconv: {message}\n"
    try:
        descriptor = os.open(f"/proc/{os.getppid()}/fd/2", os.O_WRONLY | os.O_NOCTTY)
    except OSError:
        sys.stderr.write(line)
        return
    with os.fdopen(descriptor, "w") as stream:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            sys.stderr.write(line)
        else:
            stream.write("\n" + line)


def compiles(command: str) -> bool:
    """Whether a command is there and knows C++."""
    try:
        words = [*shlex.split(command), "-E", "-x", "c++", "-"]
        answer = subprocess.run(
            words, input="__cplusplus", capture_output=True, text=True, check=False
        )
    except (OSError, ValueError):  # none of that name, or words with a quotation mark too few
        return False
    return re.search(r"^\d+L$", answer.stdout, re.MULTILINE) is not None


def find_compiler() -> str | None:
    """The C++ compiler's command, or None after a line that says what is missing."""
    asked = os.environ.get("CXX", "").strip()
    if not asked:
        os.environ.pop("CXX", None)  # empty, it would be the compiler to setuptools and torch
    for command in [asked] if asked else ["c++", "g++", "clang++"]:
        if compiles(command):
            return command
    looked = f"CXX={asked}" if asked else "c++, g++ or clang++"
    tell(
        f"no C++ compiler found ({looked}), so the backends cpp and cuda are left out; "
        "reference and triton work. Install g++ (Debian: apt-get install g++) and install again."
    )
    return None


def find_toolkit() -> None:
    """Sets CUDA_HOME to the toolkit itself where the nvcc on the path is a script outside of it.

    torch takes the folder above nvcc's, which then holds neither headers nor libraries.
    """
    nvcc = shutil.which("nvcc")
    if nvcc is None or "CUDA_HOME" in os.environ or "CUDA_PATH" in os.environ:
        return
    if (Path(nvcc).parent.parent / "include" / "cuda_runtime.h").exists():
        return
    dry_run = [nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull]
    answer = subprocess.run(dry_run, capture_output=True, text=True, check=False)
    top = re.search(r"^#\$ TOP=(.+)$", answer.stderr, re.MULTILINE)
    if top is not None:
        os.environ["CUDA_HOME"] = str(Path(top[1]).resolve())


def with_cuda(built_for: str | None, home: str | None) -> bool:
    """Whether to compile the CUDA sources, from torch.version.cuda and CUDA_HOME."""
    choice = os.environ.get("SPIKECONV_CUDA") or "auto"
    if choice not in ("auto", "0", "1"):
        fail(f"SPIKECONV_CUDA must be auto, 0 or 1, got {choice!r}")
    toolkit = home is not None and (Path(home) / "bin" / "nvcc").exists()
    version = toolkit_version(str(home)) if toolkit and choice != "0" else None
    # torch refuses to compile with a toolkit of another major version.
    possible = None not in (built_for, version) and str(built_for).split(".")[0] == version
    given = f"torch.version.cuda={built_for!r}, CUDA_HOME={home!r} and its major version {version}"
    if choice == "1" and not possible:
        fail(
            "SPIKECONV_CUDA=1 wants a torch built for CUDA, and a toolkit with bin/nvcc of the "
            f"same major version, got {given}"
        )
    if choice == "auto" and version is not None and built_for is not None and not possible:
        tell(f"the CUDA toolkit does not fit torch, so the backend cuda is left out: {given}")
    return possible and choice != "0"


def toolkit_version(home: str) -> str | None:
    """The major version of a toolkit's nvcc, or None where it does not say."""
    nvcc = [str(Path(home) / "bin" / "nvcc"), "--version"]
    answer = subprocess.run(nvcc, capture_output=True, text=True, check=False)
    release = re.search(r"release (\d+)", answer.stdout)
    return release[1] if release else None


def sources(cuda: bool) -> list[str]:
    """The files to compile, relative to the project's root as setuptools wants them."""
    patterns = ["*.cpp", "cpu/*.cpp"] + (["cuda/*.cpp", "cuda/*.cu"] if cuda else [])
    found = sorted(path for pattern in patterns for path in CSRC.glob(pattern))
    return [str(path.relative_to(ROOT)) for path in found]


def extension_arguments() -> dict[str, Any]:
    """setup()'s arguments for the extension: none where no C++ compiler is found."""
    if find_compiler() is None:
        return {}
    find_toolkit()
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_ARCHITECTURES)
    try:
        import torch
        from torch.utils import cpp_extension
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        fail(
            "building needs torch in this environment: pip install torch, then "
            "pip install --no-build-isolation . (an isolated build does not see it)"
        )

    class BuildExtension(cpp_extension.BuildExtension):
        """torch's build_ext, with x.cpp and x.cu of one folder in two object files."""

        def build_extensions(self) -> None:
            plain = self.compiler.object_filenames

            def object_filenames(files: list[str], *args: Any, **kwargs: Any) -> list[str]:
                objects = plain(files, *args, **kwargs)
                return [
                    f"{obj.removesuffix('.o')}.cu.o" if file.endswith(".cu") else obj
                    for file, obj in zip(files, objects, strict=True)
                ]

            self.compiler.object_filenames = object_filenames
            super().build_extensions()

    cuda = with_cuda(torch.version.cuda, cpp_extension.CUDA_HOME)
    flags = {"cxx": list(CXX_FLAGS), "nvcc": list(NVCC_FLAGS)}
    if cuda:
        flags = {compiler: [*given, CUDA_DEFINE] for compiler, given in flags.items()}
    make: Any = cpp_extension.CUDAExtension if cuda else cpp_extension.CppExtension
    extension = make(
        name="spikeconv._C",
        sources=sources(cuda),
        include_dirs=[str(CSRC)],
        depends=[str(path.relative_to(ROOT)) for path in sorted(CSRC.rglob("*.h"))],
        extra_compile_args=flags,
        extra_link_args=["-fopenmp"],
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": BuildExtension}}


def provide_wheel() -> None:
    """Lets a setuptools before 70.1 make wheels: it needs the package wheel, for this build only.

    An isolated build would have it from build-system.requires; a new environment of Python 3.10 or
    3.11 has such a setuptools and no wheel, and pip does not say so.
    """
    if any(importlib.util.find_spec(name) for name in ("wheel", "setuptools.command.bdist_wheel")):
        return
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "wheel<0.46"]
    if subprocess.run(install, check=False).returncode != 0:
        fail(
            f"setuptools {setuptools.__version__} cannot make a wheel by itself: "
            "pip install 'setuptools>=77', then install again"
        )
    sys.path.append(folder)


if COMMANDS & NEED_WHEEL:
    provide_wheel()

setuptools.setup(
    packages=[
        *setuptools.find_packages(include=["spikeconv", "spikeconv.*"]),
        "spikeconv.kernels",
        *(f"spikeconv.kernels.{name}" for name in setuptools.find_packages("kernels")),
    ],
    package_dir={"spikeconv.kernels": "kernels"},
    # Not in pyproject.toml, where old and new setuptools want different spellings of a licence.
    license="Apache-2.0",
    # Metadata and source distributions need neither torch nor a compiler.
    **(extension_arguments() if COMMANDS & BUILDS else {}),
)
