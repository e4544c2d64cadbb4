import io
import os
import sys
from pathlib import Path

import pytest
from told import telling

from featx.errors import UsageError
from featx.video.source import Found, Source, check_ids, find_videos


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(found: Found) -> list[str]:
    return [s.id for s in found.sources]


def test_a_folder_is_searched_through_and_the_rest_is_counted(tmp_path: Path) -> None:
    touch(
        tmp_path / "b.mp4",
        tmp_path / "x" / "a.AVI",
        tmp_path / "x" / "notes.txt",
        tmp_path / "README",
        tmp_path / "x" / "y" / "c.mkv",
    )
    found = find_videos([tmp_path])
    assert ids(found) == ["b", "x/a", "x/y/c"]
    assert dict(found.ignored) == {".txt": 1, "no suffix": 1}


def test_files_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.avi", tmp_path / "b.mp4")
    assert ids(find_videos([tmp_path])) == ["a.avi", "a.mp4", "b"]


def test_a_video_below_another_that_is_named_like_a_layer_keeps_its_suffix(tmp_path: Path) -> None:
    touch(
        tmp_path / "a.mp4",
        tmp_path / "a" / "pool5.mp4",
        tmp_path / "a" / "clip_times.mp4",
        tmp_path / "b" / "pool5.mp4",
    )
    assert ids(find_videos([tmp_path], layers=["pool5"])) == [
        "a",
        "a/clip_times.mp4",
        "a/pool5.mp4",
        "b/pool5",
    ]


def test_names_that_the_file_format_uses_itself_keep_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path / ".failures.mp4", tmp_path / ".videos.mp4")
    assert ids(find_videos([tmp_path])) == [".failures.mp4", ".videos.mp4"]


