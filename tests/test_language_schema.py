"""The OpenAI backend with a real server that supports schemas, llama.cpp's, and an untrained model."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instructedit.language import Parsed
from instructedit.language.prompt import FIELDS
from instructedit.types import StageError
from tests.language_server import openai_language

for package in ("gguf", "xllamacpp"):
    pytest.importorskip(package, reason=f"llama.cpp's server needs {package}: install this project with [dev]")

BYTES = [f"<0x{byte:02X}>".encode() for byte in range(256)]
TOKENS = [b"<unk>", b"<s>", b"</s>", *BYTES]
WIDTH = 32
QUESTIONS: tuple[list[str], list[str | None]] = (
    ["Change the dog to a cat", "Change it to a cat"],
    [None, "Photo of a dog"],
)
# Its one argument is the model's file, the other the port; it says when it listens, and ends with its input.
SERVER = """
import sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_ctx, params.n_parallel, params.warmup = 16384, 2, False
params.sampling.seed, params.sampling.min_p, params.sampling.top_p, params.sampling.top_k = 1, 0.0, 1.0, 0
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
print("listening", flush=True)
sys.stdin.read()
"""


def write_model(path: Path) -> None:
    """A Llama that draws every byte by lot: "a", now and then a quote, before long the end; others where it must."""
    import gguf

    chances = np.full(len(TOKENS), -20.0, np.float32)
    chances[[TOKENS.index(b"<0x61>"), TOKENS.index(b"<0x22>"), TOKENS.index(b"</s>")]] = 6.0, 1.0, 3.0
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(16384)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types([gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}")
    # All embeddings are equal and all layers add zero, so only the last matrix determines the output.
    tensors = {"token_embd": np.ones((len(TOKENS), WIDTH)), "output": np.repeat(chances[:, None] / WIDTH, WIDTH, 1)}
    tensors |= {name: np.ones(WIDTH) for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")}
    layer = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    tensors |= {f"blk.0.{name}": np.zeros((WIDTH, WIDTH)) for name in layer}
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    write_model(folder / "chance.gguf")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", SERVER, str(folder / "chance.gguf"), port]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        if not any(b"listening" in line for line in process.stdout):
            pytest.fail(f"llama.cpp's server does not come up:\n{(folder / 'log').read_text()[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def answers(url: str, structured: str) -> list[Parsed | StageError]:
    settings: dict[str, Any] = {"structured": structured, "temperature": 1.0, "max_tokens": 2000, "timeout": 60.0}
    return openai_language(url, **settings).parse(*QUESTIONS)


@pytest.mark.parametrize("structured", ["auto", "always"])
def test_even_babble_is_json_of_the_schema(url: str, structured: str, caplog: pytest.LogCaptureFixture) -> None:
    for answer in answers(url, structured):
        assert isinstance(answer, Parsed), answer
        said = json.loads(answer.reply)
        assert list(said) == list(FIELDS)
        assert answer.captions.edited == said["editing_prompt_2"].strip(" .,;")
        assert answer.tokens is not None
        # The model's every token is a byte.
        assert answer.tokens.prompt > 2000
        assert answer.tokens.completion >= len(answer.reply.encode())
    assert not [record for record in caplog.records if record.name.startswith("instructedit")]


def test_without_the_schema_it_is_babble(url: str) -> None:
    for answer in answers(url, "never"):
        assert isinstance(answer, StageError)
        assert 'asked twice, and still the reply has no "Segmentation prompt:"' in str(answer)
