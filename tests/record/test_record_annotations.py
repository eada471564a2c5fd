"""Answers: the CSV files and their complaints, the folder, CRAYON's lists, masks and votes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spuraudit.errors import DataError, RunError, SpurauditError, UsageError
from spuraudit.record.annotation_tables import (
    ANSWERS,
    NeuronAnswer,
    Patch,
    Place,
    read_answers,
    read_neuron_answers,
    read_patches,
    write_answers,
    write_neuron_answers,
    write_patches,
)
from spuraudit.record.annotations import (
    About,
    AnnotatedData,
    Derived,
    ExplainedImage,
    file_sha256,
    maps_id,
    read_annotations,
    read_maps,
    settled,
    write_folder,
)
from spuraudit.record.crayon_lists import CrayonList, read_crayon
from spuraudit.record.relevance import derive, relevant_neurons
from spuraudit.record.scan import ToolRecord

IDS = ("a.jpg", 'b, "2".jpg', " c \nd.jpg", "=cmd()", "é.jpg")
MAPS = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)


def about(maps: np.ndarray = MAPS, **more: object) -> About:
    images = [ExplainedImage(id=name, label=0, class_name="bird", output=0) for name in IDS]
    fields = {
        "tool": ToolRecord(version="0"),
        "id": maps_id(images, maps),
        "origin": "model",
        "explains": "label",
        "data": AnnotatedData(name="toy", fingerprint="0" * 64, split="train", available=9),
        "images": images,
    }
    return About.model_validate(fields | more)


def said(error: pytest.ExceptionInfo[SpurauditError]) -> str:
    return error.value.message


# A carriage return comes back as the line end that csv readers take it for.
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), st.sampled_from(ANSWERS)
    )
)
def test_answers_come_back_whatever_the_images_are_called(
    tmp_path_factory: pytest.TempPathFactory, answers: dict
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    write_answers(file, answers)
    assert read_answers(file) == answers


@pytest.mark.parametrize(
    ("text", "line", "about_what"),
    [
        ("image;verdict\na;yes\n", 1, "columns"),
        ("image,verdict\na,yes\nb,si\n", 3, "verdict 'si'"),
        ('image,verdict\n"a\nb",yes\nc,no\n"a\nb",no\n', 5, "on line 2"),
        ("image,verdict\na,yes\n\nb,c,no\n", 4, "3 cells"),
        ("image,verdict\na,yes\nzz,no\n", 3, "not asked about"),
        ("image,verdict\n,yes\n", 2, "no image"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, text: str, line: int, about_what: str) -> None:
    file = tmp_path / "annotations.csv"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        read_answers(file, {"a", "b", "c", "a\nb"})
    assert said(error).startswith(f"{file}, line {line}: ")
    assert about_what in said(error)
    assert error.value.hint


@pytest.mark.parametrize(
    ("row", "about_what"),
    [
        ("x,a,1,1,yes", "neuron 'x'"),
        ("-1,a,1,1,yes", "neuron '-1'"),
        ("0,a,0,1,yes", "row '0'"),
        ("0,a,1,,yes", "column ''"),
        ("0,,1,1,yes", "no image"),
        ("7,a,1,2,no", "neuron 7 stands on line 2"),
    ],
)
def test_a_bad_neuron_row_is_named_by_its_line(tmp_path: Path, row: str, about_what: str) -> None:
    file = tmp_path / "neurons.csv"
    file.write_text(f"neuron,image,row,column,verdict\n7,a,1,2,yes\n{row}\n")
    with pytest.raises(DataError) as error:
        read_neuron_answers(file)
    assert said(error).startswith(f"{file}, line 3: ")
    assert about_what in said(error)


def test_excels_byte_order_mark_and_capitals_are_read(tmp_path: Path) -> None:
    file = tmp_path / "annotations.csv"
    file.write_bytes(b"\xef\xbb\xbfimage,verdict\r\na,Yes\r\nb, NO \r\n")
    assert read_answers(file) == {"a": "yes", "b": "no"}


def test_patches_and_neuron_answers_come_back(tmp_path: Path) -> None:
    patches = [Patch(0, Place(IDS[1], 7, 2), 0.5), Patch(2047, Place(IDS[2], 1, 1), 3.25)]
    write_patches(tmp_path / "p.csv", patches)
    assert read_patches(tmp_path / "p.csv") == patches
    answers = [NeuronAnswer(0, patches[0].place, "no"), NeuronAnswer(5, None, "yes")]
    write_neuron_answers(tmp_path / "n.csv", answers)
    assert read_neuron_answers(tmp_path / "n.csv") == answers


def test_a_folder_comes_back(tmp_path: Path) -> None:
    write_folder(tmp_path, about(), MAPS)
    write_answers(tmp_path / "annotations.csv", {IDS[0]: "yes", IDS[1]: "no"})
    write_answers(tmp_path / "annotations-2.csv", {IDS[2]: "maybe"})
    write_answers(tmp_path / "annotations (1).csv", {IDS[0]: "no"})  # a browser's second download is not meant
    found = read_annotations(tmp_path)
    assert found.answers == {IDS[0]: "yes", IDS[1]: "no", IDS[2]: "maybe"}
    assert found.images("no") == (IDS[1],)
    assert found.derived is None
    stored = read_maps(tmp_path)
    np.testing.assert_array_equal(stored.of([IDS[3], IDS[0]]), MAPS[[3, 0]])
    with pytest.raises(DataError, match="'zz'"):
        stored.of(["zz"])


def test_two_pages_must_not_answer_one_image(tmp_path: Path) -> None:
    write_folder(tmp_path, about(), MAPS)
    for name in ("annotations.csv", "annotations-2.csv"):
        write_answers(tmp_path / name, {IDS[0]: "yes"})
    with pytest.raises(DataError, match=r"annotations-2.csv, line 2: .* in another file"):
        read_annotations(tmp_path)


def test_a_folder_without_answers_says_how_to_get_them(tmp_path: Path) -> None:
    write_folder(tmp_path, about(), MAPS)
    with pytest.raises(DataError, match=r"no annotations\.csv"):
        read_annotations(tmp_path)
    with pytest.raises(RunError, match=r"no about.json"):
        read_annotations(tmp_path / "elsewhere")


def test_maps_of_another_model_do_not_replace_those_that_were_answered(tmp_path: Path) -> None:
    assert settled(tmp_path, about(), MAPS)[2] is None
    write_folder(tmp_path, about(), MAPS)
    assert settled(tmp_path, about(), MAPS) == (about(), MAPS, about())
    for other in (MAPS + 1, MAPS[:, :1]):
        with pytest.raises(RunError, match="another model"):
            settled(tmp_path, about(other), other)
    images = [image.model_copy(update={"output": 1}) for image in about().images]
    with pytest.raises(RunError, match="another model"):
        settled(tmp_path, about(images=images, id=maps_id(images, MAPS)), MAPS)


def test_maps_that_differ_by_rounding_are_the_ones_that_are_there(tmp_path: Path) -> None:
    write_folder(tmp_path, about(), MAPS)
    close = MAPS + np.float32(1e-5)
    assert about(close).id != about().id
    settled_about, maps, _ = settled(tmp_path, about(close), close)
    assert settled_about.id == about().id
    np.testing.assert_array_equal(maps, MAPS)


def test_maps_that_were_changed_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    write_folder(tmp_path, about(), MAPS)
    save_file({"maps": MAPS[::-1].copy()}, tmp_path / "maps.safetensors")
    with pytest.raises(RunError, match=r"not the maps that about.json describes"):
        read_maps(tmp_path)
    (tmp_path / "maps.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="no readable maps"):
        read_maps(tmp_path)


def test_answers_from_masks_are_said_to_be_until_somebody_replaces_them(tmp_path: Path) -> None:
    file = tmp_path / "annotations.csv"
    write_answers(file, {IDS[0]: "yes"})
    derived = Derived(yes=0.5, no=0.3, without_mask=4, sha256=file_sha256(file))
    write_folder(tmp_path, about(derived=derived), MAPS)
    assert read_annotations(tmp_path).derived == derived
    write_answers(file, {IDS[0]: "no"})
    assert read_annotations(tmp_path).derived is None


# ---- masks to answers


def half(left: bool) -> np.ndarray:
    core = np.zeros((4, 6), dtype=np.float32)
    core[:, :3] = left
    core[:, 3:] = not left
    return core


def test_a_mask_of_half_the_image_has_the_right_polarity() -> None:
    left = np.zeros((4, 6), dtype=np.float32)
    left[1:3, :2] = 5
    maps = np.stack([left, left, np.ones_like(left), np.zeros_like(left)])
    cores = np.stack([half(left=True), half(left=False), half(left=True), half(left=True)])
    assert derive(maps, cores) == ["yes", "no", "yes", "maybe"]
    assert derive(maps, 1 - cores) == ["no", "yes", "yes", "maybe"]


@pytest.mark.parametrize(
    ("share", "answer"), [(0.5, "yes"), (0.4375, "maybe"), (0.3125, "maybe"), (0.25, "no"), (0.75, "yes")]
)
def test_thresholds(share: float, answer: str) -> None:
    core = np.zeros((1, 4, 4), dtype=np.float32)
    core.reshape(-1)[: int(share * 16)] = 1
    assert derive(np.full((1, 4, 4), 3, dtype=np.float32), core) == [answer]
    assert derive(np.full((1, 4, 4), 3, dtype=np.float32), core, yes=0.1, no=0.05) == ["yes"]


def test_no_mask_and_a_blank_one_give_no_answer() -> None:
    maps = np.ones((2, 3, 3), dtype=np.float32)
    cores = np.stack([np.full((3, 3), np.nan), np.zeros((3, 3))]).astype(np.float32)
    assert derive(maps, cores) == [None, None]


@pytest.mark.parametrize(("yes", "no"), [(0.3, 0.5), (0.4, 0.4), (1.2, 0.1), (0.5, -0.1), (float("nan"), 0.1)])
def test_thresholds_in_disorder_are_refused(yes: float, no: float) -> None:
    with pytest.raises(UsageError, match="cannot be derived"):
        derive(np.ones((1, 2, 2), dtype=np.float32), np.ones((1, 2, 2), dtype=np.float32), yes=yes, no=no)


# ---- neurons


def test_the_majority_decides_and_ties_are_kept() -> None:
    votes = {0: ["no", "no", "yes"], 1: ["no", "yes"], 2: ["no", "maybe"], 3: ["yes"], 4: ["maybe"]}
    answers = [
        NeuronAnswer(neuron, Place("a", number + 1, 1), answer)
        for neuron, given in votes.items()
        for number, answer in enumerate(given)
    ]
    assert relevant_neurons(answers, 6).tolist() == [False, True, False, True, True, True]
    with pytest.raises(DataError, match="neuron 4; the layer has the neurons 0 to 3"):
        relevant_neurons(answers, 4)


# ---- CRAYON's lists


def written(folder: Path, content: object) -> Path:
    (folder / "list.json").write_text(json.dumps(content))
    return folder / "list.json"


def test_lists_go_by_position(tmp_path: Path) -> None:
    found = read_crayon(written(tmp_path, ["yes", "maybe", "no"]), ["a", "b", "c"], "the split")
    assert found.answers == {"a": "yes", "b": "maybe", "c": "no"}
    neurons = read_crayon(written(tmp_path, [True, False]), ["a", "b", "c"], "the split").neurons
    assert neurons is not None
    assert relevant_neurons(neurons, 2).tolist() == [True, False]
    maps = read_crayon(written(tmp_path, [[[0, 1.5]], [[2, 3]], [[4, 5]]]), ["a", "b", "c"], "the split").maps
    assert maps is not None
    assert (maps.shape, maps.dtype, maps[0, 0, 1]) == ((3, 1, 2), np.float32, 1.5)


@pytest.mark.parametrize(
    ("content", "about_what"),
    [
        (["yes", "no"], "2 entries; the split 'train' of toy has 3 images"),
        ([[[1]], [[1]]], "2 entries"),
        (["yes", "no", "si"], "entry 3 is 'si'"),
        ([True, "yes"], "entry 2 is 'yes'"),
        ([1.0, 0.0, 1.0], "holds numbers"),
        ([[[1]], [[1, 2]], [[3]]], "different sizes"),
        ([[[1]], [[-1]], [[3]]], "map 2"),
        ([[1], [2], [3]], "1 dimensions"),
        ([], "empty"),
        ({"a": 1}, "not a list"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path: Path, content: object, about_what: str) -> None:
    with pytest.raises(DataError) as error:
        read_crayon(written(tmp_path, content), ["a", "b", "c"], "the split 'train' of toy")
    assert about_what in said(error)


def test_one_list_of_each_kind(tmp_path: Path) -> None:
    one, maps = CrayonList(answers={"a": "yes"}), CrayonList(maps=MAPS)
    both = one.joined(maps, tmp_path)
    assert (both.answers, both.maps is MAPS) == ({"a": "yes"}, True)
    with pytest.raises(UsageError, match="second list of answers"):
        both.joined(one, tmp_path)
