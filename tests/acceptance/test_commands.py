"""The commands as a person types them, in a folder of their own, from outside the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import asins, free_port, until
from redis import Redis

from workers.embedded import EmbeddedRedis, answers

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
TIDEGATE = [sys.executable, "-m", "workers"]


def clean_environment(**more: str) -> dict[str, str]:
    """Ours, without any setting of the project's."""
    prefixes = ("TIDEGATE_", "ASINSCOPE_", "SENTRY_", "FLOWER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | more


class Up:
    """A running ``tidegate up``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flower = f"http://127.0.0.1:{(port := free_port())}"
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*TIDEGATE, "up", "--flower-port", str(port)],
                cwd=folder,
                env=clean_environment(PYTHONUNBUFFERED="1"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until(lambda: "Ctrl-C ends" in self.text or self.process.poll() is not None, 60, "up has introduced itself")
        assert self.process.poll() is None, self.text
        self.url = re.findall(r"Redis \S+: (redis://\S+)", self.text)[0]
        self.redis = Redis.from_url(self.url, decode_responses=True)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Another command in the same folder; it must end with this status."""
        done = subprocess.run(
            [*TIDEGATE, *arguments],
            cwd=self.folder,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        return done

    def results(self) -> dict[str, dict[str, Any]]:
        entries: Any = self.redis.xrange("tidegate:results")
        return {fields["task_id"]: json.loads(fields["result"]) for _, fields in entries}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up"))
    yield running
    running.redis.close()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(60) == 0, running.text


def test_the_readme_s_producer_and_reader_work_as_printed(up: Up, tmp_path: Path) -> None:
    producer = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    reader = re.findall(r"^\$ (redis-cli XREAD .*)$", README, re.MULTILINE)[0]
    assert "redis://localhost:6379/0" in producer
    port = up.redis.connection_pool.connection_kwargs["port"]
    before = up.redis.xlen("tidegate:results")
    producer = producer.replace("localhost:6379", f"localhost:{port}")
    subprocess.run(
        [sys.executable, "-I", "-c", producer], cwd=tmp_path, env=clean_environment(), check=True, timeout=60
    )
    until(lambda: up.redis.xlen("tidegate:results") > before, 30, "the result is in the stream")
    cli = shutil.which("redis-cli") or str(Path(sys.prefix, "bin", "redis-cli"))
    words = [cli, "-p", str(port), *reader.split()[1:]]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    assert '"asin":["B01NAL48FU"]' in shown.replace("\\", "")


def test_enqueue_packs_codes_into_the_fewest_requests(up: Up) -> None:
    codes = asins(23, first=100)
    (up.folder / "codes.csv").write_text("asin,domain\n" + "".join(f"{code},com\n" for code in [*codes, codes[0]]))
    done = up.run("enqueue", "asinscope.lookup", "--file", "codes.csv")
    ids = done.stdout.split()
    assert len(ids) == 3
    found = until(lambda: len(found := up.results()) and set(ids) <= set(found) and found, 30)
    assert [len(found[task_id]["request"]["asin"]) for task_id in ids] == [10, 10, 3]
    asked = [code for task_id in ids for code in found[task_id]["request"]["asin"]]
    assert asked == codes


def test_enqueue_reads_lines_of_json(up: Up) -> None:
    lines = [
        {"asin": ["B000000900"], "domain": "de"},
        {"ean": ["4006381333931"]},
        {"asin": ["B000000901"], "domain": "de"},
    ]
    (up.folder / "codes.ndjson").write_text("\n".join(json.dumps(line) for line in lines))
    ids = up.run("enqueue", "asinscope.lookup", "--file", "codes.ndjson").stdout.split()
    found = until(lambda: set(ids) <= set(found := up.results()) and found, 30)
    assert sorted(found[task_id]["request"].get("asin", []) for task_id in ids) == [[], ["B000000900", "B000000901"]]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["asinscope.nothing", "--json", "{}"], "there is no task 'asinscope.nothing'"),
        (["asinscope.lookup"], "give either --json or --file"),
        (["asinscope.lookup", "--json", "["], "--json is no JSON"),
        (["asinscope.lookup", "--json", "{}"], "no identifiers were found"),
        (["asinscope.lookup", "--json", '{"asin": ["bad"]}'], "asin.0: String should match pattern"),
    ],
)
def test_enqueue_refuses_what_is_wrong_before_it_sends(up: Up, arguments: list[str], says: str) -> None:
    done = up.run("enqueue", *arguments, status=2)
    assert says in done.stderr
    assert done.stdout == ""


def test_a_group_reads_each_result_once(up: Up) -> None:
    up.run("enqueue", "asinscope.lookup", "--json", '{"asin": ["B000000950"]}')
    until(lambda: any(r["request"].get("asin") == ["B000000950"] for r in up.results().values()), 30)
    first = up.run("results", "--group", "readers", "--json").stdout.splitlines()
    assert {json.loads(line)["task_id"] for line in first} == set(up.results())
    assert up.run("results", "--group", "readers", "--json").stdout == ""
    pending: Any = up.redis.xpending("tidegate:results", "readers")
    assert pending["pending"] == 0


def test_status_says_what_is_left_and_that_the_gate_is_open(up: Up) -> None:
    up.run("enqueue", "asinscope.lookup", "--json", '{"asin": ["B000000960"]}')

    def row() -> dict[str, Any]:
        return dict(json.loads(up.run("status", "--json").stdout))

    found = until(lambda: (now := row())["nodes"] == 1 and now["limits"]["day"]["capacity"] and now, 30)
    assert found["account"] == "asinscope:main"
    assert found["limits"]["day"]["capacity"] == 1000
    assert found["limits"]["bucket"]["refill_per_s"] == pytest.approx(10 / 60, abs=1e-6)
    assert found["queued"] == {"asinscope": 0, "asinscope.free": 0}
    assert "10 a minute" in up.run("status").stdout