def test_single_files_are_named_from_the_folder_that_holds_them_all(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4")
    assert ids(find_videos([tmp_path / "a" / "x.mp4"])) == ["x"]
    assert ids(find_videos([tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4"])) == ["a/x", "b/x"]
    assert ids(find_videos([tmp_path / "a" / "x.mp4"], root=str(tmp_path))) == ["a/x"]


def test_patterns_lists_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a" / "x.mp4", tmp_path / "b" / "y.mp4", tmp_path / "b" / "z.dat")
    assert ids(find_videos([str(tmp_path / "*" / "*.mp4")])) == ["a/x", "b/y"]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{tmp_path}/a/x.mp4\r\n\n{tmp_path}/b/z.dat\n")
    assert ids(find_videos([listed])) == ["a/x", "b/z"]
    for name in ("list", "my.paths"):  # by its first line
        listed.rename(tmp_path / name)
        assert ids(find_videos([tmp_path / name])) == ["a/x", "b/z"]
        (tmp_path / name).rename(listed)
    (tmp_path / "notes").write_text(f"not {tmp_path}/a/x.mp4\n")
    assert ids(find_videos([tmp_path / "notes"])) == ["notes"]
    (tmp_path / "a" / "x.mp4").write_text(f"{tmp_path}/b/z.dat\n")
    assert ids(find_videos([tmp_path / "a" / "x.mp4"])) == ["x"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{tmp_path}/b\n".encode())))
    assert ids(find_videos(["-"])) == ["y"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    touch(tmp_path / "a[1].mp4", tmp_path / "a1.mp4")
    assert ids(find_videos([str(tmp_path / "a[1].mp4")])) == ["a[1]"]


def test_the_same_file_given_twice_is_one_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.mp4")
    monkeypatch.chdir(tmp_path)
    assert ids(find_videos(["a.mp4", "./a.mp4", str(tmp_path / "a.mp4"), "."])) == ["a"]


def test_a_link_to_a_video_is_a_video_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "c.mp4").symlink_to("nowhere")
    assert ids(find_videos([tmp_path])) == ["a", "b", "c"]


def test_names_with_any_bytes(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.mp4"
    Path(os.fsdecode(raw)).touch()
    touch(tmp_path / 'with space, "quotes"\nand newline é漢.mp4')
    found = find_videos([tmp_path])
    assert ids(found) == ["\\xff\\xfe", 'with space, "quotes"\nand newline é漢']
    for source in found.sources:
        assert os.path.exists(source.path)
        source.text.encode()


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (["nowhere"], ("nowhere",)),
        (["nowhere/*.mp4"], ("nowhere/*.mp4",)),
        (["empty"], ("empty", 1)),
    ],
)
def test_nothing_found_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], told: tuple[object, ...]
) -> None:
    touch(tmp_path / "empty" / "a.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=telling(*told)):
        find_videos(inputs)


def test_a_root_must_hold_every_video_and_ids_must_differ(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.mp4", tmp_path / "b" / "x.mp4")
    with pytest.raises(UsageError, match=telling(tmp_path / "b", tmp_path / "a")):
        find_videos([tmp_path / "b"], root=str(tmp_path / "a"))
    with pytest.raises(UsageError, match=telling(tmp_path / "a/x.mp4", tmp_path / "b/x.mp4")):
        find_videos([tmp_path / "a", tmp_path / "b"])
    assert ids(find_videos([tmp_path / "a", tmp_path / "b"], root=str(tmp_path))) == ["a/x", "b/x"]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.mp4", tmp_path / "data" / "b.mp4")
    (tmp_path / "data" / "class").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "class" / "loop").symlink_to(tmp_path / "data")
    assert ids(find_videos([tmp_path / "data"])) == ["b", "class/a"]


def test_folders_that_a_pattern_names_are_searched(tmp_path: Path) -> None:
    touch(
        tmp_path / "x" / "a.mp4",
        tmp_path / "y" / "b.mp4",
        tmp_path / "y" / "c.txt",
        tmp_path / "d.mp4",
    )
    found = find_videos([str(tmp_path / "*")])
    assert ids(found) == ["d", "x/a", "y/b"]
    assert found.ignored == {".txt": 1}
    assert ids(find_videos([str(tmp_path / "**" / "*.mp4")])) == ["d", "x/a", "y/b"]


def test_what_a_list_names_and_is_not_there_costs_itself_alone(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + f"{tmp_path}/a.mp4\n{tmp_path}/gone.mp4\n".encode())
    assert ids(find_videos([listed])) == ["a", "gone"]
    listed.write_text("")
    with pytest.raises(UsageError, match=telling(listed)):
        find_videos([listed])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_list_says_its_encoding_by_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    touch(tmp_path / "ä漢.mp4", tmp_path / "b.mp4")
    listed = tmp_path / "list.txt"
    listed.write_bytes(f"{tmp_path}/ä漢.mp4\r\n{tmp_path}/b.mp4\r\n".encode(encoding))
    assert ids(find_videos([listed])) == ["b", "ä漢"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a.mp4\nb\0.mp4\n", ("NUL", 2)),
        ("a.mp4\n".encode("utf-16-le"), ("NUL", 1)),
        (b"\xff\xfea\0\0\xd8b\0", ("UTF-16",)),
        (b"\xff\xfe\0\0\xff\xff\xff\xff", ("UTF-32",)),
    ],
    ids=["nul", "no mark", "utf-16", "utf-32"],
)
def test_a_list_that_is_no_text_is_refused(
    tmp_path: Path, content: bytes, told: tuple[object, ...]
) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(content)
    with pytest.raises(UsageError, match=telling(listed, *told)):
        find_videos([listed])


def test_one_path_need_not_be_in_a_list(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    assert ids(find_videos(str(tmp_path))) == ids(find_videos(tmp_path)) == ["a"]


def test_ids_that_would_stand_where_a_layer_does_are_refused() -> None:
    check_ids(["a", "a/b", "pool5/a", "b/pool5"], ["pool5"])
    for wrong, told in [
        (["a", "a/pool5/x"], ("'a/pool5/x'", "pool5", "'a'")),
        ([".videos/a"], (".videos",)),
    ]:
        with pytest.raises(UsageError, match=telling(*told)):
            check_ids(wrong, ["pool5"])


def test_a_fingerprint_tells_files_of_one_size_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    content = bytearray(1_000_000)
    seen = set()
    for place in (None, 0, 500_000, 999_999):
        if place is not None:
            content[place] ^= 1
        path.write_bytes(content)
        seen.add(Source("a", str(path)).fingerprint())
    assert len(seen) == 4
