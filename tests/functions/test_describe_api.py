import pytest
from makers import call

from functions import describe_api
from infra import describe


@pytest.fixture
def described(tmp_path, monkeypatch):
    monkeypatch.setattr(describe_api, "_FOLDER", tmp_path)
    (tmp_path / "openapi.json").write_text('{"openapi":"3.1.0"}')
    (tmp_path / "docs.html").write_text("<p>é</p>", encoding="utf-8")


def test_gives_what_the_build_wrote(described):
    document = call("describe_api", "GET", "/openapi.json")
    page = call("describe_api", "GET", "/docs")

    assert (document.status, document.json) == (200, {"openapi": "3.1.0"})
    assert document.headers["Content-Type"] == "application/json"
    assert (page.status, page.text) == (200, "<p>é</p>")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_is_healthy_without_anything():
    assert call("describe_api", "GET", "/health").json == {"status": "ok"}


def test_the_page_fits_what_lambda_can_answer(tmp_path):
    describe.describe(tmp_path)

    assert (tmp_path / "docs.html").stat().st_size < 5_000_000
