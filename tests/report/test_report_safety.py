"""Hostile names, the script policy, equal bytes, and what may be imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

import pytest
import sample_run
from hypothesis import given
from hypothesis import strategies as st
from page_outline import outline

from spuraudit.record.folder import read_record, to_json, write_bytes
from spuraudit.report import render
from spuraudit.report.embed import embedded_record, policy, script_json

SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<body>.*?)</script>", re.DOTALL)


def scripts(page: str) -> list[tuple[str, str]]:
    return [(match["attributes"], match["body"]) for match in SCRIPT.finditer(page)]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    page = outline(render(sample_run.hostile_run(tmp_path), charts=False))
    assert page.unclosed == []
    assert all(image["src"].startswith("data:image/") for image in page.images)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sample_run.HOSTILE in page.text
    assert 'carpenter\'s "kit" & co' in page.text
    assert {image["alt"] for image in page.images} == {sample_run.HOSTILE}


def test_hostile_title_stays_text(tmp_path: Path) -> None:
    page = outline(render(sample_run.birds_run(tmp_path), charts=False, title=sample_run.HOSTILE))
    assert page.headings[0] == (1, sample_run.HOSTILE)
    assert "img" not in page.tags[: page.tags.index("main")]


def test_embedded_record_round_trips(tmp_path: Path) -> None:
    run = sample_run.hostile_run(tmp_path)
    body = next(body for attributes, body in scripts(render(run, charts=False)) if "spuraudit-record" in attributes)
    assert not set("<>&") & set(body)
    assert json.loads(body) == json.loads((run / "scan.json").read_bytes())


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_script_json_never_holds_markup(content: object) -> None:
    text = str(script_json(content))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == content


def test_policy_allows_exactly_the_scripts_of_the_page(tmp_path: Path) -> None:
    page = render(sample_run.birds_run(tmp_path))
    start = page.encode()[:1024].decode()
    said = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', start)[1])  # type: ignore[index]
    hashes = set(re.findall(r"'sha256-([^']+)'", said))
    running = [body for attributes, body in scripts(page) if "application/json" not in attributes]
    assert hashes == {b64encode(sha256(body.encode()).digest()).decode() for body in running}
    assert len(running) == 2
    assert "default-src 'none'" in said
    assert "unsafe-eval" not in said
    assert "unsafe-inline" not in said.split("style-src")[0]
    assert "http" not in said


def test_policy_without_scripts_allows_none() -> None:
    assert "script-src 'none'" in policy([])


def test_nothing_on_the_page_names_a_remote_file(tmp_path: Path) -> None:
    page = outline(render(sample_run.birds_run(tmp_path)))
    links = [value for _, name, value in page.attributes if name in {"src", "href", "srcset", "data", "action"}]
    assert links
    assert all(link.startswith(("#", "data:image/")) for link in links)
    assert "link" not in page.tags


def test_same_run_same_bytes(tmp_path: Path) -> None:
    one = sample_run.birds_run(tmp_path / "a", sample_run.verdict("fail", "pass"))
    two = sample_run.birds_run(tmp_path / "b", sample_run.verdict("fail", "pass"))
    assert render(one) == render(one) == render(two)


def test_bytes_do_not_depend_on_hash_seed_or_time(tmp_path: Path) -> None:
    run = sample_run.digits_run(tmp_path)
    code = (
        "import sys, hashlib, pathlib; from spuraudit.report import render; "
        "print(hashlib.sha256(render(pathlib.Path(sys.argv[1])).encode()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(run)],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "TZ": zone},
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(seen) == 1


def test_rendering_works_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'open_clip', 'pytorch_grad_cam', 'cv2', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from spuraudit.report import write\n"
        "run = Path(sys.argv[1])\n"
        "for suffix in ('html', 'md', 'csv', 'json'):\n"
        "    print(write(run, run / f'out.{suffix}'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (run / "out.html").stat().st_size > 1_000_000


def test_drawn_report_does_not_import_plotly(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    code = (
        "import sys; from pathlib import Path; from spuraudit.report import render; "
        "render(Path(sys.argv[1]), charts=False); print('plotly' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("most", [1_000_000, 40_000, 15_000, 4_000])
def test_embedded_record_is_cut_from_its_details_and_says_so(tmp_path: Path, most: int) -> None:
    record = read_record(sample_run.adaptive_run(tmp_path))
    text, left_out = embedded_record(record, most)
    content = json.loads(text)
    assert len(content["measurements"]) + left_out.get("measurements", 0) == len(record.measurements)
    assert len(content["findings"]) + left_out.get("findings", 0) == len(record.findings)
    assert len(content["curves"]) + left_out.get("curves", 0) == len(record.curves) > 0
    assert content.get("omitted", {}) == left_out
    if most == 40_000:
        cells = sum("cell" in item.scope for item in record.measurements)
        assert left_out == {"curves": len(record.curves), "measurements": cells}
    if most >= 15_000:
        assert len(text) <= most
    assert content["model"]["sha256"] == record.model.sha256


def test_a_cut_record_is_announced_on_the_page(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    record = read_record(run)
    long = record.model_copy(update={"measurements": record.measurements * 60})
    write_bytes(run / "scan.json", to_json(long))
    text = outline(render(run, charts=False)).text
    assert "Left out of the embedded record to keep this file small:" in text
    assert "Save the record without its details" in text
