"""No bad file is ever visible, and whatever stops a run, the next one completes it."""

from __future__ import annotations

import fcntl
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.corpus.download import (
    Blob,
    DownloadReport,
    OnFile,
    download,
    download_archive,
    git_blob_sha1,
    install_from,
    sgd_blobs,
    verify_download,
)
from agent_gym_env.corpus.fetch import FetchLimits
from agent_gym_env.corpus.locations import RECORD_NAME
from agent_gym_env.corpus.sgd_reader import open_source
from agent_gym_env.errors import ChecksumError, DataError, LockError, StorageError
from agent_gym_env.storage.files import locked
from tests.corpus.fault_server import (
    FaultServer,
    cut_at,
    dripping,
    dripping_headers,
    hung_up,
    of_length,
    other,
    redirect,
    status,
)
from tests.timing import PROCESS_S, SOON_S


def small_tree(shards: int = 20) -> dict[str, bytes]:
    """Files in SGD's layout, of different sizes."""
    files = {"LICENSE.txt": b"ours", "train/schema.json": b"[]", "dev/schema.json": b"[1]"}
    for number in range(1, shards + 1):
        files[f"train/dialogues_{number:03}.json"] = b'{"shard": %d}' % number * 40 * number
    return files


FILES = small_tree()
BLOBS = tuple(Blob(path, git_blob_sha1(content)) for path, content in FILES.items())
SHARD = "train/dialogues_007.json"
QUICK = FetchLimits(backoff_s=0.001, idle_s=5.0, deadline_s=60.0, max_bytes=100_000)
ONE_ATTEMPT = FetchLimits(attempts=1, idle_s=5.0, deadline_s=60.0)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(FILES) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "sgd" / "commit"


def fetch(
    server: FaultServer,
    folder: Path,
    limits: FetchLimits = QUICK,
    connections: int = 4,
    on_file: OnFile | None = None,
) -> DownloadReport:
    return download(
        url=server.url,
        folder=folder,
        blobs=BLOBS,
        limits=limits,
        connections=connections,
        on_file=on_file,
    )


def files_in(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but the record, hidden or not."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != RECORD_NAME
    }


def assert_only_whole_files(folder: Path) -> None:
    for path, content in files_in(folder).items():
        if not path.endswith(".unfinished"):
            assert content == FILES[path]


def test_everything_is_fetched_once_and_reported(server: FaultServer, folder: Path) -> None:
    report = fetch(server, folder)
    assert files_in(folder) == FILES
    assert Counter(server.requests) == Counter(FILES.keys())
    assert report == DownloadReport(str(folder), tuple(sorted(FILES)), (), ())


def test_a_second_run_asks_for_nothing(server: FaultServer, folder: Path) -> None:
    fetch(server, folder)
    server.requests.clear()
    report = fetch(server, folder)
    assert server.requests == []
    assert (report.installed, report.present, report.missing) == ((), tuple(FILES), ())


