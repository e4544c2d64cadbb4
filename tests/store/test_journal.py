import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from journals import ORIGIN, summary
from told import telling

from featx.errors import FeatxError, UsageError
from featx.store.journal import Journal
from featx.system.files import write_atomically
from featx.video.cutting import Summary


def rows(*values: float) -> dict[str, np.ndarray]:
    return {
        "pool5": np.array([[v, -v] for v in values], np.float32),
        "fc": np.array([[v] * 3 for v in values], np.float32),
    }


def test_what_is_committed_is_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.begin({"model": "m"})
    journal.add("a/b", [1, 0], rows(1, 0), ORIGIN)
    journal.commit()
    journal.add("a/b", [2], rows(2), ORIGIN)
    journal.add("c", [0], rows(9), ORIGIN)
    journal.end("a/b", summary(3), ORIGIN)
    journal.commit()
    journal.close()

    again = Journal(tmp_path / "out.h5")
    assert again.settings == {"model": "m"}
    entry = again.entries["a/b"]
    assert (entry.clips, entry.origin, entry.whole) == (frozenset({0, 1, 2}), ORIGIN, True)
    read = {
        int(c): p["pool5"].read()[i][0] for clips, p in entry.stretches for i, c in enumerate(clips)
    }
    assert read == {0: 0, 1: 1, 2: 2}
    for field in dataclasses.fields(Summary):
        np.testing.assert_array_equal(
            getattr(entry.summary, field.name), getattr(summary(3), field.name)
        )
    assert not again.entries["c"].whole
    again.close()


def test_what_is_not_committed_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.add("a", [0], rows(1), ORIGIN)
    journal.close()
    again = Journal(tmp_path / "out.h5")
    assert again.entries == {}
    again.close()


def test_rows_are_committed_by_themselves_before_they_fill_the_memory(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    for clip in range(5):
        journal.add("a", [clip], {"x": np.zeros((1, 5 << 20), np.float32)}, ORIGIN)
    assert len(list(journal.folder.glob("*.part"))) == 1
    journal.close()


def test_a_run_commits_sooner_when_young_to_get_on_though_killed_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("featx.store.journal.monotonic", lambda: clock[0])
    journal = Journal(tmp_path / "out.h5")
    at = []
    for tick in range(3000):
        clock[0] = 1000.0 + tick / 10
        before = len(list(journal.folder.glob("*.part")))
        journal.add("a", [tick], rows(tick), ORIGIN)
        if len(list(journal.folder.glob("*.part"))) > before:
            at.append(tick / 10)
    journal.close()
    gaps = np.diff([0.0, *at])
    assert gaps[0] == pytest.approx(0.3)
    assert gaps.max() <= 5.2
    assert gaps[np.array(at) > 150].min() > 4.9


def test_a_forgotten_video_starts_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.begin({})
    journal.add("a", [0], rows(1), ORIGIN)
    journal.commit()
    journal.add("a", [1], rows(2), ORIGIN)
    journal.forget("a")
    journal.add("a", [0], rows(3), ORIGIN)
    journal.commit()
    journal.close()
    again = Journal(tmp_path / "out.h5")
    again.close()
    entry = again.entries["a"]
    assert entry.clips == frozenset({0})
    assert entry.stretches[0][1]["pool5"].read()[0][0] == 3


def test_torn_and_damaged_parts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.begin({})
    journal.add("a", [0], rows(1), ORIGIN)
    journal.commit()
    journal.close()
    (journal.folder / "00000001.part.tmp").write_bytes(b"featx part 1\n torn")
    whole = Journal(tmp_path / "out.h5")
    assert list(whole.entries) == ["a"]
    assert not list(journal.folder.glob("*.tmp"))
    whole.close()

    part = journal.folder / "00000000.part"
    data = bytearray(part.read_bytes())
    data[-6] ^= 1
    part.write_bytes(data)
    with pytest.raises(FeatxError, match=telling(part)):
        Journal(tmp_path / "out.h5")


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"", b"\xff\xff\xff\x7f"])
def test_a_part_whose_headers_are_damaged_is_named(tmp_path: Path, damage: bytes) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.begin({})
    journal.add("a", [0], rows(1), ORIGIN)
    journal.commit()
    journal.close()
    part = journal.folder / "00000000.part"
    content = part.read_bytes()
    part.write_bytes(
        content[:13] + damage + content[13 + len(damage) :] if damage else content[:50]
    )
    with pytest.raises(FeatxError, match=telling(part)):
        Journal(tmp_path / "out.h5")


def test_parts_without_their_settings_are_not_believed(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.add("a", [0], rows(1), ORIGIN)
    journal.commit()
    journal.close()
    with pytest.raises(FeatxError, match=telling(journal.folder)):
        Journal(tmp_path / "out.h5")


def test_parts_go_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "out.h5")
    journal.begin({})
    journal.add("a", [0], rows(1), ORIGIN)
    journal.commit()
    monkeypatch.setattr(
        "shutil.rmtree", lambda *args, **options: None
    )  # killed before the first file is deleted
    journal.remove()
    assert not journal.folder.exists()
    monkeypatch.undo()
    again = Journal(tmp_path / "out.h5")
    assert again.entries == {}
    again.close()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_in_which_nothing_began_leaves_nothing(tmp_path: Path) -> None:
    Journal(tmp_path / "out.h5").close()
    assert list(tmp_path.iterdir()) == []


def test_a_second_journal_says_who_holds_the_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.h5")
    with pytest.raises(UsageError, match=telling("out.h5", os.getpid(), socket.gethostname())):
        Journal(tmp_path / "out.h5")
    journal.close()
    Journal(tmp_path / "out.h5").remove()
    assert not journal.folder.exists()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    script = "import os; from pathlib import Path; from featx.store.journal import Journal\n"
    script += f"j = Journal(Path({str(tmp_path / 'out.h5')!r})); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    Journal(tmp_path / "out.h5").close()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fails(file) -> None:
        file.write(b"new")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_atomically(path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_full_disk_stops_cleanly_and_the_rest_is_safe(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)],
        check=False,
        capture_output=True,
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        journal = Journal(small / "out.h5")
        journal.begin({})
        journal.add("a", [0], {"x": np.zeros((1, 300_000), np.float32)}, ORIGIN)
        journal.commit()
        journal.add("b", [0], {"x": np.zeros((1, 900_000), np.float32)}, ORIGIN)
        with pytest.raises(FeatxError, match=telling(small)):
            journal.commit()
        journal.close()
        again = Journal(small / "out.h5")
        assert list(again.entries) == ["a"]
        again.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
