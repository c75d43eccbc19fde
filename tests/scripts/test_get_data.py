"""scripts/get-data.sh against a server on this machine: what is fetched is right, or not there."""

import gzip
import hashlib
import http.server
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "get-data.sh"
NAMES = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
]


class Server:
    """Serves a folder on a free port and counts what was asked for."""

    def __init__(self, folder):
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self):
                asked.append(self.path.lstrip("/"))
                super().do_GET()

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def server(source):
    server = Server(source)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mnist():
    """The folder of the real files."""
    data = pathlib.Path(os.environ.get("COLONNADE_DATA", ROOT.parent / "shared" / "data"))
    if not all((data / "mnist" / name).exists() for name in NAMES):
        pytest.skip(f"{data}/mnist does not hold MNIST (COLONNADE_DATA says where data sets are)")
    return data / "mnist"


def run(script, url, folder, path=None):
    environment = {**os.environ, "MNIST_URL": url, "no_proxy": "*"}
    if path:
        environment["PATH"] = str(path)
    return subprocess.run([str(script), "mnist", str(folder)], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def stand_in(tmp_path, source):
    """The script with the checksums of small files, and these files on the server."""
    text = SCRIPT.read_text()
    for name in NAMES:
        content = name.encode() * 1000
        (source / name).write_bytes(gzip.compress(content))
        line = next(line for line in text.splitlines() if f"{name[:-3]} " in line)
        old = line.rstrip("'").split()[-1]
        assert len(old) == 32
        text = text.replace(old, hashlib.md5(content).hexdigest())
    script = tmp_path / "get-data.sh"
    script.write_text(text)
    script.chmod(0o755)
    return script


def test_fetches_all_and_leaves_no_other_file(stand_in, source, server, tmp_path):
    folder = tmp_path / "a folder" / "mnist"
    done = run(stand_in, server.url, folder)
    assert done.returncode == 0, done.stderr
    assert listing(folder) == sorted(NAMES)
    for name in NAMES:
        assert (folder / name).read_bytes() == (source / name).read_bytes()


def test_right_files_are_not_fetched_again(stand_in, server, tmp_path):
    assert run(stand_in, server.url, tmp_path / "mnist").returncode == 0
    server.asked.clear()
    assert run(stand_in, server.url, tmp_path / "mnist").returncode == 0
    assert server.asked == []


def test_wrong_file_that_was_there_is_replaced(stand_in, source, server, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / NAMES[1]).write_bytes(b"half a down")
    assert run(stand_in, server.url, folder).returncode == 0
    assert (folder / NAMES[1]).read_bytes() == (source / NAMES[1]).read_bytes()


def test_other_compression_of_the_same_content_is_right(stand_in, source, server, tmp_path):
    content = gzip.decompress((source / NAMES[0]).read_bytes())
    (source / NAMES[0]).write_bytes(gzip.compress(content, compresslevel=1, mtime=7))
    assert run(stand_in, server.url, tmp_path / "mnist").returncode == 0


@pytest.mark.parametrize("damage", ["other content", "cut", "not gzip", "empty"])
def test_damaged_file_fails_and_leaves_nothing(stand_in, source, server, tmp_path, damage):
    good = (source / NAMES[0]).read_bytes()
    bad = {"other content": gzip.compress(b"something else"), "cut": good[:-3],
           "not gzip": b"<html>sign in</html>", "empty": b""}[damage]
    (source / NAMES[0]).write_bytes(bad)
    folder = tmp_path / "mnist"
    done = run(stand_in, server.url, folder)
    assert done.returncode == 1
    assert f"{server.url}/{NAMES[0]}: MD5" in done.stderr
    assert f"{folder}/{NAMES[0]}: none of its sources gave it" in done.stderr
    assert listing(folder) == []


def test_missing_file_fails_and_keeps_what_is_whole(stand_in, source, server, tmp_path):
    (source / NAMES[2]).unlink()
    folder = tmp_path / "mnist"
    done = run(stand_in, server.url, folder)
    assert done.returncode == 1
    assert "404" in done.stderr
    assert f"{server.url}/{NAMES[2]}: cannot be fetched" in done.stderr
    assert listing(folder) == sorted(NAMES[:2])


def test_second_source_is_tried(stand_in, server, tmp_path):
    done = run(stand_in, f"{server.url}/nowhere {server.url}/", tmp_path / "mnist")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not shutil.which("wget"), reason="wget is not installed")
def test_wget_does_where_curl_is_missing(stand_in, source, server, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in "bash env cat wget gzip md5sum mktemp mkdir mv rm chmod".split():
        (tools / tool).symlink_to(shutil.which(tool))
    assert run(stand_in, server.url, tmp_path / "mnist", tools).returncode == 0
    (source / NAMES[3]).unlink()
    done = run(stand_in, server.url, tmp_path / "other", tools)
    assert done.returncode == 1
    assert listing(tmp_path / "other") == sorted(NAMES[:3])


def test_dead_server_fails(stand_in, server, tmp_path):
    server.http.socket.close()
    done = run(stand_in, server.url, tmp_path / "mnist")
    assert done.returncode == 1
    assert listing(tmp_path / "mnist") == []


def test_folder_that_cannot_be_made_fails(stand_in, server, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(stand_in, server.url, tmp_path / "file" / "mnist")
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert server.asked == []


@pytest.mark.parametrize("arguments", [[], ["imagenet"], ["mnist", "a", "b"]])
def test_wrong_command_line_is_2_with_usage(arguments, tmp_path):
    done = subprocess.run([str(SCRIPT), *arguments], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
    assert listing(tmp_path) == []


def test_real_mnist_passes_the_checksums_of_the_script(mnist, tmp_path):
    server = Server(mnist)
    try:
        done = run(SCRIPT, server.url, tmp_path / "mnist")
    finally:
        server.close()
    assert done.returncode == 0, done.stderr
    assert listing(tmp_path / "mnist") == sorted(NAMES)