def test_progress_is_told_file_by_file(server: FaultServer, folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fetch(server, folder, on_file=lambda *arguments: told.append(arguments))
    assert [(done, total) for _, done, total in told] == [
        (done, len(FILES)) for done in range(1, len(FILES) + 1)
    ]
    assert {name for name, _, _ in told} == set(FILES)


def test_the_environment_names_a_mirror(
    server: FaultServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_GYM_SGD_URL", server.url.rstrip("/"))
    download(folder=folder, blobs=BLOBS, limits=QUICK)
    assert files_in(folder) == FILES


def test_a_damaged_or_lost_file_is_all_that_the_next_run_fetches(
    server: FaultServer, folder: Path
) -> None:
    fetch(server, folder)
    server.requests.clear()
    (folder / SHARD).write_bytes(b"damaged")
    (folder / "LICENSE.txt").unlink()
    report = fetch(server, folder)
    assert files_in(folder) == FILES
    assert sorted(server.requests) == ["LICENSE.txt", SHARD] == list(report.installed)


def test_wrong_bytes_name_the_url_and_both_hashes(server: FaultServer, folder: Path) -> None:
    server.always(SHARD, other(b"hello\n"))
    with pytest.raises(ChecksumError) as caught:
        fetch(server, folder)
    assert caught.value.file == server.url + SHARD
    assert git_blob_sha1(FILES[SHARD]) in caught.value.problem
    assert "ce013625030ba8dba906f756967f9e9ca394464a" in caught.value.problem
    assert not (folder / SHARD).exists()
    assert_only_whole_files(folder)


def test_a_body_that_is_longer_than_its_length_says_is_a_checksum_error(
    server: FaultServer, folder: Path
) -> None:
    server.always(SHARD, of_length(10))
    with pytest.raises(ChecksumError):
        fetch(server, folder)
    assert not (folder / SHARD).exists()


def test_a_failing_server_is_asked_four_times_for_a_file(server: FaultServer, folder: Path) -> None:
    server.always(SHARD, status(503))
    with pytest.raises(DataError, match="4 attempts"):
        fetch(server, folder)
    assert server.requests.count(SHARD) == 4
    assert_only_whole_files(folder)


@pytest.mark.parametrize(
    "location", ["http://example.org/x", "file:///etc/passwd", "http://[::1]/x"]
)
def test_a_redirect_elsewhere_ends_the_download(
    server: FaultServer, folder: Path, location: str
) -> None:
    server.always(SHARD, redirect(location))
    with pytest.raises(DataError):
        fetch(server, folder)
    assert not (folder / SHARD).exists()


def test_thirty_percent_of_failures_do_not_stop_a_download(
    server: FaultServer, folder: Path
) -> None:
    generator = random.Random(3)
    faults = [status(500), status(429), cut_at(5), hung_up]
    for path in FILES:
        for _ in range(3):
            if generator.random() < 0.3:
                server.plan(path, generator.choice(faults))
    fetch(server, folder)
    assert files_in(folder) == FILES
    assert len(server.requests) > len(FILES)


def test_a_run_cut_at_any_of_a_hundred_offsets_leaves_whole_files_and_is_resumed(
    server: FaultServer, folder: Path
) -> None:
    few = [blob for blob in BLOBS if blob.path == SHARD or "schema" in blob.path]
    size = len(FILES[SHARD])
    for offset in range(0, size, -(-size // 100)):
        shutil.rmtree(folder, ignore_errors=True)
        server.plan(SHARD, cut_at(offset))
        with pytest.raises(DataError, match="1 attempts"):
            download(url=server.url, folder=folder, blobs=few, limits=ONE_ATTEMPT)
        kept = files_in(folder)
        assert SHARD not in kept
        assert_only_whole_files(folder)
        assert not (folder / RECORD_NAME).exists()
        report = download(url=server.url, folder=folder, blobs=few, limits=QUICK)
        assert set(report.present) == kept.keys()
        assert files_in(folder).keys() == {blob.path for blob in few}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(dripping(0.05), id="body"),
        pytest.param(dripping_headers(0.05, for_s=120.0), id="headers"),
    ],
)
def test_a_server_that_drips_holds_nobody_beyond_the_deadline(
    server: FaultServer, folder: Path, answer: object
) -> None:
    server.always(SHARD, answer)  # type: ignore[arg-type]
    started = time.monotonic()
    with pytest.raises(DataError, match="not finished within 1 s"):
        fetch(server, folder, FetchLimits(deadline_s=1.0))
    assert time.monotonic() - started < SOON_S
    assert not (folder / SHARD).exists()
    assert_only_whole_files(folder)


def test_a_failing_callback_ends_the_download_and_the_next_run_completes_it(
    server: FaultServer, folder: Path
) -> None:
    def fail(name: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, folder, on_file=fail)
    assert not (folder / RECORD_NAME).exists()
    fetch(server, folder)
    assert files_in(folder) == FILES


def write_zip(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path: Path, files: dict[str, bytes], top: str = "") -> Path:
    for name, content in files.items():
        (path / top / name).parent.mkdir(parents=True, exist_ok=True)
        (path / top / name).write_bytes(content)
    return path


@pytest.mark.parametrize("top", ["", "repository-master/"])
@pytest.mark.parametrize("write", [write_zip, write_tar, write_folder])
def test_local_sgd_is_installed(tmp_path: Path, folder: Path, write: object, top: str) -> None:
    path = write(tmp_path / "local copy", {**FILES, "notes.txt": b"not listed"}, top)  # type: ignore[operator]
    report = install_from(path, folder=folder, blobs=BLOBS)
    assert files_in(folder) == FILES
    assert report.missing == ()


def test_an_incomplete_archive_is_installed_and_what_it_lacks_is_reported(
    tmp_path: Path, folder: Path, server: FaultServer
) -> None:
    half = {name: content for name, content in FILES.items() if name != SHARD}
    report = install_from(write_zip(tmp_path / "half.zip", half), folder=folder, blobs=BLOBS)
    assert report.missing == (SHARD,)
    assert msgspec.json.decode((folder / RECORD_NAME).read_bytes())["missing"] == [SHARD]
    assert fetch(server, folder).installed == (SHARD,)
    assert server.requests == [SHARD]


def test_an_archive_with_a_file_of_other_content_is_refused(tmp_path: Path, folder: Path) -> None:
    path = write_zip(tmp_path / "bad.zip", {**FILES, SHARD: b"other"}, "top/")
    with pytest.raises(ChecksumError) as caught:
        install_from(path, folder=folder, blobs=BLOBS)
    assert caught.value.file == f"{path}/top/{SHARD}"
    assert_only_whole_files(folder)
    assert not (folder / RECORD_NAME).exists()


def test_an_archive_of_something_else_is_refused(tmp_path: Path, folder: Path) -> None:
    path = write_zip(tmp_path / "else.zip", {"notes.txt": b"x"})
    with pytest.raises(DataError, match="none of SGD's 23 files"):
        install_from(path, folder=folder, blobs=BLOBS)


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/../../escaped"])
def test_an_archive_that_reaches_outside_writes_nothing_at_all(
    tmp_path: Path, folder: Path, write: object, name: str
) -> None:
    path = write(tmp_path / "evil", {**FILES, name: b"x"})  # type: ignore[operator]
    with pytest.raises(DataError, match="points outside"):
        install_from(path, folder=folder, blobs=BLOBS)
    assert os.listdir(tmp_path) == ["evil"]


def test_a_tar_with_a_symbolic_link_writes_nothing_at_all(tmp_path: Path, folder: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("train")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        archive.addfile(link)
    with pytest.raises(DataError, match="a link or a special file"):
        install_from(tmp_path / "evil.tar", folder=folder, blobs=BLOBS)
    assert os.listdir(tmp_path) == ["evil.tar"]


def test_a_zip_bomb_is_refused(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("LICENSE.txt", bytes(257 * 2**20))
    with pytest.raises(DataError, match="269,484,032 bytes"):
        install_from(path, folder=folder, blobs=BLOBS)
    assert files_in(folder) == {}


@pytest.fixture
def archive_server(tmp_path: Path) -> Iterator[FaultServer]:
    content = write_zip(tmp_path / "repository.zip", FILES, "repository-commit/").read_bytes()
    with FaultServer({"zip": content}) as running:
        yield running


def fetch_archive(server: FaultServer, folder: Path, limits: FetchLimits = QUICK) -> DownloadReport:
    return download_archive(url=server.url + "zip", folder=folder, blobs=BLOBS, limits=limits)


def test_the_archive_of_the_repository_is_fetched_once_and_not_kept(
    archive_server: FaultServer, folder: Path
) -> None:
    archive_server.plan("zip", cut_at(1000), status(503))
    report = fetch_archive(archive_server, folder)
    assert files_in(folder) == FILES
    assert report.installed == tuple(sorted(FILES))
    fetch_archive(archive_server, folder)
    assert len(archive_server.requests) == 3


def test_an_archive_that_is_no_archive_is_a_data_error_and_not_kept(
    archive_server: FaultServer, folder: Path
) -> None:
    archive_server.always("zip", other(b"<html>come back later</html>"))
    with pytest.raises(DataError):
        fetch_archive(archive_server, folder)
    assert files_in(folder) == {}


def test_an_archive_that_drips_is_left_at_the_deadline(
    archive_server: FaultServer, folder: Path
) -> None:
    archive_server.always("zip", dripping_headers(0.05, for_s=120.0))
    started = time.monotonic()
    with pytest.raises(DataError, match="not finished within 1 s"):
        fetch_archive(archive_server, folder, FetchLimits(deadline_s=1.0))
    assert time.monotonic() - started < SOON_S


def test_verify_tells_whole_damaged_and_missing_files_apart(
    server: FaultServer, folder: Path
) -> None:
    assert len(verify_download(folder, BLOBS).missing) == len(FILES)
    fetch(server, folder)
    (folder / "LICENSE.txt").unlink()
    (folder / "dev/schema.json").write_bytes(b"")
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    report = verify_download(folder, BLOBS)
    assert report.missing == ("LICENSE.txt",)
    assert report.damaged == ("dev/schema.json", SHARD)
    assert len(report.intact) == len(FILES) - 3


def test_a_folder_where_a_file_belongs_is_a_storage_error(
    server: FaultServer, folder: Path
) -> None:
    (folder / SHARD / "sub").mkdir(parents=True)
    with pytest.raises(StorageError, match="dialogues_007"):
        fetch(server, folder)


def test_a_lock_that_is_not_given_back_is_a_lock_error(server: FaultServer, folder: Path) -> None:
    with locked(folder.with_name("commit.lock"), wait_s=0):  # noqa: SIM117
        with pytest.raises(LockError):
            fetch(server, folder, FetchLimits(deadline_s=0.2))


def run_at_once(count: int, server: FaultServer, folder: Path) -> list[DownloadReport]:
    reports: list[DownloadReport] = []
    clients = [
        threading.Thread(target=lambda: reports.append(fetch(server, folder))) for _ in range(count)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return reports


def test_of_sixteen_clients_one_fetches_and_all_have_everything(
    server: FaultServer, folder: Path
) -> None:
    reports = run_at_once(16, server, folder)
    assert files_in(folder) == FILES
    assert Counter(server.requests) == Counter(FILES.keys())
    assert sorted(len(report.installed) for report in reports) == [0] * 15 + [len(FILES)]


def test_sixteen_clients_on_a_file_system_without_locks_have_everything(
    server: FaultServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    reports = run_at_once(16, server, folder)
    assert files_in(folder) == FILES
    assert [report.missing for report in reports] == [()] * 16


CLIENT = """
import resource, sys
from pathlib import Path
from agent_gym_env.corpus.download import parse_blobs
from agent_gym_env.corpus.download import download
from agent_gym_env.corpus.fetch import FetchLimits
from agent_gym_env.errors import StorageError

url, folder, blobs, file_limit = sys.argv[1:]
if file_limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_limit), resource.RLIM_INFINITY))
try:
    download(
        url=url,
        folder=Path(folder),
        blobs=parse_blobs(Path(blobs).read_text(), file=blobs),
        limits=FetchLimits(backoff_s=0.01, deadline_s=60.0),
        connections=2,
    )
except StorageError as error:
    sys.exit(f"StorageError: {error}")
"""


@pytest.fixture
def blob_list(tmp_path: Path) -> Path:
    path = tmp_path / "blobs.tsv"
    path.write_text("".join(f"{blob.sha1}\t{blob.path}\n" for blob in BLOBS))
    return path


def client(
    server: FaultServer,
    folder: Path,
    blob_list: Path,
    *,
    prefix: tuple[str, ...] = (),
    limit: str = "",
) -> subprocess.Popen[str]:
    """Start a process that downloads."""
    arguments = [sys.executable, "-c", CLIENT, server.url, str(folder), str(blob_list), limit]
    return subprocess.Popen([*prefix, *arguments], stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=PROCESS_S)
    return process.returncode, errors


def test_two_processes_at_once_fetch_each_file_once(
    server: FaultServer, folder: Path, blob_list: Path
) -> None:
    processes = [client(server, folder, blob_list) for _ in range(2)]
    assert [ended(process) for process in processes] == [(0, "")] * 2
    assert files_in(folder) == FILES
    assert Counter(server.requests) == Counter(FILES.keys())


@pytest.mark.parametrize(
    "rounds", [pytest.param(6, id="short"), pytest.param(200, marks=pytest.mark.long)]
)
def test_a_run_killed_at_any_moment_is_completed_by_the_next(
    server: FaultServer, folder: Path, blob_list: Path, rounds: int
) -> None:
    generator = random.Random(11)
    server.pause_s = 0.005
    for _ in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        server.requests.clear()
        process = client(server, folder, blob_list)
        last_request = generator.randrange(1, len(FILES))
        while len(server.requests) < last_request and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(generator.random() * 0.01)
        process.kill()
        ended(process)
        assert_only_whole_files(folder)
        kept = files_in(folder)
        server.requests.clear()
        fetch(server, folder)
        assert files_in(folder) == FILES
        assert set(server.requests) == FILES.keys() - kept.keys()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["fsync", "rename", "write"])
def test_a_run_killed_at_each_of_its_system_calls_is_completed_by_the_next(
    server: FaultServer, folder: Path, blob_list: Path, call: str
) -> None:
    killed = 0
    for number in range(1, 12):
        shutil.rmtree(folder, ignore_errors=True)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        prefix = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject)
        code, _ = ended(client(server, folder, blob_list, prefix=prefix))
        killed += code != 0
        assert_only_whole_files(folder)
        fetch(server, folder)
        assert files_in(folder) == FILES
    assert killed >= 8


@pytest.mark.parametrize("limit", [0, 1, 100, 600, 5000, 8000])
def test_a_disk_that_takes_no_more_is_a_storage_error_and_the_next_run_completes(
    server: FaultServer, folder: Path, blob_list: Path, limit: int
) -> None:
    code, errors = ended(client(server, folder, blob_list, limit=str(limit)))
    assert code == 1
    assert "StorageError: cannot write" in errors
    assert_only_whole_files(folder)
    assert not any(name.endswith(".unfinished") for name in files_in(folder))
    fetch(server, folder)
    assert files_in(folder) == FILES


FULL_DISK = """
import subprocess, sys
from pathlib import Path
folder, *command = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
first = subprocess.run(command, stderr=subprocess.PIPE, text=True)
assert "No space left on device" in first.stderr, first.stderr
assert first.stderr.startswith("StorageError"), first.stderr
assert not list(Path(folder).rglob("*.unfinished"))
subprocess.run(["mount", "-o", "remount,size=4m", folder], check=True)
subprocess.run(command, check=True)
for path in Path(folder).rglob("*.json"):
    print(path.relative_to(folder).as_posix(), path.stat().st_size)
"""


def may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_a_storage_error_and_with_room_the_next_run_completes(
    server: FaultServer, tmp_path: Path, blob_list: Path
) -> None:
    if not may_mount():
        pytest.skip("this user may not mount a small file system")
    disk_folder = tmp_path / "disk"
    disk_folder.mkdir()
    arguments = [sys.executable, "-c", CLIENT, server.url, f"{disk_folder}/sgd", str(blob_list), ""]
    script = [sys.executable, "-c", FULL_DISK, str(disk_folder)]
    done = subprocess.run(
        ["unshare", "-rm", *script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    sizes = dict(line.split() for line in done.stdout.splitlines())
    for name in FILES.keys() - {"LICENSE.txt"}:
        assert int(sizes[f"sgd/{name}"]) == len(FILES[name])


def test_real_sgd_is_served_fetched_and_verified(sgd_path: Path, tmp_path: Path) -> None:
    if sgd_path.is_dir():
        pytest.skip("AGENT_GYM_TEST_SGD names a folder; this test serves the archive's files")
    with zipfile.ZipFile(sgd_path) as archive:
        top = archive.namelist()[0].split("/")[0]
        files = {
            name.removeprefix(f"{top}/"): archive.read(name)
            for name in archive.namelist()
            if "/dev/" in name or name.endswith("LICENSE.txt")
        }
    blobs = [blob for blob in sgd_blobs() if blob.path in files]
    with FaultServer(files) as server:
        report = download(
            url=server.url, folder=tmp_path / "sgd", blobs=blobs, limits=FetchLimits()
        )
    assert report.missing == ()
    assert len(report.installed) == len(blobs) > 10
    with open_source(tmp_path / "sgd") as source:
        assert source.splits() == ("dev",)


def test_real_local_sgd_is_installed_as_far_as_it_goes(sgd_path: Path, tmp_path: Path) -> None:
    report = install_from(sgd_path, folder=tmp_path / "sgd")
    assert len(report.installed) + len(report.missing) == len(sgd_blobs())
    with open_source(tmp_path / "sgd") as installed, open_source(sgd_path) as original:
        assert installed.splits() == original.splits()
        assert installed.shards("train") == original.shards("train")
