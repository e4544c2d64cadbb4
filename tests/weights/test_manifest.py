"""The registered checkpoints: the manifest, fetching and checking; no network but this machine's own."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import assert_one_sentence
from told import telling

from featx import list_models
from featx.errors import FeatxError, UsageError
from featx.models import model_entry
from featx.weights import download, manifest
from featx.weights.checkpoint import load_model
from featx.weights.description import describe
from featx.weights.manifest import Checkpoint, fetch, find, list_checkpoints, path_of, verify

pytestmark = pytest.mark.usefixtures("cache")


def test_the_manifest_is_sound() -> None:
    names = [c.name for c in list_checkpoints()]
    assert len(set(names)) == len(names)
    for checkpoint in list_checkpoints():
        assert checkpoint.architecture in list_models()
        assert checkpoint.licence
        assert checkpoint.source
        assert checkpoint.metrics
        assert checkpoint.labels is None or len(checkpoint.labels) == checkpoint.num_classes
        if checkpoint.file is not None:
            assert len(checkpoint.sha256) == 64
            assert verify(checkpoint.name) == checkpoint.sha256
            assert describe(path_of(checkpoint.name)) == checkpoint


def test_torchvisions_kinetics_checkpoint(cache: Path) -> None:
    checkpoint = find("r3d_18-kinetics400")
    entry = model_entry("r3d_18")
    assert checkpoint.architecture == "r3d_18"
    assert checkpoint.num_classes == 400
    assert checkpoint.url is not None
    # torch.hub's convention: the name carries the first digits of the sha256.
    assert checkpoint.url.endswith(f"r3d_18-{checkpoint.sha256}.pth")
    assert checkpoint.transform == entry.transform
    assert checkpoint.clip == entry.clip
    assert checkpoint.metrics["kinetics400 top-1 (%)"] == 63.2
    assert path_of(checkpoint.name) == cache / "r3d_18-b3b3357e.pth"
    # torchvision.transforms._presets.VideoClassification's numbers, for pixels in 0..1
    assert [round(m / 255, 6) for m in checkpoint.transform.mean] == [0.43216, 0.394666, 0.37645]
    assert [round(s / 255, 6) for s in checkpoint.transform.std] == [0.22803, 0.22145, 0.216989]


def test_find_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=telling("'r3d_18-kinetics'", "r3d_18-kinetics400")):
        find("r3d_18-kinetics")


@pytest.mark.parametrize(
    "change", [{"sha256": "xyz"}, {"format": "caffe"}, {"file": "a.pth"}, {"url": None}]
)
def test_a_bad_row_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=telling("r3d_18-kinetics400")):
        replace(list_checkpoints()[0], **change)  # type: ignore[arg-type]


def test_without_an_override_the_cache_is_the_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATX_CACHE")
    assert manifest.cache_dir().name == "featx"


# ---- fetching, from a server on this machine

BODY = bytes(range(256)) * 12_000  # 3 MB


class Server(ThreadingHTTPServer):
    """Serves BODY with ranges; `cut` ends an answer after so many bytes, `status` answers with that error.

    length: the Content-Length that it claims, "" for none; redirect: where it sends whoever asks.
    """

    daemon_threads = True
    cut: int | None = None
    status: int | None = None
    ranges: bool = True
    length: str | None = None
    redirect: str | None = None
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = (
            int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        )
        if self.server.redirect and not self.path.endswith("there.pth"):
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.server.status:
            return self.send_error(self.server.status)
        if start >= len(BODY):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        length = self.server.length
        if length != "":
            self.send_header("Content-Length", length or str(len(BODY) - start))
        self.end_headers()
        self.wfile.write(BODY[start : self.server.cut])
        return None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as served:
        served.asked = []
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def registered(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Checkpoint]:
    """Return a function that makes a checkpoint on the server the only registered one."""

    def register(
        sha256: str = hashlib.sha256(BODY).hexdigest(), port: int = server.server_port
    ) -> Checkpoint:
        checkpoint = replace(
            find("r3d_18-kinetics400"),
            name="it",
            url=f"http://127.0.0.1:{port}/it.pth",
            sha256=sha256,
        )
        monkeypatch.setattr(manifest, "list_checkpoints", lambda: [checkpoint])
        return checkpoint

    # find() is needed unpatched for the row to start from.
    original = list_checkpoints
    monkeypatch.setattr(manifest, "list_checkpoints", original)
    return register


def test_fetch(server: Server, registered: Callable[..., Checkpoint], cache: Path) -> None:
    registered()
    with pytest.raises(FeatxError, match=telling(cache / "it.pth", "featx weights fetch it")):
        verify("it")
    seen: list[tuple[int, int | None]] = []
    path = fetch("it", progress=lambda done, total: seen.append((done, total)))
    assert path == cache / "it.pth" == path_of("it")
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert verify("it") == hashlib.sha256(BODY).hexdigest()
    assert fetch("it") == path
    assert server.asked == [None]  # the second fetch found it here
    assert [p.name for p in cache.iterdir()] == ["it.pth"]


def test_fetch_continues_where_it_broke_off(
    server: Server, registered: Callable[..., Checkpoint], cache: Path
) -> None:
    registered()
    server.cut = 1_500_000
    with pytest.raises(FeatxError, match=telling("it.pth", 1500000)) as caught:
        fetch("it")
    assert_one_sentence(caught.value)
    assert not path_of("it").exists()
    server.cut = None
    seen: list[tuple[int, int | None]] = []
    assert fetch("it", progress=lambda done, total: seen.append((done, total))).read_bytes() == BODY
    assert server.asked == [None, "bytes=1500000-"]
    assert seen[0][0] > 1_500_000
    assert seen[-1] == (len(BODY), len(BODY))


def test_fetch_starts_again_where_the_server_knows_no_ranges(
    server: Server, registered: Callable[..., Checkpoint], cache: Path
) -> None:
    registered()
    cache.mkdir()
    (cache / "it.pth.part").write_bytes(b"x" * 1000)
    server.ranges = False
    assert fetch("it").read_bytes() == BODY


def test_a_complete_part_needs_no_more_bytes(
    server: Server, registered: Callable[..., Checkpoint], cache: Path
) -> None:
    registered()
    cache.mkdir()
    (cache / "it.pth.part").write_bytes(BODY)
    assert fetch("it").read_bytes() == BODY


@pytest.mark.parametrize("part", [b"", b"y" * 2000, b"y" * (len(BODY) + 5)])
def test_a_wrong_file_is_deleted(
    registered: Callable[..., Checkpoint], cache: Path, part: bytes
) -> None:
    registered(sha256="0" * 64 if not part else hashlib.sha256(BODY).hexdigest())
    cache.mkdir()
    (cache / "it.pth.part").write_bytes(part)
    with pytest.raises(
        FeatxError, match=telling("it.pth", "sha256", "featx weights fetch it")
    ) as caught:
        fetch("it")
    assert_one_sentence(caught.value)
    assert list(cache.iterdir()) == []


def test_a_prefix_of_the_sha256_is_enough(registered: Callable[..., Checkpoint]) -> None:
    full = hashlib.sha256(BODY).hexdigest()
    registered(sha256=full[:8])
    fetch("it")
    assert verify("it") == full


def test_a_spoilt_file_in_the_cache_is_not_used(registered: Callable[..., Checkpoint]) -> None:
    registered()
    fetch("it").write_bytes(BODY[:-1] + b"?")
    for use in (verify, fetch, lambda name: load_model("r3d_18", name)):
        with pytest.raises(FeatxError, match=telling(path_of("it"), "featx weights fetch it")):
            use("it")


def test_no_network_says_what_to_put_where(
    server: Server, registered: Callable[..., Checkpoint], cache: Path
) -> None:
    registered(port=9)  # nothing listens there
    told = "http://127.0.0.1:9/it.pth", cache / "it.pth"
    with pytest.raises(FeatxError, match=telling(*told)) as caught:
        fetch("it")
    assert_one_sentence(caught.value)


def test_the_servers_refusal_is_told(server: Server, registered: Callable[..., Checkpoint]) -> None:
    registered()
    server.status = 404
    with pytest.raises(FeatxError, match=telling("404 Not Found")):
        fetch("it")


def test_one_download_at_a_time(registered: Callable[..., Checkpoint]) -> None:
    registered()
    refused: list[str] = []

    def again(done: int, total: int | None) -> None:
        if not refused:
            with pytest.raises(FeatxError, match=telling(path_of("it"))) as caught:
                fetch("it")
            refused.append(str(caught.value))

    assert fetch("it", progress=again).read_bytes() == BODY
    assert refused


def test_an_unwritable_cache(
    registered: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "file"))
    with pytest.raises(FeatxError, match=telling(tmp_path / "file")):
        fetch("it")


@pytest.mark.parametrize("length", ["abc", "-5", ""])
def test_a_length_that_is_none_changes_nothing(
    server: Server, registered: Callable[..., Checkpoint], length: str
) -> None:
    registered()
    server.length = length
    told: list[int | None] = []
    assert fetch("it", progress=lambda _, total: told.append(total)).read_bytes() == BODY
    assert set(told) == {None}


@pytest.mark.parametrize("length", ["abc", str(len(BODY))])
def test_more_than_a_checkpoint_can_have_is_not_kept(
    server: Server,
    registered: Callable[..., Checkpoint],
    cache: Path,
    length: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered()
    server.length = length
    monkeypatch.setattr("featx.weights.download.MOST", 2_000_000)
    with pytest.raises(FeatxError, match=telling("0.0 GB")) as raised:
        fetch("it")
    assert_one_sentence(raised.value)
    assert list(cache.iterdir()) == []


def test_a_redirect_to_http_is_followed_and_one_elsewhere_is_not(
    server: Server, registered: Callable[..., Checkpoint], tmp_path: Path, cache: Path
) -> None:
    registered()
    (tmp_path / "secret").write_text("secret")
    for url in ("ftp://127.0.0.1:9/it.pth", (tmp_path / "secret").as_uri(), "data:,x"):
        server.redirect = url
        with pytest.raises(FeatxError, match=telling(url)) as raised:
            fetch("it")
        assert_one_sentence(raised.value)
    assert len(server.asked) == 3
    server.redirect = f"http://127.0.0.1:{server.server_port}/there.pth"
    assert fetch("it").read_bytes() == BODY


def test_a_redirect_never_leaves_https() -> None:
    handler, asked = download._Redirects(), urllib.request.Request("https://a/it.pth")
    with pytest.raises(urllib.error.URLError, match=telling("http://a/there.pth")):
        handler.redirect_request(
            asked, io.BytesIO(), 302, "", http.client.HTTPMessage(), "http://a/there.pth"
        )
    there = handler.redirect_request(
        asked, io.BytesIO(), 302, "", http.client.HTTPMessage(), "https://b/there.pth"
    )
    assert there is not None
    assert there.full_url == "https://b/there.pth"


def test_nothing_is_downloaded_into_a_link_or_another_users_file(
    registered: Callable[..., Checkpoint],
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered()
    cache.mkdir(exist_ok=True)
    (tmp_path / "precious").write_text("precious")
    part = cache / "it.pth.part"
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match=telling(part)):
        fetch("it")
    part.unlink()
    part.write_bytes(b"")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(FeatxError, match=telling(part)):
        fetch("it")
    assert (tmp_path / "precious").read_text() == "precious"
