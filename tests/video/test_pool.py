"""The decoding processes: what they send, and what happens when one dies or hangs."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import encode
from decoding import SETTINGS, TINY, all_events, jobs_for
from told import telling

import featx.video.pool
from featx.video.pool import ClipArrived, Pool, WorkerLost
from featx.video.worker import Done, Failed, Hello, Job


def test_every_clip_arrives_whole_through_few_slots(tmp_path: Path) -> None:
    paths = [encode(tmp_path / f"{i}.mp4", 40 + i, seed=i) for i in range(4)]
    got: dict[int, dict[int, np.ndarray]] = {}
    done = {}
    with Pool(SETTINGS, workers=2) as pool:
        for event in all_events(pool, jobs_for(paths)):
            if isinstance(event, ClipArrived):
                got.setdefault(event.key, {})[event.clip] = event.frames.copy()
            elif isinstance(event, Done):
                done[event.key] = event.summary
    from featx.video.cutting import clips_of
    from featx.video.reader import open_video

    for key, path in enumerate(paths):
        video = open_video(path, frame_size=TINY.frame_size)
        expected = {n: np.stack(f, axis=1) for n, f in clips_of(video, SETTINGS.clip, TINY.cut)}
        assert got[key].keys() == expected.keys()
        for number, frames in expected.items():
            np.testing.assert_array_equal(got[key][number], frames)
        assert (done[key].frames, len(done[key].clip_frames)) == (40 + key, (40 + key) // 4)


def test_only_wanted_clips_are_sent(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 40)
    jobs = [
        Job(0, str(path), "auto", wanted=frozenset({2, 5, 99})),
        Job(1, str(path), "auto", without=frozenset(range(8))),
    ]
    with Pool(SETTINGS, workers=1) as pool:
        sent = [(e.key, e.clip) for e in all_events(pool, jobs) if isinstance(e, ClipArrived)]
    assert sorted(sent) == [(0, 2), (0, 5), (1, 8), (1, 9)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_process_that_dies_or_hangs_costs_its_video_alone(
    tmp_path: Path, how: signal.Signals
) -> None:
    paths = [encode(tmp_path / f"{i}.mp4", 400, seed=i) for i in range(6)]
    ended: dict[int, object] = {}
    hit: list[int] = []
    with Pool(SETTINGS, workers=1, timeout=4.0) as pool:
        for event in all_events(pool, jobs_for(paths)):
            if isinstance(event, ClipArrived) and event.key == 2 and pool.pids()[0] not in hit:
                hit.append(pool.pids()[0])
                os.kill(hit[-1], how)
            if isinstance(event, Done | Failed):
                ended[event.key] = event
        assert not set(hit) & set(pool.pids())
    assert ended.keys() == set(range(6))
    assert [key for key, event in ended.items() if isinstance(event, Failed)] == [2]
    reason = ended[2].reason
    assert (
        "hangs (silent for 4 s)" in reason
        if how == signal.SIGSTOP
        else f"crashed (signal {how.value})" in reason
    )
    assert len(hit) == (1 if how == signal.SIGSTOP else 2), (
        "a crash is given a second try, a hang is not"
    )


def test_a_process_that_is_killed_once_costs_nothing(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 400)
    kinds = []
    with Pool(SETTINGS, workers=1) as pool:
        for event in all_events(pool, jobs_for([path])):
            if isinstance(event, ClipArrived) and event.clip == 20 and "Restarted" not in kinds:
                os.kill(pool.pids()[0], signal.SIGKILL)
            kinds.append(type(event).__name__)
    assert kinds.count("Restarted") == 1
    assert kinds[-1] == "Done"
    assert kinds[kinds.index("Restarted") :].count("ClipArrived") == 100


def test_a_caller_that_is_busy_is_no_reason_to_call_a_decoder_hung(tmp_path: Path) -> None:
    paths = [encode(tmp_path / f"{i}.mp4", 200, seed=i) for i in range(2)]
    with Pool(SETTINGS, workers=1, timeout=1.5) as pool:
        kinds = set()
        for event in all_events(pool, jobs_for(paths)):
            kinds.add(type(event).__name__)
            if isinstance(event, ClipArrived) and event.clip in (3, 30):
                time.sleep(2.0)
                pool.excuse()
    assert "Failed" not in kinds
    assert "Done" in kinds


def test_processes_that_cannot_start_are_reported_not_retried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        featx.video.pool, "_START", "raise SystemExit('no such thing as numpy here')"
    )
    path = encode(tmp_path / "a.mp4", 10)
    with (
        Pool(SETTINGS, workers=2) as pool,
        pytest.raises(WorkerLost, match=telling("no such thing as numpy")),
    ):
        list(all_events(pool, jobs_for([path])))


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    import subprocess

    path = encode(tmp_path / "a.mp4", 2000, size=(240, 320))
    script = f"""
import sys; sys.path[:] = {sys.path!r}
from decoding import *
from featx.video.pool import Pool
from featx.video.worker import Done, Hello, Job
import time
with Pool(SETTINGS, workers=2) as pool:
    pool.submit([Job(k, {str(path)!r}, "auto") for k in range(50)])
    while sum(isinstance(e, Hello) for e in pool.events(5)) < 1: pass
    print(*pool.pids(), flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_script_without_a_main_guard_does_not_start_itself_again(tmp_path: Path) -> None:
    import subprocess

    path = encode(tmp_path / "a.mp4", 10)
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys; sys.path[:] = {sys.path!r}
print("started")
from decoding import *
from featx.video.pool import Pool
from featx.video.worker import Done, Hello, Job
import time
with Pool(SETTINGS, workers=2) as pool:
    print(sum(isinstance(e, Done) for e in all_events(pool, jobs_for([{str(path)!r}]))))
""")
    out = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=True
    )
    assert out.stdout.split() == ["started", "1"]


def test_hello_comes_from_every_worker() -> None:
    with Pool(SETTINGS, workers=3) as pool:
        hellos = 0
        deadline = time.monotonic() + 30
        while hellos < 3 and time.monotonic() < deadline:
            hellos += sum(isinstance(e, Hello) for e in pool.events(0.2))
    assert hellos == 3
