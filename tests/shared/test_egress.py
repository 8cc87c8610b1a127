"""Calls to platforms: whom they reach, how long they take, how much they read."""

# ruff: noqa: E501 - the corpora of hostile addresses read best in long lines

import gzip
import itertools
import re
import socket
import ssl
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st

from shared import addresses
from shared.egress import LONGEST_ANSWER, Egress, is_public
from shared.platforms.base import PlatformError, Refusal

PUBLIC = "93.184.215.14"
Handler = Callable[[socket.socket], None]


def answer(body: bytes = b"{}", *headers: str, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """A TLS server on loopback that answers each request with ``handler``."""

    def __init__(self, ca: trustme.CA, handler: Handler, address: str = "127.0.0.1") -> None:
        self.requests: list[str] = []
        self.names: list[str | None] = []
        self.connections = 0
        self._handler = handler
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("shop.example", "*.shop.example", "localhost").configure_cert(self._context)
        self._context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        with suppress(OSError), raw, self._context.wrap_socket(raw, server_side=True) as connection:
            while request := self._read(connection):
                self.requests.append(request)
                self._handler(connection)

    def _read(self, connection: ssl.SSLSocket) -> str:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (part := connection.recv(65_536)):
                return ""
            request += part
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65_536)
        return (head + b"\r\n\r\n" + body).decode("latin-1")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca, tmp_path_factory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def serve(ca) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(handler: Handler | bytes, address: str = "127.0.0.1") -> Server:
        send = (lambda connection: connection.sendall(handler)) if isinstance(handler, bytes) else handler
        running.append(Server(ca, send, address))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def client(ca_file) -> Iterator[Callable[..., Egress]]:
    """Makes clients for which every name is at 127.0.0.1, unless told otherwise."""
    made: list[Egress] = []

    def make(**options) -> Egress:
        made.append(Egress(**{"local_ca": ca_file, "resolve": lambda _host, _port: ["127.0.0.1"], **options}))
        return made[-1]

    yield make
    for egress in made:
        egress.close()


def refusal(call: Callable[[], object]) -> PlatformError:
    with pytest.raises(PlatformError) as caught:
        call()
    return caught.value


def test_sends_a_request_and_gives_the_whole_answer(serve, client):
    server = serve(answer(b'{"a": 1}', "X-WP-Total: 2", "Link: <a>", "Link: <b>", status="418 Teapot"))

    got = client().request(
        "POST",
        f"https://shop.example:{server.port}/wp-json/",
        params={"_fields": "a,b"},
        headers={"X-Extra": "yes"},
        json={"name": "Löffel"},
        basic=("ck_1", "cs_1"),
    )

    assert (got.status, got.body) == (418, b'{"a": 1}')
    assert got.headers["x-wp-total"] == "2"
    assert got.headers["link"] == "<a>, <b>"
    assert server.names == ["shop.example"]
    request = server.requests[0]
    assert request.startswith("POST /wp-json/?_fields=a%2Cb HTTP/1.1\r\n")
    assert f"Host: shop.example:{server.port}\r\n" in request
    assert "Authorization: Basic Y2tfMTpjc18x\r\n" in request
    assert "X-Extra: yes\r\n" in request
    assert request.encode("latin-1").endswith('{"name":"Löffel"}'.encode())


def test_keeps_a_connection_for_the_next_request(serve, client):
    server = serve(answer())
    egress = client()

    for _ in range(3):
        egress.request("GET", f"https://shop.example:{server.port}/")

    assert server.connections == 1


def test_keeps_no_cookies(serve, client):
    server = serve(answer(b"{}", "Set-Cookie: session=1; Path=/"))
    egress = client()

    for _ in range(2):
        egress.request("GET", f"https://shop.example:{server.port}/")

    assert "cookie" not in server.requests[1].lower()


