"""Addresses are one text each, name a place and nothing else, and never become a folder of that name."""

from pathlib import Path

import pytest

from seamo.addresses import address_of, disk_path, join, last_name, local_path, location, parent
from seamo.errors import StoreError


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("stores/eurosat", "stores/eurosat"),
        (Path("/data/stores"), "/data/stores"),
        ("file:///data/my%20stores", "/data/my stores"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://bucket//a/./b/", "s3://bucket/a/b"),
        (Path("s3://bucket/a"), "s3://bucket/a"),  # a Path has swallowed a slash
        ("gs://bucket/a b/c%d", "gs://bucket/a b/c%d"),
        ("az://container/a", "az://container/a"),
        ("abfss://part@account.dfs.core.windows.net/a", "abfss://part@account.dfs.core.windows.net/a"),
        ("https://example.org:8443/stores", "https://example.org:8443/stores"),
        (Path("https://example.org/stores"), "https://example.org/stores"),
        ("http://127.0.0.1:9000/a", "http://127.0.0.1:9000/a"),
        ("http://10.1.2.3/a", "http://10.1.2.3/a"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://fileserver/a", "http://fileserver/a"),
        ("C:/stores", "C:/stores"),
    ],
)
def test_an_address_has_one_text(place: str | Path, address: str) -> None:
    assert address_of(place) == address
    assert address_of(address) == address


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s4://bucket/place", "s4:// is no kind of address"),
        ("ftp://host/place", "ftp:// is no kind of address"),
        ("s3://", "names no bucket"),
        ("s3://bucket:80/a", "names no bucket"),
        ("s3://bucket/a/../b", "has no '..'"),
        ("s3://bucket/a?versionId=hidden", r"^s3://bucket/a: an address has no part after '\?'"),
        ("https://host.org/a#hidden", "^https://host.org/a: an address has no part after '#'"),
        ("s3://key:hidden@bucket/a", "^s3://bucket/a: an address names no user"),
        ("https://me:hidden@host.org/a", "^https://host.org/a: an address names no user"),
        ("https://a@b@host.org/", "names no user"),
        ("https://ho st/a", "names no host"),
        ("https://host.org:port/a", "names no host"),
        ("http://example.org/a", r"http:// is for servers of the own network. Use https://"),
        ("http://8.8.8.8/a", r"Use https://"),
        ("abfss://account.dfs.core.windows.net/a", "does not name a container and an account"),
        ("abfss://part@account/a", "does not name a container and an account"),
        ("s3://bucket/a\nb", "control characters"),
    ],
)
def test_what_names_no_place_or_says_more_is_refused(place: str, message: str) -> None:
    for function in (address_of, disk_path, location):
        with pytest.raises(StoreError, match=message) as found:
            function(place)
        assert "hidden" not in str(found.value)


def test_names_are_put_below_and_taken_off() -> None:
    for root in ("s3://bucket/root", "https://host.org/root", "/root", "root"):
        below = join(root, "a/b", "c")
        assert below == f"{root}/a/b/c"
        assert (last_name(below), parent(below)) == ("c", f"{root}/a/b")
        assert join(root, "") == root
        for name in ("../c", "a//b", "/etc/passwd", ".", "a/../../b", "a\0b", "a\n"):
            with pytest.raises(StoreError, match="is no name of a file below a folder"):
                join(root, name)
    assert (last_name("s3://bucket"), parent("s3://bucket/a")) == ("", "s3://bucket")
    with pytest.raises(StoreError, match="has nothing above it"):
        parent("s3://bucket")


def test_local_places_are_paths_and_others_are_told_so() -> None:
    assert disk_path("file:///a%20b") == local_path("/a b") == Path("/a b")
    assert disk_path("s3://bucket/a") is None
    with pytest.raises(StoreError, match=r"^s3://bucket/a: s3:// addresses are not supported yet"):
        local_path("s3://bucket/a")
