"""Copies of shards on the node: whole, shared, bounded, from folders, a real web server and the user's command."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lightning_face.data.cache import CacheConfig, ShardCache, locked
from lightning_face.data.fetch import FetchConfig, file_of, shown
from lightning_face.data.manifest import Manifest, Shard
from lightning_face.data.places import open_dataset
from lightning_face.data.shards import Shards
from lightning_face.errors import ConfigError, DataError
from lightning_face.files import sha256_of
from tests.disk import full_disk
from tests.web import Server, serving

QUICK = FetchConfig(pause_s=0.0, attempts=3, timeout_s=5.0)
COPY = FetchConfig(command="cp {url} {file}", pause_s=0.0)


@pytest.fixture
def server(tiny_dataset: Path) -> Iterator[Server]:
    with serving(tiny_dataset) as state:
        yield state


def cache_of(folder: Path, max_gb: float = 1.0, fetch: FetchConfig = QUICK) -> CacheConfig:
    return CacheConfig(str(folder / "cache"), max_gb, fetch)


def shards_in(folder: Path) -> list[Path]:
    """Whole copies."""
    return sorted(path for path in (folder / "cache" / "shards").iterdir() if not path.suffix)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in (folder / "cache").rglob("*") if path.name.endswith(".part")]


def first_shard(dataset: Path) -> tuple[Shard, str]:
    shard = Manifest.load(dataset).shards[0]
    return shard, str(dataset / shard.name)


def test_a_web_server_gives_what_the_folder_has(server: Server, tiny_dataset: Path, tmp_path: Path) -> None:
    shards, local = open_dataset(server.url, cache_of(tmp_path)), Shards(tiny_dataset)
    every = range(len(local.index))
    assert shards.read(every) == local.read(every)
    assert shards.identities() == local.identities() and shards.manifest.digest() == local.manifest.digest()
    again = open_dataset(server.url, cache_of(tmp_path))
    assert again.read(every) == local.read(every)
    once = {name: server.asked[name] for name in server.asked if name.endswith((".tar", "index.bin"))}
    assert set(once.values()) == {1} and len(once) == 4 and not leftovers(tmp_path)


def test_a_slow_folder_is_copied_too(tiny_dataset: Path, tmp_path: Path) -> None:
    shards = open_dataset(str(tiny_dataset), cache_of(tmp_path))
    shards.read([0])
    assert [path.name for path in shards_in(tmp_path)] == [shards.manifest.shards[0].sha256]


def test_the_users_command_copies_what_is_elsewhere(tiny_dataset: Path, tmp_path: Path) -> None:
    store = tmp_path / "store:"  # `store://...` as a path of this folder: cp is the user's command
    shutil.copytree(tiny_dataset, store / "faces")
    os.chdir(tmp_path)
    shards = open_dataset("store://faces", cache_of(tmp_path, fetch=COPY))
    assert shards.read(range(202)) == Shards(tiny_dataset).read(range(202))


@pytest.mark.parametrize("faults", [[500, 503], ["half", "half"], [429, "half"], ["silence"]])
def test_asks_again(server: Server, tmp_path: Path, faults: list[int | str]) -> None:
    fetch = FetchConfig(pause_s=0.0, attempts=3, timeout_s=0.5)
    shards = open_dataset(server.url, cache_of(tmp_path, fetch=fetch))
    name = shards.manifest.shards[0].name
    server.faults[name] = list(faults)
    assert shards.read([0]) and server.asked[name] == len(faults) + 1


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([404], r"cannot copy http://127.0.0.1:\d+/shard-000000.tar: the server answers 404"),
        ([500] * 3, r"cannot copy http://.*/shard-000000.tar after 3 attempts: the server answers 500"),
        (["half"] * 3, r"after 3 attempts: [\d,]+ bytes came, the manifest says [\d,]+"),
        (["silence"] * 3, r"after 3 attempts: timed out"),
    ],
)
def test_gives_up_with_one_line(server: Server, tmp_path: Path, faults: list[int | str], message: str) -> None:
    fetch = FetchConfig(pause_s=0.0, attempts=3, timeout_s=0.2)
    shards = open_dataset(server.url, cache_of(tmp_path, fetch=fetch))
    server.faults[shards.manifest.shards[0].name] = list(faults)
    with pytest.raises(DataError, match=message) as error:
        shards.read([0])
    assert "\n" not in str(error.value) and not shards_in(tmp_path) and not leftovers(tmp_path)


def test_a_shard_with_other_bytes_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_dataset, source)
    shard = Manifest.load(source).shards[0]
    data = bytearray((source / shard.name).read_bytes())
    data[5000] ^= 1
    (source / shard.name).write_bytes(data)
    shards = open_dataset(str(source), cache_of(tmp_path))
    with pytest.raises(DataError, match="after 3 attempts: its sha256 is not the manifest's"):
        shards.read([0])
    assert not shards_in(tmp_path)


def test_a_dataset_that_is_made_again_replaces_its_copies(tiny_dataset: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_dataset, source)
    open_dataset(str(source), cache_of(tmp_path)).read([0])
    index = np.fromfile(source / "index.bin", dtype=Shards(source).index.dtype)
    index["label"][0] = 19
    (source / "index.bin").write_bytes(index.tobytes())
    manifest = Manifest.load(source)
    changed = Manifest(
        manifest.num_samples, manifest.num_classes, True, sha256_of(source / "index.bin"), manifest.shards
    )
    (source / "manifest.json").write_text(changed.to_json())
    assert open_dataset(str(source), cache_of(tmp_path)).labels(np.array([0])).tolist() == [19]


def room_for(dataset: Path, num_shards: float) -> float:
    """Gigabytes."""
    return num_shards * max(shard.bytes for shard in Manifest.load(dataset).shards) / 1e9


def test_what_was_not_wanted_for_longest_makes_room(tiny_dataset: Path, tmp_path: Path) -> None:
    first, second, third = Manifest.load(tiny_dataset).shards
    cache = ShardCache(cache_of(tmp_path, room_for(tiny_dataset, 2.5)))
    for now, shard in enumerate((first, second, first)):
        cache.bring(shard, file_of(str(tiny_dataset), shard.name))
        os.utime(tmp_path / "cache" / "shards" / shard.sha256, ns=(now, now))
    cache.bring(third, file_of(str(tiny_dataset), third.name))
    assert {path.name for path in shards_in(tmp_path)} == {first.sha256, third.sha256}


def test_being_wanted_is_remembered(tiny_dataset: Path, tmp_path: Path) -> None:
    shard, source = first_shard(tiny_dataset)
    cache = ShardCache(cache_of(tmp_path))
    cache.bring(shard, source)
    (path,) = shards_in(tmp_path)
    os.utime(path, ns=(1, 1))
    os.close(cache.open(shard, source))
    assert path.stat().st_mtime_ns > 1


def test_reads_all_with_room_for_one_shard(tiny_dataset: Path, tmp_path: Path) -> None:
    """Copies that made room are closed, or their bytes would stay taken."""
    shards = open_dataset(str(tiny_dataset), cache_of(tmp_path, room_for(tiny_dataset, 1.0)))
    ids = [0, 80, 160, 1, 81, 161]
    assert shards.read(ids) == Shards(tiny_dataset).read(ids)
    assert len(shards_in(tmp_path)) == 1
    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert sum(str(tmp_path / "cache" / "shards") in path for path in held) == 1


def test_a_killed_process_leaves_nothing_in_the_way(tiny_dataset: Path, tmp_path: Path) -> None:
    shard, source = first_shard(tiny_dataset)
    with serving(tiny_dataset) as server:
        server.faults[shard.name] = ["silence"]
        config = cache_of(tmp_path, room_for(tiny_dataset, 1.5))
        process = multiprocessing.get_context("spawn").Process(
            target=_bring, args=(config, shard, f"{server.url}/{shard.name}")
        )
        process.start()
        while not server.asked[shard.name]:
            process.join(0.01)
            assert process.is_alive()
        assert leftovers(tmp_path)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    other = Manifest.load(tiny_dataset).shards[1]
    ShardCache(config).bring(other, str(tiny_dataset / other.name))  # the room that the dead one had asked for
    assert not leftovers(tmp_path)
    ShardCache(config).bring(shard, source)
    assert [path.name for path in shards_in(tmp_path)] == [shard.sha256]


def test_what_a_killed_process_left_of_a_shard_takes_no_room_from_it(tiny_dataset: Path, tmp_path: Path) -> None:
    shard, source = first_shard(tiny_dataset)
    folder = tmp_path / "cache" / "shards"
    folder.mkdir(parents=True)
    (folder / f"{shard.sha256}.{shard.bytes}.part").write_bytes(b"half")
    ShardCache(cache_of(tmp_path, shard.bytes / 1e9)).bring(shard, source)
    assert [path.name for path in shards_in(tmp_path)] == [shard.sha256] and not leftovers(tmp_path)


def test_a_lock_ends_though_a_process_forked_meanwhile_lives_on(tmp_path: Path) -> None:
    """As the workers of a validation, forked while shards are brought ahead."""
    stop = multiprocessing.get_context("fork").Event()
    with locked(tmp_path / "lock"):
        child = multiprocessing.get_context("fork").Process(target=stop.wait)
        child.start()
    with locked(tmp_path / "lock", wait=False) as is_free:
        assert is_free and child.is_alive()
    stop.set()
    child.join()


def test_several_processes_copy_a_shard_once(server: Server, tiny_dataset: Path, tmp_path: Path) -> None:
    shard, _ = first_shard(tiny_dataset)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_bring, args=(cache_of(tmp_path), shard, f"{server.url}/{shard.name}")) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert server.asked[shard.name] == 1 and len(shards_in(tmp_path)) == 1


def _bring(config: CacheConfig, shard: Shard, source: str) -> None:
    ShardCache(config).bring(shard, source)


def test_a_copy_that_lost_its_bytes_in_a_power_cut_is_made_again(tiny_dataset: Path, tmp_path: Path) -> None:
    shard, source = first_shard(tiny_dataset)
    cache = ShardCache(cache_of(tmp_path))
    cache.bring(shard, source)
    os.truncate(shards_in(tmp_path)[0], 0)
    descriptor = cache.open(shard, source)
    assert os.fstat(descriptor).st_size == shard.bytes
    os.close(descriptor)


@pytest.mark.parametrize(
    ("source", "cache", "message"),
    [
        ("https://host/faces", None, r"https://host/faces is remote: set data.cache"),
        ("https://me:secret@host/faces?key=1", None, r"^https://host/faces is remote"),
        ("https://me:secret@host/faces", 1.0, r"^https://host/faces: the URL has a user or password"),
        ("pipe:cat faces", 1.0, r"pipe: URLs would run what a path says; set data.cache.fetch.command instead"),
        ("pipe:cat faces", None, r"pipe: URLs"),
        ("s3://bucket/faces", 1.0, r"nothing is known of s3 URLs; say what copies them by data.cache.fetch.command"),
        ("TINY", 1e-6, r"data.cache.max_gb 1e-06 is too small: shard-.*.tar of .* has [\d,]+ bytes"),
    ],
)
def test_refused_before_anything_is_read(
    source: str, cache: float | None, message: str, tiny_dataset: Path, tmp_path: Path
) -> None:
    config = None if cache is None else cache_of(tmp_path, cache)
    with pytest.raises(ConfigError, match=message) as error:
        open_dataset(source.replace("TINY", str(tiny_dataset)), config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CacheConfig("cache", 0.0), r"data.cache.max_gb must be above 0, got 0.0"),
        (lambda: FetchConfig(attempts=0), r"attempts at least 1, got 60.0, 1.0 and 0"),
        (lambda: FetchConfig(command="aws s3 cp {url}"), r"must name {url} and {file}, got 'aws s3 cp {url}'"),
    ],
)
def test_options_that_cannot_work(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    fetch = FetchConfig(command="ls {url} {file}", attempts=1)
    with pytest.raises(DataError, match=r"cannot copy s3://bucket/faces/manifest.json after 1 attempts: ls ended with"):
        open_dataset("s3://bucket/faces", cache_of(tmp_path, fetch=fetch))
    with pytest.raises(ConfigError, match=r"cannot run no-such-program"):
        open_dataset("s3://b/f", cache_of(tmp_path, fetch=FetchConfig(command="no-such-program {url} {file}")))


def test_a_folder_that_cannot_be_written(tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"cannot keep copies in .*: Not a directory; mend data.cache.folder"):
        open_dataset(str(tiny_dataset), cache_of(tmp_path))


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    shards = open_dataset(server.url, cache_of(tmp_path))
    with full_disk(1000), pytest.raises(DataError, match=r"^cannot keep shard-000000.tar in .*: File too large; mend"):
        shards.read([0])
    assert not shards_in(tmp_path) and not leftovers(tmp_path)
    assert shards.read([0])


def test_names_below_a_url() -> None:
    assert file_of("https://host/faces/", "a.tar") == "https://host/faces/a.tar"
    assert file_of("https://host/faces?sig=1", "a.tar") == "https://host/faces/a.tar?sig=1"
    assert file_of("/data/what?", "a.tar") == "/data/what?/a.tar"
    assert shown("https://u:p@host/faces/a.tar?sig=1") == "https://host/faces/a.tar"