def test_ignores_proxies_and_netrc_and_key_logs_of_the_environment(serve, client, monkeypatch, tmp_path):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / "netrc").write_text("machine shop.example login somebody password something")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    server = serve(answer())

    got = client().request("GET", f"https://shop.example:{server.port}/")

    assert got.status == 200
    assert "authorization" not in server.requests[0].lower()
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://www.shop.example/wp-json/?token=hidden", "www.shop.example/wp-json"),
        ("http://www.shop.example/", "unencrypted http at www.shop.example"),
        ("/wp-json/", "shop.example/wp-json"),
        ("https://169.254.169.254/latest", "another address"),
        ("//[::1]:foo", "another address"),
        ("", "shop.example"),
    ],
)
def test_follows_no_redirect_and_names_where_it_leads(serve, client, location, named):
    server = serve(answer(b"", f"Location: {location}", status="301 Moved"))

    error = refusal(lambda: client().request("GET", f"https://shop.example:{server.port}/"))

    assert (error.refusal, error.status) == (Refusal.ADDRESS, 301)
    assert named in error.detail
    assert "hidden" not in error.detail
    assert server.connections == 1


def test_an_answer_that_never_comes_ends_with_the_deadline(serve, client):
    silence = threading.Event()
    server = serve(lambda _connection: silence.wait(10))

    error = refusal(lambda: client(total_seconds=0.2).request("GET", f"https://shop.example:{server.port}/"))

    silence.set()
    assert error.refusal is Refusal.UNREACHABLE


def test_a_call_can_be_given_less_time(serve, client):
    silence = threading.Event()
    server = serve(lambda _connection: silence.wait(10))

    error = refusal(lambda: client().within(0.2).request("GET", f"https://shop.example:{server.port}/"))

    silence.set()
    assert error.refusal is Refusal.UNREACHABLE


def test_calls_that_are_given_a_time_share_it(serve, client):
    now = [100.0]
    server = serve(answer())
    limited = client(monotonic=lambda: now[0]).within(10)

    first = limited.request("GET", f"https://shop.example:{server.port}/")
    now[0] += 10
    error = refusal(lambda: limited.request("GET", f"https://shop.example:{server.port}/"))

    assert first.status == 200
    assert error.refusal is Refusal.UNREACHABLE


def test_a_server_that_never_greets_ends_with_the_time_to_connect(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        error = refusal(lambda: client(connect_seconds=0.2).request("GET", f"https://shop.example:{port}/"))

    assert error.refusal is Refusal.UNREACHABLE


def test_a_byte_a_second_ends_with_the_deadline_of_the_whole_call(serve, client):
    sent = 0

    def trickle(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            sent += 1

    seconds = itertools.count()
    server = serve(trickle)

    egress = client(total_seconds=30, monotonic=lambda: float(next(seconds)))
    error = refusal(lambda: egress.request("GET", f"https://shop.example:{server.port}/"))

    assert error.refusal is Refusal.UNREACHABLE
    assert 30 <= next(seconds) <= 34


def test_a_name_server_that_hangs_ends_with_the_time_to_connect(client):
    silence = threading.Event()

    def resolve(_host: str, _port: int) -> list[str]:
        silence.wait(10)
        return [PUBLIC]

    error = refusal(lambda: client(resolve=resolve, connect_seconds=0.1).request("GET", "https://shop.example/"))

    silence.set()
    assert (error.refusal, error.detail) == (Refusal.UNREACHABLE, "shop.example: the name server did not answer.")


def test_reads_an_answer_of_the_longest_size(serve, client):
    body = b"x" * LONGEST_ANSWER
    server = serve(answer(body))

    assert client().request("GET", f"https://shop.example:{server.port}/").body == body


def test_an_endless_answer_ends_at_the_cap(serve, client):
    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    server = serve(endless)

    error = refusal(lambda: client().request("GET", f"https://shop.example:{server.port}/"))

    assert error.refusal is Refusal.NOT_THE_PLATFORM


def test_a_compression_bomb_fills_no_memory(serve, client):
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(1024 * 1024)
    bomb = b"".join([*(compressor.compress(zeros) for _ in range(128)), compressor.flush()])
    server = serve(answer(bomb, "Content-Encoding: gzip"))
    egress = client()

    tracemalloc.start()
    error = refusal(lambda: egress.request("GET", f"https://shop.example:{server.port}/"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert error.refusal is Refusal.NOT_THE_PLATFORM
    assert peak < 2 * LONGEST_ANSWER


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
def test_inflates_what_it_asked_for(serve, client, encoding, encode):
    body = b'{"title": "T-Shirt"}' * 1000
    server = serve(answer(encode(body), f"Content-Encoding: {encoding}"))

    assert client().request("GET", f"https://shop.example:{server.port}/").body == body
    assert "Accept-Encoding: gzip, deflate\r\n" in server.requests[0]


def test_an_empty_answer_in_an_encoding_is_empty(serve, client):
    server = serve(answer(b"", "Content-Encoding: gzip"))

    assert client().request("GET", f"https://shop.example:{server.port}/").body == b""


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (b"not gzip", "gzip", Refusal.NOT_THE_PLATFORM),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], "gzip", Refusal.TRANSIENT),
        (b"anything", "br", Refusal.NOT_THE_PLATFORM),
        (b"anything", "gzip, gzip", Refusal.NOT_THE_PLATFORM),
    ],
)
def test_refuses_what_it_cannot_inflate(serve, client, body, encoding, expected):
    server = serve(answer(body, f"Content-Encoding: {encoding}"))

    error = refusal(lambda: client().request("GET", f"https://shop.example:{server.port}/"))

    assert error.refusal is expected


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=connection.detach()).close()


