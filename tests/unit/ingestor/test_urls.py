"""The source `url`: files by HTTP from a loopback server, by S3 from moto's, and below the directory of files."""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
import stamina
from pyarrow import parquet

from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.raw_responses import RawResponses
from ingestor.urls import S3, UrlSource
from tests.unit.ingestor.answers import said, served
from tests.unit.ingestor.frames import wanted

CSV = b"Date,Close,Promo\n2024-03-08,1,0\n2024-03-11,2,1\n"
NOW = datetime(2024, 4, 1, tzinfo=UTC)
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _no_waiting():
    with stamina.set_testing(True, attempts=2):
        yield


def as_parquet() -> bytes:
    target = io.BytesIO()
    days = [date(2024, 3, 8), date(2024, 3, 11)]
    parquet.write_table(pa.table({"date": days, "close": [1.0, 2.0]}), target)
    return target.getvalue()


def fetch(url, **options):
    options = {"max_bytes": MIB, "timeout_seconds": 60.0, "allowed_hosts": ("127.0.0.1",)} | options
    return UrlSource(**options).fetch(wanted(symbol=url, now=NOW))


def fetch_served(*answers, **options):
    queue = list(answers)
    with served(lambda _: queue.pop(0) if len(queue) > 1 else queue[0]) as address:
        return fetch(f"{address}/data", **options)


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (CSV, "text/csv"),
        (CSV, "application/octet-stream"),
        (gzip.compress(CSV), "application/gzip"),
        (as_parquet(), "application/vnd.apache.parquet"),
    ],
    ids=["csv", "octets", "csv-gz", "parquet"],
)
def test_a_file_by_http_is_known_by_its_content(body, content_type):
    frame = fetch_served(said(body, content_type=content_type))

    assert frame.source == "url"
    assert frame.columns["close"].tolist() == [1, 2]
    assert [str(datetime.fromtimestamp(int(time), UTC).date()) for time in frame.time] == ["2024-03-08", "2024-03-11"]


@pytest.mark.loopback
def test_it_is_found_behind_a_redirect():
    assert len(fetch_served((302, {"Location": "/other"}, b""), said(CSV, content_type="text/csv"))) == 2


@pytest.mark.loopback
def test_an_unchanged_file_is_not_sent_again(tmp_path):
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    asked = []

    def answer(request):
        asked.append(request.headers.get("If-None-Match"))
        return (304, {}, b"") if asked[-1] == '"1"' else said(CSV, content_type="text/csv", ETag='"1"')

    with served(answer) as address:
        first, second = (fetch(f"{address}/data.csv", raw=raw) for _ in range(2))

    assert asked == [None, '"1"']
    assert first.columns["close"].tolist() == second.columns["close"].tolist()


def zip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(64)) + packer.flush()


