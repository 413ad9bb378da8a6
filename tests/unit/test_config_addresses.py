import re

import pytest

from hive_daemon.config.addresses import ListenAddress, is_loopback, parse_listen


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ListenAddress("127.0.0.1", 8080)),
        ("0.0.0.0:0", ListenAddress("0.0.0.0", 0)),
        ("[::1]:443", ListenAddress("::1", 443)),
        ("localhost:65535", ListenAddress("localhost", 65535)),
        ("hooks.example.com:80", ListenAddress("hooks.example.com", 80)),
    ],
)
def test_an_address_is_read_and_written_back(text, address):
    assert parse_listen(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8080", "is no address"),
        ("localhost", "is no address"),
        (":8080", "has no host, write 127.0.0.1:8080"),
        ("127.0.0.1:65536", "has a port above 65535"),
        ("127.0.0.1:-1", "is no address"),
        ("127.0.0.300:80", "neither an IP address nor a host name"),
        ("::1:80", "is no address"),
        ("[127.0.0.1]:80", "neither an IP address nor a host name"),
        ("http://x:80", "is no address"),
        ("a b:80", "neither an IP address nor a host name"),
        ("127.0.0.1:80\n", "is no address"),
    ],
)
def test_what_is_no_address_is_refused_with_its_reason(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_listen(text)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_a_host_that_only_this_machine_reaches_is_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "", "::2"]
)
def test_every_other_host_counts_as_reachable(host):
    assert not is_loopback(host)