@pytest.mark.parametrize(("method", "attempts"), [("GET", 2), ("POST", 1)])
def test_only_a_get_that_was_reset_is_sent_once_more(serve, client, method, attempts):
    server = serve(reset)

    error = refusal(lambda: client().request(method, f"https://shop.example:{server.port}/"))

    assert error.refusal is Refusal.TRANSIENT
    assert server.connections == attempts


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nA" * 9000],
)
def test_an_answer_that_breaks_off_or_is_none_is_transient(serve, client, reply):
    def break_off(connection: socket.socket) -> None:
        connection.sendall(reply)
        connection.close()

    server = serve(break_off)

    error = refusal(lambda: client().request("GET", f"https://shop.example:{server.port}/"))

    assert error.refusal is Refusal.TRANSIENT


def test_says_that_nobody_listens(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    error = refusal(lambda: client().request("GET", f"https://shop.example:{port}/"))

    assert (error.refusal, error.detail) == (Refusal.UNREACHABLE, "shop.example refuses connections.")


def test_says_that_the_name_does_not_exist(client):
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    error = refusal(lambda: client(resolve=resolve).request("GET", "https://shop.example/"))

    assert (error.refusal, error.detail) == (Refusal.UNREACHABLE, "shop.example: there is no such host.")


def test_refuses_a_certificate_for_another_name(serve, client):
    server = serve(answer())

    error = refusal(lambda: client().request("GET", f"https://other.example:{server.port}/"))

    assert error.refusal is Refusal.UNREACHABLE
    assert "certificate" in error.detail
    assert server.requests == []


def test_refuses_a_certificate_of_another_authority(serve, client, tmp_path):
    server = serve(answer())
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))

    stranger = client(local_ca=str(tmp_path / "other.pem"))
    error = refusal(lambda: stranger.request("GET", f"https://shop.example:{server.port}/"))

    assert error.refusal is Refusal.UNREACHABLE
    assert "certificate" in error.detail
    assert server.requests == []


def test_no_error_tells_a_secret(serve, client):
    server = serve(reset)

    error = refusal(
        lambda: client().request(
            "POST",
            f"https://shop.example:{server.port}/?consumer_secret=cs_hidden",
            params={"consumer_key": "ck_hidden"},
            basic=("ck_hidden", "cs_hidden"),
        )
    )

    assert "hidden" not in f"{error} {error!r} {error.__cause__!r}"
    assert error.__suppress_context__


def test_threads_share_a_client(serve, client):
    server = serve(answer())
    egress = client()

    with ThreadPoolExecutor(8) as pool:
        hosts = [f"https://shop{number % 5}.shop.example:{server.port}/" for number in range(40)]
        statuses = list(pool.map(lambda url: egress.request("GET", url).status, hosts))

    assert statuses == [200] * 40
    assert len(server.requests) == 40