def packed_parquet(rows: int, columns: int, groups: int = 1) -> bytes:
    """A small file of many equal values."""
    target = io.BytesIO()
    table = pa.table({f"c{index}": pa.array(range(rows)).cast("float64") for index in range(columns)})
    with parquet.ParquetWriter(target, table.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(groups):
            writer.write_table(
                pa.table({name: pa.nulls(rows, "float64").fill_null(0.0) for name in table.column_names})
            )
    return target.getvalue()


WRONG = [
    ("parquet-bomb", said(packed_parquet(100_000, 10, 40)), BadSourceData, "at most 268435456 bytes unpacked"),
    ("parquet-wide", said(packed_parquet(1, 2001)), BadSourceData, "at most 2000 columns expected"),
    ("html", said(b"<html>login</html>", content_type="text/html"), BadSourceData, "the answer is an HTML page"),
    ("html-as-csv", said(b"\n<!doctype html>", content_type="text/csv"), BadSourceData, "the answer is an HTML page"),
    ("empty", said(b"", content_type="text/csv"), BadSourceData, "the file is empty"),
    ("404", said(b"", 404), UnknownSymbol, "no such file"),
    ("403", said(b"", 403), SourceUnreachable, "HTTP status 403"),
    ("429", said(b"", 429), SourceUnreachable, "HTTP status 429"),
    ("500", said(b"", 500), SourceUnreachable, "HTTP status 500"),
    ("half", said(CSV, Content_Length="1000"), SourceUnreachable, "no whole answer"),
    ("too-large", said(b"x" * (MIB + 1)), BadSourceData, "at most 1048576 bytes"),
    ("endless-line", said(b"Date,Close\n2024-01-01," + b"1" * (MIB - 100)), BadSourceData, "no CSV: field larger"),
    ("gzip-bomb-sent", said(zip_bomb(), Content_Encoding="gzip"), BadSourceData, "at most 1048576 bytes"),
    (
        "gzip-bomb-file",
        said(zip_bomb(), content_type="application/gzip"),
        BadSourceData,
        "at most 1048576 bytes|no CSV",
    ),
    ("half-a-gzip", said(gzip.compress(CSV)[:-9]), BadSourceData, "no whole gzip"),
    ("torn-parquet", said(as_parquet()[:200]), BadSourceData, "Parquet"),
    ("wrong-encoding", said(CSV.decode().encode("utf-16")), BadSourceData, "must be UTF-8 text"),
    ("no-time-column", said(b"a,b\n1,2\n"), BadSourceData, "one column must be called"),
    ("formula", said(b"Date,Close\n2024-01-01,1\n2024-01-02,=1+1\n"), BadSourceData, "a number is expected, was '=1"),
    ("json", said({"error": "no such user"}), BadSourceData, "one column must be called"),
]


@pytest.mark.loopback
@pytest.mark.parametrize(("answer", "fault", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_is_no_file_is_told(answer, fault, words):
    with pytest.raises(fault, match=words) as told:
        fetch_served(answer)
    assert told.value.source == "url"


ADDRESSES = [
    ("http://127.0.0.1/x.csv", BadSourceData, "not public"),
    ("http://169.254.169.254/latest/meta-data/iam", BadSourceData, "not public"),
    ("https://[::1]:9092/", BadSourceData, "not public"),
    ("ftp://example.test/x.csv", UnknownSymbol, "http, https, s3 or file is expected"),
    ("gopher://127.0.0.1:6379/_FLUSHALL", UnknownSymbol, "http, https, s3 or file is expected"),
    ("sales.csv", UnknownSymbol, "http, https, s3 or file is expected"),
    ("https:///x.csv", UnknownSymbol, "http, https, s3 or file is expected"),
    ("http://[::1", UnknownSymbol, "no address"),
    ("https://me:secret@example.test/x.csv", UnknownSymbol, "must not have a user or password"),
    ("https://example.test/" + "x" * 2000, UnknownSymbol, "at most 2000 characters"),
    ("file://host/etc/passwd", UnknownSymbol, "file:sales.csv is expected"),
    ("file:sales.csv", BadSourceData, "files are not served"),
    ("s3://other/x.csv", BadSourceData, "bucket other may not be read"),
    ("s3://prices", UnknownSymbol, "s3://bucket/file.csv is expected"),
    ("s3://arn:aws:s3/x.csv", UnknownSymbol, "s3://bucket/file.csv is expected"),
]


@pytest.mark.parametrize(("url", "fault", "words"), ADDRESSES, ids=[case[0][:40] for case in ADDRESSES])
def test_an_address_that_is_asked_nowhere(url, fault, words):
    with pytest.raises(fault, match=words):
        fetch(url, allowed_hosts=(), s3=S3(buckets=("prices",)))


def test_files_lie_below_the_directory(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a b.csv").write_bytes(CSV)
    (tmp_path / "secret.csv").write_bytes(CSV)

    assert fetch("file:a%20b.csv", directory=tmp_path / "files").source == "url"
    for url in ("file:../secret.csv", "file:%2e%2e/secret.csv", f"file://{tmp_path}/secret.csv"):
        with pytest.raises(UnknownSymbol):
            fetch(url, directory=tmp_path / "files")


def test_it_travels_to_a_child_process_and_tells_no_secret():
    source = UrlSource(max_bytes=5, s3=S3(buckets=("prices",), key="k", secret="top-secret"))

    assert pickle.loads(pickle.dumps(source)) == source
    assert "top-secret" not in repr(source)


@pytest.fixture(scope="module")
def s3_server():
    """An S3 service on the loopback address with the bucket `prices`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
        )
        client.create_bucket(Bucket="prices")
        for key, body in {
            "a/x.csv": CSV,
            "x.parquet": as_parquet(),
            "empty.csv": b"",
            "large.csv": bytes(MIB + 1),
        }.items():
            client.put_object(Bucket="prices", Key=key, Body=body)
        client.close()
        yield S3(buckets=("prices", "absent"), endpoint=address, key="k", secret="s")
    finally:
        server.stop()


@pytest.mark.loopback
@pytest.mark.parametrize("key", ["a/x.csv", "x.parquet"])
def test_an_object_of_s3(s3_server, key):
    assert fetch(f"s3://prices/{key}", s3=s3_server).columns["close"].tolist() == [1, 2]


@pytest.mark.loopback
def test_an_object_is_kept_as_it_came_and_read_once(s3_server, tmp_path):
    """Red without `RawResponses.keep` and the look at the ETag in `UrlSource._object`."""
    raw = RawResponses(directory=tmp_path, max_bytes=MIB)
    for _ in range(2):
        assert fetch("s3://prices/a/x.csv", s3=s3_server, raw=raw).columns["close"].tolist() == [1, 2]

    kept = raw.newest("url", "s3://prices/a/x.csv")
    assert kept is not None
    assert (kept.body, kept.status) == (CSV, 200)
    assert raw.sizes()["url"][0] == 1


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("url", "fault", "words"),
    [
        ("s3://prices/absent.csv", UnknownSymbol, "there is no object 'absent.csv'"),
        ("s3://absent/x.csv", UnknownSymbol, "there is no object"),
        ("s3://prices/empty.csv", BadSourceData, "the file is empty"),
        ("s3://prices/large.csv", BadSourceData, "the file may have at most 1048576 bytes"),
    ],
)
def test_an_object_that_is_none(s3_server, url, fault, words):
    with pytest.raises(fault, match=words):
        fetch(url, s3=s3_server)


@pytest.mark.loopback
def test_a_dead_s3_service_is_unreachable():
    with pytest.raises(SourceUnreachable, match="bucket prices cannot be read"):
        fetch("s3://prices/x.csv", s3=S3(buckets=("prices",), endpoint="http://127.0.0.1:9", key="k", secret="s"))
