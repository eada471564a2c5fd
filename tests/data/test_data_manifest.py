from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from spuraudit.data import open_dataset
from spuraudit.data.dataset import Dataset
from spuraudit.data.decode import decode
from spuraudit.errors import ConfigError, DataError, SpurauditError
from spuraudit.record.geometry import Geometry


def rewrite(root: Path, old: str, new: str) -> None:
    file = root / "dataset.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def refused(root: Path, kind: type[SpurauditError], message: str, **options: object) -> SpurauditError:
    with pytest.raises(kind, match=message) as caught:
        open_dataset(str(root), **options)
    assert caught.value.hint, "every refusal says how to go on"
    return caught.value


def write_list(root: Path, text: str, columns: str = "") -> Dataset:
    (root / "images.csv").write_text(text)
    rewrite(root, "  folder: images\n", f"  folder: images\n  list: images.csv\n{columns}")
    return open_dataset(str(root))


def test_a_folder_per_class(beetles: Path) -> None:
    dataset = open_dataset(str(beetles))
    assert (dataset.name, dataset.layout, dataset.licence, dataset.origin) == (
        "beetles",
        "manifest",
        "CC0",
        str(beetles),
    )
    assert [(info.name, info.outputs) for info in dataset.classes] == [("ladybird", (301,)), ("dung beetle", (305,))]
    assert [(feature.name, feature.role, feature.classes) for feature in dataset.features] == [("beetle", "core", None)]
    assert [row.id for row in dataset.images] == [f"{c}/{n:03}.jpg" for c in ("dung", "ladybird") for n in range(3)]
    assert [row.label for row in dataset.images] == [1, 1, 1, 0, 0, 0]
    first = dataset.images[0]
    assert (first.path, first.split, first.group) == ("images/dung/000.jpg", None, None)
    assert [(mask.feature, mask.path, mask.frame) for mask in first.masks] == [
        ("beetle", "masks/dung/000.png", "photo")
    ]
    decoded = decode(dataset, first, Geometry(height=20, width=20, crop_pct=1.0))
    assert decoded.core is not None
    assert 0.2 < decoded.core.mean() / 255 < 0.5