def test_threads_do_not_wait_for_each_other(serve, client):
    together = threading.Barrier(4)

    def wait_for_the_others(connection: socket.socket) -> None:
        together.wait(5)
        connection.sendall(answer())

    server = serve(wait_for_the_others)
    egress = client()

    with ThreadPoolExecutor(4) as pool:
        url = f"https://shop.example:{server.port}/"
        statuses = list(pool.map(lambda _: egress.request("GET", url).status, range(4)))

    assert statuses == [200] * 4


def test_connects_to_the_address_it_checked_and_looks_up_no_second_time(client, monkeypatch):
    answers = iter([[PUBLIC], ["127.0.0.1"], ["169.254.169.254"]])
    connected: list[tuple[str, int]] = []

    def create_connection(address: tuple[str, int], *_arguments, **_options) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    egress = client(local_ca="", resolve=lambda _host, _port: next(answers))

    error = refusal(lambda: egress.request("GET", "https://rebinding.example/"))

    assert error.refusal is Refusal.UNREACHABLE
    assert connected == [(PUBLIC, 443)]
    assert next(answers) == ["127.0.0.1"]


def test_a_kept_connection_stays_with_its_peer_when_the_name_moves(serve, client):
    first, second = serve(answer(b"first")), serve(answer(b"second"), "127.0.0.2")
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    egress = client(resolve=lambda _host, _port: next(answers))

    bodies = [egress.request("GET", f"https://shop.example:{first.port}/").body for _ in range(2)]

    assert bodies == [b"first", b"first"]
    assert second.connections == 0


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1"], ["fd00:ec2::254"], ["169.254.169.254"], ["2606:2800::1", "fe80::1"]],
)
def test_one_address_that_is_not_public_refuses_the_name(client, monkeypatch, found):
    connected: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda address, *_, **__: connected.append(address))
    egress = client(local_ca="", resolve=lambda _host, _port: found)

    error = refusal(lambda: egress.request("GET", "https://shop.example/"))

    assert error.refusal is Refusal.ADDRESS
    assert connected == []


def test_local_names_are_loopback_only_with_a_local_authority(serve, client):
    server = serve(answer())
    private = client(resolve=lambda _host, _port: ["10.0.0.1"])

    assert private.request("GET", f"https://localhost:{server.port}/").status == 200
    assert refusal(lambda: private.request("GET", "https://shop.example/")).refusal is Refusal.ADDRESS
    closed = client(local_ca="", resolve=lambda _host, _port: ["127.0.0.1"])
    assert refusal(lambda: closed.request("GET", f"https://localhost:{server.port}/")).refusal is Refusal.ADDRESS


def test_tries_the_next_address_of_a_name(serve, client):
    server = serve(answer())
    egress = client(resolve=lambda _host, _port: ["::1", "127.0.0.1"])

    assert egress.request("GET", f"https://shop.example:{server.port}/").status == 200


NOT_PUBLIC = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
    "2001::/32", "2001:2::/48", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fd00:ec2::254/128",
    "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip


@pytest.mark.parametrize("network", NOT_PUBLIC)
def test_refuses_the_first_and_the_last_address_of(network):
    parsed = ip_network(network)

    assert not is_public(str(parsed[0]))
    assert not is_public(str(parsed[-1]))


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
        "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", PUBLIC, "2001:200::", "2000::1",
        "2606:2800:220:1::1", "2a00:1450:4001::1", "2001:db7:ffff::", "2001:db9::", "2003::1", "2c0f::1",
    ],
)  # fmt: skip
def test_calls_the_neighbours_of_refused_networks(address):
    assert is_public(address)


@given(st.ip_addresses())
def test_is_never_more_lenient_than_the_standard_library(address):
    assert not is_public(str(address)) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=4))
