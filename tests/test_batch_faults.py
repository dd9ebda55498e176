"""What goes wrong in long jobs, made to go wrong: the output is that of a quiet run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from batch_fixtures import WordsTask, answer, files, notes, start
from tiny import one_line

from cmsearch.batch.job import run
from cmsearch.batch.local import LocalEngine
from cmsearch.batch.output import Output
from cmsearch.batch.source import Source
from cmsearch.errors import BatchError

COUNT = 2_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return notes(tmp_path_factory.mktemp("in") / "notes.jsonl", COUNT)


@pytest.fixture(scope="module")
def quiet(source, tmp_path_factory):
    """The files of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("quiet") / "out.jsonl"
    done = answer(source, out)
    assert (done.answered, done.set_aside) == (COUNT - 20, 20)
    return files(out)


def rows(out: Path) -> list[int]:
    return [json.loads(line)["row"] for line in out.read_text("utf-8").splitlines()]


def test_killed_twenty_times(source, quiet, tmp_path):
    out = tmp_path / "out.jsonl"
    chance = random.Random(7)
    reached = []
    for _ in range(20):
        with start(source, out, pause=0.001) as job:
            assert job.stdout.readline() == "begun\n"
            time.sleep(chance.random() * 0.06)
            if chance.random() < 0.5:
                os.killpg(job.pid, signal.SIGKILL)
            else:
                job.kill()
        assert job.returncode == -signal.SIGKILL
        assert not out.exists()
        reached.append(json.loads((tmp_path / "out.jsonl.parts/progress.json").read_text()))
    chunks = [progress["chunks"] for progress in reached]
    assert chunks == sorted(chunks)
    assert 0 < chunks[-1] < COUNT / 64
    done = answer(source, out)
    assert done.resumed == reached[-1]["answered"] + reached[-1]["set_aside"] > 0
    assert files(out) == quiet
    assert not (tmp_path / "out.jsonl.parts").exists()


def test_workers_end_with_their_job(source, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    with start(source, tmp_path / "out.jsonl", pause=0.005, pids=str(pids)) as job:
        assert job.stdout.readline() == "begun\n"
        job.kill()
    left = [int(path.name) for path in pids.iterdir()]
    assert left
    for _ in range(200):
        left = [pid for pid in left if alive(pid)]
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"workers {left} live on")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_killed_worker_is_replaced(source, quiet, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    out = tmp_path / "out.jsonl"
    killed = []

    def kill_one(answered, set_aside, read):
        if answered > 300 * (len(killed) + 1) and len(killed) < 2:
            working = [int(path.name) for path in pids.iterdir() if alive(int(path.name))]
            os.kill(working[-1], signal.SIGKILL)
            killed.append(working[-1])

    task = WordsTask(pids=str(pids), pause=0.0005)
    answer(source, out, task=task, workers=2, watch=kill_one)
    assert len(set(killed)) == 2
    assert len(list(pids.iterdir())) > 2
    assert files(out) == quiet


class HungryTask(WordsTask):
    """Remembers 8 MiB for each chunk that it answers."""

    def open(self, *, threads):
        answer_words = WordsTask.open(self, threads=threads)
        remembered = []

        def answer(texts):
            remembered.append(b"x" * (8 << 20))
            return answer_words(texts)

        return answer


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_worker_that_grows_makes_room_for_another(source, quiet, tmp_path):
    pids = tmp_path / "pids"
    pids.mkdir()
    out = tmp_path / "out.jsonl"
    engine = LocalEngine(1, growth=60)
    run(Source.of(str(source)), Output.of(out), HungryTask(pids=str(pids)), engine=engine)
    assert 3 <= len(list(pids.iterdir())) <= 6  # 32 chunks of 8 MiB, 60 MiB for each worker
    assert files(out) == quiet


def test_a_row_that_ends_workers_ends_the_job(tmp_path):
    source, out = notes(tmp_path / "notes.jsonl", 200), tmp_path / "out.jsonl"
    healthy = source.read_text()
    lines = healthy.splitlines()
    lines[100] = json.dumps({"id": "x", "text": "poison here"})
    source.write_text("\n".join(lines) + "\n")
    with pytest.raises(BatchError, match=r"rows 65 to 128 ended 3 workers \(signal 9\)") as ended:
        answer(source, out, workers=1)
    assert one_line(ended.value)
    assert not out.exists()
    source.write_text(healthy)  # what was answered before stays; what changed after it may
    with pytest.raises(BatchError, match="differs from the input|input.bytes"):
        source.write_text(healthy.replace("note 3 ", "note 4 "))
        answer(source, out)


def test_a_full_disk(source, quiet, tmp_path):
    out = tmp_path / "out.jsonl"
    with start(source, out, limit=30_000) as job:
        said = job.communicate()[1]
    assert job.returncode == 1
    assert one_line(said)
    assert "cannot be written (File too large)" in said
    assert not out.exists()
    done = answer(source, out)
    assert done.resumed > 0
    assert files(out) == quiet


def test_a_full_disk_while_the_output_is_made(source, tmp_path):
    """The spool of answers fits, the Parquet file beside it would not; answers are kept."""
    pytest.importorskip("pyarrow")
    out = tmp_path / "out.parquet"
    real = Path.replace

    def full(self, target):
        if Path(target) == out:
            raise OSError(28, "No space left on device")
        return real(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(BatchError, match="No space left"):
            answer(source, out)
    done = answer(source, out)
    assert done.resumed == COUNT
    assert out.exists()


@pytest.mark.parametrize("removed", ["parts", "all"])
def test_the_output_folder_is_removed(source, tmp_path, removed):
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "out.jsonl"

    def remove(answered, set_aside, read):
        if answered > 500:
            shutil.rmtree(folder / "out.jsonl.parts" if removed == "parts" else folder)

    with pytest.raises(BatchError, match="cannot be written") as ended:
        answer(source, out, watch=remove)
    assert one_line(ended.value)
    folder.mkdir(exist_ok=True)
    answer(source, out)
    assert rows(out) == [row for row in range(1, COUNT + 1) if row % 97]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_crash_at_every_rename(tmp_path, ending):
    source = notes(tmp_path / "notes.jsonl", 150)
    expected = tmp_path / f"expected.{ending}"
    answer(source, expected)
    real = Path.replace
    for crash_at in range(1, 20):
        out = tmp_path / f"out{crash_at}.{ending}"
        calls = 0

        def crash(self, target, at=crash_at):
            nonlocal calls
            calls += 1
            if calls == at:
                raise KeyboardInterrupt
            return real(self, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", crash)
            try:
                answer(source, out)
            except KeyboardInterrupt:
                pass
            else:
                break
        answer(source, out)
        assert files(out) == files(expected)
    assert 6 < crash_at < 19