def test_the_yaml_may_lie_elsewhere_and_have_any_name(beetles: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "notes"
    elsewhere.mkdir()
    text = (beetles / "dataset.yaml").read_text()
    (elsewhere / "mine.yml").write_text(f"root: ../{beetles.name}\n{text}")
    (elsewhere / "moved.yaml").write_text(f"root: /gone\n{text}")
    assert len(open_dataset(str(elsewhere / "mine.yml")).images) == 6
    assert len(open_dataset(str(elsewhere / "moved.yaml"), data_dir=beetles).images) == 6
    refused(elsewhere / "moved.yaml", ConfigError, r"moved\.yaml, line 1: root: no such folder: /gone")
    refused(elsewhere / "moved.yaml", DataError, r"gone2: no such folder \(--data-dir\)", data_dir=tmp_path / "gone2")


def test_classes_may_be_bare_names(beetles: Path) -> None:
    (beetles / "dataset.yaml").write_text("name: b\nclasses: [dung, ladybird]\nimages: {folder: images}\n")
    dataset = open_dataset(str(beetles))
    assert [(info.index, info.name, info.outputs) for info in dataset.classes] == [
        (0, "dung", None),
        (1, "ladybird", None),
    ]
    assert dataset.features == ()
    assert all(row.masks == () for row in dataset.images)


def test_only_some_folders_may_be_classes(beetles: Path) -> None:
    (beetles / "dataset.yaml").write_text("name: b\nclasses: [dung]\nimages: {folder: images}\n")
    dataset = open_dataset(str(beetles))
    assert len(dataset.images) == 3
    assert dataset.left_out == {"folders of classes that dataset.yaml does not name": 1}


def test_suffixes_in_any_case_and_nothing_hidden(beetles: Path, photo: object, mask: object) -> None:
    for name in ("A.JPEG", "b.Png", "c.webp", "d.BMP", "e.TIF", "f.jpg"):
        photo(beetles / "images" / "dung" / name)
        mask(beetles / "masks" / "dung" / f"{Path(name).stem}.png")
    (beetles / "images" / "dung" / "._f.jpg").write_bytes(b"junk")
    (beetles / "images" / "dung" / "Thumbs.db").write_bytes(b"junk")
    assert len(open_dataset(str(beetles)).images) == 12


def test_a_level_of_folders_for_splits(beetles: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(beetles / "images", beetles / "by_split" / split)
    rewrite(beetles, "folder: images\n", "folder: by_split\n  splits: [train, test]\n")
    rewrite(beetles, "masks/{class}/{stem}.png", "masks/{class}/{stem}.png")
    dataset = open_dataset(str(beetles))
    assert dataset.splits == ("test", "train")
    assert dataset.default_split == "test"
    assert len(dataset.in_split("test")) == 6
    assert dataset.images[0].id == "train/dung/000.jpg"
    rewrite(beetles, "licence: CC0", "default_split: tset")
    error = refused(
        beetles, ConfigError, r"dataset\.yaml, line 2: default_split: no split 'tset' \(found: test, train\)"
    )
    assert "'test'" in (error.hint or "")
    rewrite(beetles, "[train, test]", "[train, valid]")
    refused(beetles, ConfigError, r"line 10: images\.splits: no files in .*by_split/valid")


def test_every_placeholder(beetles: Path, mask: object) -> None:
    rewrite(beetles, "folder: images\n", "folder: .\n  splits: [images]\n")
    for template in (
        "{split}_masks/{class}/{stem}.png",
        "m/{class_name}/{name}.png",
        "n/{path}.png",
        "o/{parent}/{stem}-seg.png",
    ):
        for folder, name in (("ladybird", "ladybird"), ("dung", "dung beetle")):
            for stem in ("000", "001", "002"):
                path = f"images/{folder}/{stem}.jpg"
                filled = template.format(
                    **{"split": "images", "class": folder, "class_name": name, "stem": stem, "name": f"{stem}.jpg"},
                    path=path,
                    parent=f"images/{folder}",
                )
                mask(beetles / filled)
        text = (beetles / "dataset.yaml").read_text().splitlines()
        (beetles / "dataset.yaml").write_text("\n".join([*text[:-1], f'    masks: "{template}"']))
        dataset = open_dataset(str(beetles))
        assert all(len(row.masks) == 1 for row in dataset.images), template


def test_several_features_some_of_one_class_some_optional(beetles: Path, mask: object) -> None:
    mask(beetles / "leaves" / "ladybird" / "001.png")
    mask(beetles / "balls" / "000.png")
    mask(beetles / "balls" / "001.png")
    mask(beetles / "balls" / "002.png")
    rewrite(
        beetles,
        "features:\n",
        "features:\n"
        "  - {name: leaf, role: spurious, masks: 'leaves/{class}/{stem}.png', optional: true}\n"
        "  - {name: ball, role: spurious, masks: 'balls/{stem}.png', classes: [dung beetle]}\n",
    )
    dataset = open_dataset(str(beetles))
    assert [(feature.name, feature.classes) for feature in dataset.features] == [
        ("leaf", None),
        ("ball", (1,)),
        ("beetle", None),
    ]
    masks = {row.id: [mask.feature for mask in row.masks] for row in dataset.images}
    assert masks["ladybird/001.jpg"] == ["leaf", "beetle"]
    assert masks["ladybird/002.jpg"] == ["beetle"]
    assert masks["dung/002.jpg"] == ["ball", "beetle"]


def test_archives_are_read_in_place(beetles: Path) -> None:
    for folder in ("masks", "images"):
        with zipfile.ZipFile(beetles / f"{folder}.zip", "w") as packed:
            for file in sorted((beetles / folder).rglob("*.*")):
                packed.write(file, file.relative_to(beetles).as_posix())
        shutil.rmtree(beetles / folder)
    rewrite(beetles, "folder: images", "folder: images\n  archive: images.zip")
    rewrite(beetles, "role: core", "role: core\n    archive: masks.zip")
    dataset = open_dataset(str(beetles))
    assert len(dataset.images) == 6
    assert decode(dataset, dataset.images[0], Geometry(height=20, width=20, crop_pct=1.0)).core is not None
    rewrite(beetles, "masks.zip", "msaks.zip")
    refused(beetles, ConfigError, r"dataset\.yaml, line 14: features\[0\]\.archive: no such archive: .*msaks\.zip")


def test_a_list_names_images_classes_splits_groups_and_ids(beetles: Path) -> None:
    dataset = write_list(
        beetles,
        "image,class,split,group,id,other\n"
        "ladybird/000.jpg,ladybird,train,leaf,L0,x\n"  # by name
        "dung/001.jpg,dung,test,sand,D1,x\n"  # by folder
        "dung/002.jpg,1,test,,D2,x\n"  # by number
        "dung/000.jpg,stag beetle,test,sand,D0,x\n",  # another class
    )
    assert [(row.id, row.label, row.split, row.group) for row in dataset.images] == [
        ("L0", 0, "train", "leaf"),
        ("D1", 1, "test", "sand"),
        ("D2", 1, "test", None),
    ]
    assert dataset.left_out == {"rows of classes that dataset.yaml does not name": 1}
    assert dataset.default_split == "test"
    assert dataset.images[1].masks[0].path == "masks/dung/001.png"


def test_columns_may_have_other_names(beetles: Path) -> None:
    dataset = write_list(
        beetles,
        "file,species,part\nladybird/000.jpg,ladybird,a\ndung/001.jpg,dung beetle,b\n",
        "  columns: {image: file, class: species, split: part}\n",
    )
    assert [(row.id, row.split) for row in dataset.images] == [("ladybird/000.jpg", "a"), ("dung/001.jpg", "b")]


def test_the_list_may_lie_beside_the_yaml_or_in_the_root(beetles: Path, tmp_path: Path) -> None:
    rows = "image,class\nladybird/000.jpg,ladybird\ndung/001.jpg,dung\n"
    write_list(beetles, rows)
    elsewhere = tmp_path / "notes"
    elsewhere.mkdir()
    shutil.move(beetles / "images.csv", elsewhere)
    text = (beetles / "dataset.yaml").read_text()
    (elsewhere / "dataset.yaml").write_text(f"root: {beetles}\n{text}")
    assert len(open_dataset(str(elsewhere)).images) == 2
    refused(beetles, ConfigError, r"line 10: images\.list: no images\.csv in")


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (
            "image,label\nx.jpg,dung\n",
            DataError,
            r"images\.csv, line 1: column 'class' is missing \(found: image, label\)",
        ),
        ("", DataError, r"images\.csv: empty"),
        ("image,class\n../../secret.jpg,dung\n", DataError, r"images\.csv, line 2: '\.\./\.\./secret\.jpg' climbs out"),
        ("image,class\n/etc/passwd,dung\n", DataError, r"images\.csv, line 2: '/etc/passwd' is absolute"),
        ("image,class\ndung\\000.jpg,dung\n", DataError, r"images\.csv, line 2: .* has a backslash"),
        ("image,class\ndung/000.jpg,dung\ndung/9.jpg,dung\n", DataError, r"images: 1 of 2 missing:\n.*9\.jpg .*line 3"),
        ("image,class\ndung/000.jpg,2\n", DataError, r"line 2: class number 2, but dataset\.yaml has 2 classes"),
        ("image,class\ndung/000.jpg,\n", DataError, r"line 2: column 'class' is empty"),
        ("image,class\ndung/000.jpg\n", DataError, r"line 2: 1 cells, the header has 2"),
        ("image,class,split\ndung/000.jpg,dung,\n", DataError, r"line 2: column 'split' is empty"),
        (
            "image,class\ndung/000.jpg,dung\ndung/000.jpg,dung\nladybird/000.jpg,ladybird\n",
            DataError,
            r"line 3: image 'dung/000\.jpg' appears twice \(first: .*line 2\)",
        ),
        (
            "image,class\ndung/000.jpg,dnug\nladybird/000.jpg,ladybird\n",
            DataError,
            r"line 7: no image of class 'dung beetle'.*left out: 1 rows of classes that dataset\.yaml does not name",
        ),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(
    beetles: Path, rows: str, kind: type[SpurauditError], message: str
) -> None:
    (beetles / "images.csv").write_text(rows)
    rewrite(beetles, "  folder: images\n", "  folder: images\n  list: images.csv\n")
    refused(beetles, kind, message)


def test_a_missing_mask_names_mask_image_and_count(beetles: Path) -> None:
    (beetles / "masks" / "dung" / "001.png").unlink()
    error = refused(beetles, DataError, r"dataset\.yaml, line 13: masks of feature 'beetle': 1 of 6 missing")
    assert "masks/dung/001.png (of image dung/001.jpg)" in error.message
    assert "optional: true" in (error.hint or "")
    shutil.rmtree(beetles / "masks")
    assert "6 of 6 missing" in refused(beetles, DataError, "and 3 more").message
    rewrite(beetles, "role: core", "role: core\n    optional: true")
    refused(beetles, ConfigError, r"not one of 6 masks of the optional feature 'beetle' is there")


def test_an_empty_class_is_refused(beetles: Path) -> None:
    shutil.rmtree(beetles / "images" / "dung")
    error = refused(
        beetles, DataError, r"dataset\.yaml, line 7: no image of class 'dung beetle' \(looked in .*images/dung"
    )
    assert "folder:" in (error.hint or "")
    shutil.rmtree(beetles / "images")
    refused(beetles, ConfigError, r"line 9: images\.folder: no files in .*images")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("licence", "license", r"line 2: license: unknown key\. Did you mean 'licence'\?"),
        ("  folder: images", "  folders: images", r"line 9: images\.folders: unknown key\. Did you mean 'folder'\?"),
        ("role: core", "role: causal", r"line 12: features\[0\]\.role: expected 'core' or 'spurious', found 'causal'"),
        ("{stem}", "{stm}", r"line 13: features\[0\]\.masks: unknown placeholder \{stm\}\. Did you mean 'stem'"),
        ("{class}/{stem}.png", "{class}.png", r"line 13: features\[0\]\.masks: the template names the same file for"),
        ("masks/{class}", "masks-{split}/{class}", r"line 13: features\[0\]\.masks: uses \{split\}, but"),
        ("masks/{class}", "../{class}", r"line 13: '\.\./dung/000\.png' climbs out of the root"),
        ("folder: dung", "folder: ../dung", r"line 7: '\.\./dung' climbs out of the root"),
        ("  folder: images", "  folder: images\n  splits: [../x]", r"line 10: '\.\./x' climbs out of the root"),
        ("{class}/{stem}", "{class/{stem}", r"line 13: features\[0\]\.masks: a \{ or \} without its partner"),
        ("folder: images", "folder: ../images", r"line 9: '\.\./images' climbs out of the root"),
        ("[301]", "[-1]", r"line 6: classes\[0\]\.outputs\[0\]: .*greater than or equal to 0"),
        ("[301]", "[]", r"line 6: classes\[0\]\.outputs: .*at least 1 item"),
        ("[305]", "[301]", r"line 7: classes\[1\]\.outputs: output 301 belongs to 'ladybird' already"),
        (", outputs: [305]", "", r"line 7: classes\[1\]: 'dung beetle' has no outputs:, 'ladybird' has"),
        ("name: dung beetle", "name: ladybird", r"line 7: classes\[1\]: 'ladybird' appears twice"),
        ("folder: dung", "folder: ladybird", r"line 7: classes\[1\]: 'ladybird' appears twice"),
        ("name: beetles", "name: 7", r"line 1: name: expected text, found 7"),
        (
            "role: core",
            "role: core\n    classes: [ladybug]",
            r"line 13: features\[0\]\.classes\[0\]: no class 'ladybug'",
        ),
        ("  folder: images", "  folder: images\n  columns: {image: x}", r"line 8: images: columns: belongs to list:"),
        ("  folder: images", "  list: x.csv\n  splits: [a]", r"line 8: images: splits: names folders"),
        ("  folder: images", "  list: x.csv", r"line 9: images\.list: no x\.csv in"),
        ("classes:\n", "classes:\n  - [oops\n", r"line \d+: malformed YAML"),
        ("images:\n  folder: images\n", "", r"line 1: images: required, but missing"),
    ],
)
def test_a_wrong_key_is_refused_with_its_line(beetles: Path, old: str, new: str, message: str) -> None:
    rewrite(beetles, old, new)
    refused(beetles, SpurauditError, r"dataset\.yaml, " + message)