@example(ip_address("8.8.8.8"))
def test_refuses_every_ipv4_address_inside_ipv6(inside):
    high, low = divmod(int(inside), 0x1_0000)
    wrapped = [
        f"::ffff:{inside}",
        f"::{inside}",
        f"64:ff9b::{inside}",
        f"2002:{high:x}:{low:x}::1",
        f"2001::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
    ]

    assert not any(is_public(address) for address in wrapped)


def _spellings(dotted: str) -> list[str]:
    """Ways in which some parser or other reads a name as this IPv4 address."""
    a, b, c, d = (int(part) for part in dotted.split("."))
    number = int(ip_address(dotted))
    wide = str.maketrans("0123456789.", "０１２３４５６７８９．")  # noqa: RUF001 - that is the trick
    circled = "".join("⓪①②③④⑤⑥⑦⑧⑨"[int(digit)] if digit.isdigit() else digit for digit in dotted)
    return [
        dotted, f"{dotted}.", str(number), f"0x{number:x}", f"0X{number:X}", f"0{number:o}", f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"{a}.{b}.{c * 256 + d}", f"{a}.{b * 65536 + c * 256 + d}", f"0{a:o}.{b}.{c}.{d}",
        f"{a}.{b}.0x{c:x}.0{d:o}", f"{a:03}.{b:03}.{c:03}.{d:03}", dotted.translate(wide), circled, dotted.replace(".", "。"),
        dotted.replace(".", "%2e"), "".join(f"%{ord(char):02x}" for char in dotted), f"[{dotted}]", f"[::ffff:{dotted}]",
        f"[64:ff9b::{dotted}]", f"user@{dotted}", f"shop.example@{dotted}", f"{dotted}\\@shop.example", f"{dotted} ", f"\t{dotted}:443",
    ]  # fmt: skip


ADDRESSES = ("127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0", "192.168.1.1", "100.100.100.200")  # noqa: S104
NAMELESS = [spelling for dotted in ADDRESSES for spelling in _spellings(dotted)]
OTHER_TRICKS = [
    "", " ", "/", ".", "..", "https://", "https:///path", "https://.", "https://..", "https://-", "https://:443", "https://?", "https://#",
    "[::1]", "[::]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[fd00:ec2::254]", "[0:0:0:0:0:0:0:1]", "::1", "[::1", "::1]", "[v1.a]",
    "[2606:2800:220:1::1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[2001::1]", "1", "1.", "0", "0x", "0x.0x", "127.1", "127.0.1", "1e3.1",
    "a.0x7f", "shop.example.127", "shop.1", "4294967296", "99999999999999999999", "256.256.256.256", "1.2.3.4.5", "0x7f.shop.0x1",
    "user@shop.example", "user:pass@shop.example", ":@shop.example", "@shop.example", "shop.example@", "a@b@shop.example",
    "https://shop.example@evil.example", "https://evil.example:443@shop.example", "shop.example%40evil.example", "%40shop.example",
    "http://shop.example", "ftp://shop.example", "file:///etc/passwd", "file://shop.example/etc", "gopher://shop.example", "ws://shop.example",
    "javascript:alert(1)", "javascript://shop.example/%0aalert(1)", "data:text/html,x", "HTTP://shop.example", "https:/shop.example",
    "https:shop.example", "https//shop.example", "://shop.example", "https:\\\\shop.example", "https:/\\shop.example", "\\\\shop.example",
    "https://shop.example\\evil.example", "https://shop.example\\@evil.example", "shop.example\\", "https://\\shop.example",
    "shop .example", "shop\t.example", "shop\n.example", "shop\r\n.example", "shop\0.example", "shop\x0b.example", "shop\x7f.example",
    "shop.example\r\nHost: evil.example", "shop.example:443\r\nX: y", "https://shop.exa\tmple", "https://shop.example:4\t43",
    "shop.example:0", "shop.example:65536", "shop.example:-1", "shop.example:+443", "shop.example:0443", "shop.example:4 43", "shop.example:",
    "shop.example:443:443", "shop.example:https", "shop.example:44\uff13", "shop.example:1e3", "shop.example:0x1bb", "shop.example:443@evil.example",
    "intranet", "metadata", "com", "shop", "shop..example", ".shop.example", "shop.example..", "-shop.example", "shop-.example",
    "shop_.example", "sh*p.example", "shop!.example", "shop$.example", "shop;.example", "shop,example", "shop|.example", "shop<.example",
    "shop^.example", "shop`.example", 'shop".example', "shop{.example", "shop%.example", "shop%00.example", "shop%2f.example", "shop%2e.example",
    "a" * 64 + ".example", ".".join(["a" * 60] * 5), "x" * 3000 + ".example", "xn--.example", "xn--a.example", "xn--zzzzzzzzz.example",
    "xn--127-.example", "shop\u200b .example", "\u202eelpmaxe.pohs", "shop\u2044.example", "shop\uff0fevil.example", "shop\uff20evil.example",
    "shop\uff1a443.example", "shop\u2100.example", "\u0301shop.example", "shop\ud800.example", "shop.exam\u2028ple", "\ufdfa.example",
    "https://shop.example/..", "https://shop.example/../wp", "https://shop.example/a/../b", "https://shop.example/./a", "https://shop.example//a",
    "https://shop.example/%2e%2e/a", "https://shop.example/%2E./a", "https://shop.example/a%2fb", "https://shop.example/a\\b",
    "https://shop.example/a b", "https://shop.example/a\nb", "https://shop.example/%", "https://shop.example/%zz", "https://shop.example/ä",
    "https://shop.example/a\x00b", "https://shop.example/[a]", "https://shop.example/a|b", "https://shop.example/<a>", 'https://shop.example/"',
]  # fmt: skip
HOSTILE = [*(f"https://{spelling}/" for spelling in NAMELESS), *NAMELESS, *OTHER_TRICKS]


