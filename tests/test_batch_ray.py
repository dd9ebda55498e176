"""The Ray engine on a real cluster of two nodes, one of which is killed on the way."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import pytest
from batch_fixtures import TESTS, WordsTask, answer, files, notes

from cmsearch.batch.job import run
from cmsearch.batch.local import LocalEngine
from cmsearch.batch.output import Output
from cmsearch.batch.ray import RayEngine, _Actor, _read
from cmsearch.batch.source import Source
from cmsearch.errors import BatchError, IndexFolderError

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the ray extra"),
    # What Ray leaves open and what it says of its own future is not ours to judge.
    pytest.mark.filterwarnings("ignore"),
]
COUNT = 2_000


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two nodes with one processor each, this process connected to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_health_check_initial_delay_ms", "500")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "4")
        import ray
        from ray.cluster_utils import Cluster

        small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        started = Cluster(
            initialize_head=True, head_node_args={**small, "include_dashboard": False}
        )
        try:
            started.second = started.add_node(**small)
            ray.init(address=started.address, log_to_driver=False)
            yield started
        finally:
            ray.shutdown()
            started.shutdown()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return notes(tmp_path_factory.mktemp("in") / "notes.jsonl", COUNT)


def by_ray(source: Path, out: Path, *, task=None, **more):
    engine = RayEngine(workers=2)
    return run(Source.of(str(source)), Output.of(out), task or WordsTask(), engine=engine,
               every=0.0, **more)  # fmt: skip


def test_a_node_is_killed_on_the_way(cluster, source, tmp_path):
    import ray

    quiet, out = tmp_path / "quiet.jsonl", tmp_path / "out.jsonl"
    answer(source, quiet)
    killed = []
    pids = tmp_path / "pids"
    pids.mkdir()

    def kill(answered, set_aside, read):
        # Each actor takes a processor and each node has one: two actors are on two nodes.
        if answered > 100 and not killed and len(list(pids.iterdir())) == 2:
            killed.append(answered)
            cluster.remove_node(cluster.second, allow_graceful=False)

    done = by_ray(source, out, task=WordsTask(pause=0.003, pids=str(pids)), watch=kill)
    assert 100 < killed[0] < 1_900
    for _ in range(300):  # the cluster may notice after the job has ended
        if len([node for node in ray.nodes() if node["Alive"]]) == 1:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the second node lives on")
    assert (done.answered, done.set_aside) == (COUNT - 20, 20)
    assert files(out) == files(quiet)


def test_a_local_job_goes_on_in_the_cluster(cluster, source, tmp_path):
    quiet, out = tmp_path / "quiet.jsonl", tmp_path / "out.jsonl"
    answer(source, quiet)

    def stop(answered, set_aside, read):
        if answered > 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Source.of(str(source)), Output.of(out), WordsTask(), engine=LocalEngine(1),
            every=0.0, watch=stop)  # fmt: skip
    engine = RayEngine(workers=1)
    done = run(Source.of(str(source)), Output.of(out), WordsTask(), engine=engine)
    assert done.resumed > 900
    assert files(out) == files(quiet)


def test_an_error_of_the_input_travels_as_a_row(source, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    read = Source.of(str(source))
    gone = Source(str(tmp_path / "gone.jsonl"), read.format, read.columns)
    begin = arrow.table({"skip": [3], "digest": ["x"]})
    refusals = [table.to_pylist()[0]["refusal"] for table in _read(begin, gone)]
    assert len(refusals) == 1
    assert "gone.jsonl: cannot be read" in refusals[0]
    other = [table.to_pylist()[0]["refusal"] for table in _read(begin, read)]
    assert len(other) == 1
    assert "differs from the input" in other[0]


def test_an_index_that_fails_is_reported_as_a_row(source):
    arrow = pytest.importorskip("pyarrow")

    class Failing(WordsTask):
        def open(self, *, threads):
            raise IndexFolderError("the index is gone")

    begin = arrow.table({"skip": [0], "digest": [""]})
    first = next(_read(begin, Source.of(str(source))))
    assert [t.to_pylist()[0]["refusal"] for t in _Actor(Failing(), {"tag": ""})(first)] == [
        "the index is gone"
    ]


def test_a_node_with_another_index_is_found_out(source):
    arrow = pytest.importorskip("pyarrow")
    begin = arrow.table({"skip": [0], "digest": [""]})
    first = next(_read(begin, Source.of(str(source))))
    other = _Actor(WordsTask(tag="one"), {"tag": "two"})
    [said] = [table.to_pylist()[0]["refusal"] for table in other(first)]
    assert "not the one that the job began with" in said


def test_stdin_is_refused(source):
    read = Source.of(str(source))
    stdin = Source("-", read.format, read.columns)
    with pytest.raises(BatchError, match="stdin"):
        next(RayEngine().answers(stdin, WordsTask()))
