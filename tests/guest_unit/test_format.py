import subprocess

from tests.guest_unit.conftest import GUEST


def test_c_files_are_formatted(needs_clang_format: None):
    subprocess.run(["make", "-s", "-C", GUEST, "check-format"], check=True)


def test_every_workload_is_headed_by_its_race():
    for path in (GUEST / "workloads").glob("*.c"):
        head = path.read_text().splitlines()[:3]
        assert head[0] == "// SPDX-License-Identifier: GPL-2.0-or-later"
        assert head[2].startswith((" * Race: ", " * No race: ")), path
