"""Which package a version means."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shootdown.kernel.apt import Package
from shootdown.kernel.debian_versions import candidates, compare

RELEASES = [
    ("linux-image-6.1.0-9-cloud-amd64", "6.1.27-1"),
    ("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"),
    ("linux-image-6.12.9+deb12-cloud-amd64", "6.12.9-1~bpo12+1"),
    ("linux-image-6.12.117+deb13-cloud-amd64-unsigned", "6.12.117-1"),
    ("linux-image-6.12.117+deb13-cloud-amd64", "6.12.117-1"),
    ("linux-image-7.2.13+deb14-cloud-amd64", "7.2.13-1"),
    ("linux-binary-7.2.13+deb14-cloud-amd64", "7.2.13-1"),
    ("linux-binary-unsigned-7.2.13+deb14-cloud-amd64", "7.2.13-1"),
    ("linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1"),
]
NO_KERNELS = [
    ("linux-image-6.12-cloud-amd64", "6.12.117-1"),
    ("linux-image-cloud-amd64", "7.2.13-1"),
    ("linux-image-6.12.117+deb13-cloud-amd64-dbg", "6.12.117-1"),
    ("linux-image-6.12.117+deb13-cloud-arm64", "6.12.117-1"),
    ("linux-headers-6.12.117+deb13-cloud-amd64", "6.12.117-1"),
]
KERNELS = candidates([Package(n, v, "suite") for n, v in RELEASES + NO_KERNELS], "amd64")


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("6.1", "linux-image-6.1.0-56-cloud-amd64"),
        ("6.1.0-9", "linux-image-6.1.0-9-cloud-amd64"),
        ("6.1.192", "linux-image-6.1.0-56-cloud-amd64"),
        ("6.12", "linux-image-6.12.117+deb13-cloud-amd64"),
        ("6.12.9", "linux-image-6.12.9+deb12-cloud-amd64"),
        ("6.12.9-1~bpo12+1", "linux-image-6.12.9+deb12-cloud-amd64"),
        ("6.12.117+deb13-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64"),
        ("7", "linux-binary-unsigned-7.3.4+deb13-cloud-amd64"),
        ("7.2", "linux-binary-7.2.13+deb14-cloud-amd64"),
    ],
)
def test_newest_of_a_name(name: str, package: str) -> None:
    assert [kernel for kernel in KERNELS if kernel.named(name)][-1].package.name == package


@pytest.mark.parametrize("name", ["6.11", "6.12.11", "6.12.117+deb1", "12", "6.1.0-5"])
def test_parts_of_a_version_are_whole(name: str) -> None:
    assert not [kernel for kernel in KERNELS if kernel.named(name)]


def test_series() -> None:
    assert [kernel.series for kernel in KERNELS] == ["6.1", "6.1", "6.12", "6.12", "7.2", "7.3"]


@settings(max_examples=300, deadline=None)
@given(*[st.from_regex(r"[0-9][0-9a-c.+~]{0,4}(-[0-9a-c.+~]{1,3})?", fullmatch=True)] * 2)
def test_order_is_dpkgs(left: str, right: str) -> None:
    def dpkg(relation: str) -> bool:
        compare = ["dpkg", "--compare-versions", left, relation, right]
        return subprocess.run(compare, check=False).returncode == 0

    result = compare(left, right)
    assert (result < 0, result > 0) == (dpkg("lt"), dpkg("gt"))