def test_the_corpus_of_hostile_addresses_is_large():
    assert len(set(HOSTILE)) >= 300


@pytest.mark.parametrize("text", HOSTILE)
def test_takes_no_hostile_address(text):
    with pytest.raises(ValueError, match=r"^The (address|path)"):
        addresses.normal_origin(text)


def test_calls_no_hostile_address(client):
    looked_up: list[str] = []
    egress = client(resolve=lambda host, _port: looked_up.append(host) or [PUBLIC], connect_seconds=0.1)

    for text in HOSTILE:
        url = text if text.startswith("https://") else f"https://{text}"
        if not url.startswith("https://shop.example/"):  # there, only the path is odd
            assert refusal(lambda url=url: egress.request("GET", url)).refusal is Refusal.ADDRESS

    assert looked_up == []


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("Shop.Example/", "https://shop.example"),
        ("https://shop.example/blog/", "https://shop.example/blog"),
        ("  HTTPS://SHOP.example:443//  ", "https://shop.example"),
        ("shop.example:8443/a/b", "https://shop.example:8443/a/b"),
        ("shop.example.", "https://shop.example"),
        ("https://shop.example/?utm_source=a#top", "https://shop.example"),
        ("https://shop.example?x=1", "https://shop.example"),
        ("https://shop.example#@evil.example", "https://shop.example"),
        ("München.example", "https://xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
        ("straße.example", "https://xn--strae-oqa.example"),
        ("shop。example", "https://shop.example"),
        ("ＳＨＯＰ.example", "https://shop.example"),  # noqa: RUF001 - folded once, then fixed
        ("localhost:19443", "https://localhost:19443"),
        ("https://shop.example/~user/caf%C3%A9", "https://shop.example/~user/caf%C3%A9"),
    ],
)
def test_spells_an_address_in_one_way(text, origin):
    assert addresses.normal_origin(text) == origin