def test_two_features_of_one_name_are_refused(beetles: Path) -> None:
    text = (beetles / "dataset.yaml").read_text()
    (beetles / "dataset.yaml").write_text(text + "  - {name: beetle, role: core, masks: 'x/{stem}.png'}\n")
    refused(beetles, ConfigError, r"line 14: features\[1\]\.name: 'beetle' appears twice")


def test_a_link_out_of_the_root_is_refused(beetles: Path, tmp_path: Path, photo: object) -> None:
    outside = photo(tmp_path / "outside" / "000.jpg")
    linked = beetles / "images" / "dung" / "000.jpg"
    linked.unlink()
    linked.symlink_to(outside)
    dataset = write_list(beetles, "image,class\ndung/001.jpg,dung\nladybird/000.jpg,ladybird\n")
    assert len(dataset.images) == 2
    (beetles / "images.csv").write_text("image,class\ndung/000.jpg,dung\nladybird/000.jpg,ladybird\n")
    refused(beetles, DataError, r"'images/dung/000\.jpg' is a link that leads out of this folder")


@pytest.mark.shared
def test_the_real_butterflies(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(
        f"""\
name: leeds butterflies
root: {shared / "leeds_butterfly_256"}
classes:
  - {{name: monarch, folder: 001_danaus_plexippus, outputs: [323]}}
  - {{name: cabbage butterfly, folder: 008_pieris_rapae, outputs: [324]}}
  - {{name: admiral, folder: 009_vanessa_atalanta, outputs: [321]}}
images: {{folder: images}}
features:
  - {{name: butterfly, role: core, masks: "masks/{{class}}/{{stem}}.png"}}
"""
    )
    dataset = open_dataset(str(tmp_path))
    assert [sum(row.label == label for row in dataset.images) for label in range(3)] == [82, 55, 90]
    assert all(row.has_core for row in dataset.images)
    geometry = Geometry(height=224, width=224, crop_pct=0.875)
    areas = [(decode(dataset, row, geometry).core > 127).mean() for row in dataset.images]
    # ../shared/data/README.md, 1.1: mask area in the centre crop
    assert sum(areas) / len(areas) == pytest.approx(0.437, abs=0.001)
    assert dataset.left_out == {"folders of classes that dataset.yaml does not name": 7}


def test_the_worked_example_of_the_documentation(beetles: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
    _, _, rest = page.partition("<!-- example: dataset.yaml -->\n```yaml\n")
    example, end, _ = rest.partition("```")
    assert end
    with zipfile.ZipFile(beetles / "balls.zip", "w") as packed:
        packed.write(beetles / "masks" / "dung" / "001.png", "001.png")
    (beetles / "dataset.yaml").write_text(example)
    dataset = open_dataset(str(beetles))
    assert {row.id: [mask.feature for mask in row.masks] for row in dataset.images if row.label == 1} == {
        "dung/000.jpg": ["beetle"],
        "dung/001.jpg": ["beetle", "ball"],
        "dung/002.jpg": ["beetle"],
    }
