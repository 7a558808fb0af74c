"""A dataset that an array of jobs makes, on a real SLURM."""


def test_an_array_makes_the_files_of_one_process(cluster, tiny_images, tiny_dataset, tmp_path):
    out, script = tmp_path / "train", ("--cpus-per-task=1", "slurm/prepare.sbatch")
    recipe = ("--size", 40, "--quality", 90, "--seed", 1, "--shard-samples", 70)
    array = cluster.submit(tmp_path / "parts.log", "--array=1-3", *script, "folder", tiny_images, out, *recipe)
    after = f"--dependency=afterok:{array.number}"
    cluster.submit(tmp_path / "merge.log", after, *script, "merge", out).wait_until_completed()
    assert contents(out) == contents(tiny_dataset)


def contents(folder):
    """The bytes of all files in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