_PIECES = st.sampled_from(
    ["https", "http", "://", ":", "/", "//", "\\", "@", "?", "#", ".", "..", "%2e", "%40", "shop", "example", "xn--", "127", "0x7f", "[", "]", "::1",
     "443", "8443", "０", "。", "ß", "İ", "\u200d", "\t", "\n", " ", "-", "_", "~", "a", "%", "\x00", "\ud800"],  # noqa: RUF001 - tricks
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(_PIECES, max_size=14).map("".join), st.from_regex(r"[a-z.:/@0-9-]+")))
@example("https://shop.example:8443/blog")
def test_other_parsers_read_what_is_taken_in_the_same_way(text):
    try:
        origin = addresses.normal_origin(text)
    except ValueError as error:
        assert str(error).startswith("The ")  # noqa: PT017 - any other ValueError is a fault of ours
        return

    target = addresses.target_of(origin)
    for host, port, user, scheme in (
        (split := urlsplit(origin)) and (split.hostname, split.port, split.username, split.scheme),
        (url := httpx.URL(origin)) and (url.host, url.port, url.username or None, url.scheme),
    ):
        assert (host, port or 443, user, scheme) == (target.host, target.port, None, "https")
    assert httpx.URL(origin).raw_host.decode() == target.host
    assert addresses.normal_origin(origin) == origin
    with pytest.raises(ValueError, match="does not appear to be"):
        ip_address(target.host)


# ── What OAuth platforms need ────────────────────────────────────────────────────────────────────


def test_a_body_of_bytes_is_sent_as_it_is(serve, client):
    """What is signed are these very bytes."""
    server = serve(answer())
    body = b'{"b": 1,  "a": "\xc3\xb6"}\n'

    client().request(
        "POST", f"https://shop.example:{server.port}/", content=body, headers={"Content-Type": "application/json"}
    )

    assert server.requests[0].encode("latin-1").endswith(b"\r\n\r\n" + body)
    assert "content-type: application/json\r\n" in server.requests[0].lower()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_must_not_be_repeated_is_sent_once(serve, client, method):
    """A code or a refresh token that is sent twice can end a grant."""
    server = serve(reset)

    error = refusal(lambda: client().request(method, f"https://shop.example:{server.port}/", repeatable=False))

    assert error.refusal is Refusal.TRANSIENT
    assert server.connections == len(server.requests) == 1


def unresolved(host, port):
    raise AssertionError(f"{host} was looked up")


@pytest.mark.parametrize("host", ["shop.example", "one.shop.example"])
def test_a_platform_that_is_played_locally_keeps_its_name_and_is_not_looked_up(serve, client, host):
    server = serve(answer())
    local = client(resolve=unresolved, local_platforms=f"{server.port}:shop.example,.shop.example")

    assert local.request("GET", f"https://{host}/a").status == 200

    assert server.names == [host]
    assert f"Host: {host}\r\n" in server.requests[0]


@pytest.mark.parametrize("host", ["myshop.example", "shop.example.net", "example", "xshop.example"])
def test_only_the_hosts_that_are_named_are_played(serve, client, host):
    server = serve(answer())
    local = client(resolve=lambda _host, _port: ["10.0.0.1"], local_platforms=f"{server.port}:.shop.example")

    assert refusal(lambda: local.request("GET", f"https://{host}/")).refusal is Refusal.ADDRESS
    assert server.connections == 0


def test_nothing_is_played_without_a_local_authority(serve, client):
    server = serve(answer())
    looked_up = []

    def resolve(host, port):
        looked_up.append((host, port))
        return ["10.0.0.1"]

    deployed = client(local_ca="", resolve=resolve, local_platforms=f"{server.port}:shop.example")

    assert refusal(lambda: deployed.request("GET", "https://shop.example/")).refusal is Refusal.ADDRESS
    assert looked_up == [("shop.example", 443)]
    assert server.connections == 0


def test_no_error_and_no_log_tells_a_secret_of_the_address(serve, client, caplog):
    """TikTok Shop takes the app's secret and the tokens in the query of a GET."""
    caplog.set_level("DEBUG")
    server = serve(reset)
    address = f"https://shop.example:{server.port}/api/v2/token/refresh"

    error = refusal(
        lambda: client().request(
            "GET", address, params={"app_secret": "hidden-1", "refresh_token": "hidden-2"}, repeatable=False
        )
    )

    assert "hidden-1" in server.requests[0]
    assert "hidden" not in f"{error} {error!r} {error.__cause__!r} {caplog.text}"