def test_a_dead_letter_is_listed_put_back_and_dropped(up: Up) -> None:
    up.redis.lpush("asinscope", "no message at all")
    row = until(lambda: up.run("deadletter", "list", "--json").stdout, 30)
    letter = json.loads(row)
    assert (letter["list"], letter["message"]) == ("asinscope", "no message at all")
    up.run("deadletter", "requeue", letter["id"])
    again = until(lambda: (text := up.run("deadletter", "list", "--json").stdout) and json.loads(text), 30)
    assert again["id"] != letter["id"]
    up.run("deadletter", "drop", again["id"])
    assert up.run("deadletter", "list").stdout == ""
    assert "there is no dead letter" in up.run("deadletter", "drop", again["id"], status=1).stderr


def test_flower_shows_queue_and_tasks_in_a_browser(up: Up) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine")
        pytest.skip("no chromium on this machine")
    task_id = up.run("enqueue", "asinscope.lookup", "--json", '{"asin": ["B000000970"]}').stdout.strip()
    until(lambda: task_id in up.results(), 30, "it has its result")
    page = until(lambda: task_id in (dom := dumped(browser, f"{up.flower}/tasks", up.folder)) and dom, 60)
    assert "SUCCESS" in page
    assert "asinscope" in dumped(browser, f"{up.flower}/broker", up.folder)


def dumped(browser: str, url: str, folder: Path) -> str:
    """The page as it stands after its scripts have run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet = ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'browser'}"]
    command = [browser, *options, *quiet, "--virtual-time-budget=8000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def test_a_second_up_in_the_same_folder_is_refused_and_disturbs_nothing(up: Up) -> None:
    assert "runs in this folder already" in up.run("up", status=2).stderr
    assert up.redis.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of what was killed")
def test_an_up_that_is_killed_leaves_no_process_behind_and_its_messages_on_disk(tmp_path: Path) -> None:
    first = Up(tmp_path)
    first.redis.set("kept", "yes")
    until(lambda: first.redis.info("persistence")["aof_pending_bio_fsync"] == 0, 10)
    first.process.kill()
    first.process.wait()
    until(lambda: not (answers(first.url) or flower_answers(first)), 60, "Redis and Flower have ended by themselves")
    second = Up(tmp_path)
    assert second.redis.get("kept") == "yes"
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(60) == 0, second.text
    assert not (answers(second.url) or flower_answers(second))


def flower_answers(up: Up) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(up.flower.rpartition(":")[2]))) == 0


def test_a_redis_left_running_on_the_same_directory_is_taken_over(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as first:
        second = EmbeddedRedis(tmp_path)
        with second:
            assert second.url == first.url
        assert not answers(first.url)


def test_accounts_check_tells_good_keys_from_bad_ones(up: Up, tmp_path: Path) -> None:
    from providers.sandbox.asinscope import AsinscopeSandbox
    from providers.sandbox.server import SandboxServer

    with SandboxServer(AsinscopeSandbox()) as server:
        for key, status, says in (("sandbox-key-asinscope", 0, "works"), ("another", 1, "does not know this key")):
            environment = clean_environment(ASINSCOPE_BASE_URL=server.url, ASINSCOPE_API_KEY=key)
            command = [*TIDEGATE, "accounts", "check"]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert (done.returncode, done.stderr) == (status, "")
            assert says in done.stdout
            assert key not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["worker", "asinscope"], {}, "asinscope is not configured: set ASINSCOPE_API_KEY"),
        (["worker", "nobody"], {}, "there is no provider 'nobody'"),
        (["worker", "asinscope"], {"ASINSCOPE_API_KEY": "k"}, "no Redis: set TIDEGATE_REDIS_URL"),
        (["results"], {}, "no Redis: set TIDEGATE_REDIS_URL"),
        (["results"], {"TIDEGATE_REDIS_URL": "http://x"}, "TIDEGATE_REDIS_URL must begin with one of redis://"),
        (["accounts", "check"], {}, "no provider is configured"),
        (["status"], {"TIDEGATE_CONFIG": "missing.toml"}, "there is no such file"),
    ],
)
def test_wrong_configuration_ends_with_status_2_and_a_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        [*TIDEGATE, *arguments],
        cwd=tmp_path,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_redis_that_does_not_answer_is_said_in_one_line(tmp_path: Path) -> None:
    environment = clean_environment(TIDEGATE_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    done = subprocess.run(
        [*TIDEGATE, "results"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tidegate: Redis does not answer")
    assert done.stderr.count("\n") == 1


def test_the_demo_tells_its_story_and_adds_up(tmp_path: Path) -> None:
    command = [*TIDEGATE, "demo", "--flower-port", str(free_port())]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, check=False, timeout=170
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    for part in ("waiting for the bucket", "the day is used up", "Every message has its result", "It adds up."):
        assert part in done.stdout
    rows = dict(re.findall(r"^  (\S.*?)\s{2,}(\d+)$", done.stdout, re.MULTILINE))
    assert rows["messages sent"] == rows["results"] == "30"
    assert rows["duplicate results"] == rows["429s that the provider had to answer"] == "0"
    assert list(tmp_path.glob(".tidegate/running.json")) == []
