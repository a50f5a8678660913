"""Sets from folders, CSV and Parquet: what is read, what is refused with its place, and that all ways agree."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from evaluation.building import Sources, build_set, labelled_queries
from evaluation.catalog import Role
from evaluation.evalset import EvalSet, Gallery
from evaluation.set_files import load_set, write_set
from evaluation.set_pictures import read_picture
from evaluation.validators import Severity, validate
from reporting.errors import DataError

GALLERY = Gallery(query_domain="phone photos", gallery_domain="studio pictures")
OLD = "path,group,category\na.jpg,g1,shoes\nsub/b.jpg,g2,hats\n"
CATALOG = "image_id,group,category,role\n101,g1,shoes,\n102,g2,hats,product\n103,x,hats,noise\n104,y,hats,same_style\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "a.jpg", "picture a")
    write(tmp_path / "sub" / "b.jpg", "picture b")
    write(tmp_path / "catalog.csv", CATALOG)
    return tmp_path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def built(folder: Path, text: str | bytes, **sources: object) -> EvalSet:
    table = write(folder / "queries.csv", text)
    given: dict[str, object] = {"catalog": (folder / "catalog.csv",)} | sources
    return build_set(Sources(table, **given), name="small", gallery=GALLERY)  # type: ignore[arg-type]


def test_the_old_table_of_path_group_and_category_makes_a_sound_set(folder):
    found = built(folder, OLD)
    first, second = found.queries
    assert (first.query_id, first.path, first.cluster, first.category) == ("a.jpg", "a.jpg", "g1", "shoes")
    assert (second.query_id, second.sha256) == ("sub/b.jpg", hashlib.sha256(b"picture b").hexdigest())
    assert [(label.query_id, label.group_id, label.grade) for label in found.labels] == [
        ("a.jpg", "g1", 2),
        ("sub/b.jpg", "g2", 2),
    ]
    assert [(one.image_id, one.role.value) for one in found.catalog][2:] == [("103", "noise"), ("104", "same_style")]
    assert [fault for fault in validate(found) if fault.severity is Severity.ERROR] == []
    assert read_picture(found, second) == b"picture b"


def test_column_order_byte_order_mark_blank_lines_and_row_order_do_not_change_the_content(folder):
    plain = built(folder, OLD)
    assert built(folder, "\ufeffgroup,category,path\r\ng2, hats,sub/b.jpg\r\n\r\ng1,shoes,a.jpg\r\n") == plain


def test_another_label_another_picture_or_another_catalogue_changes_the_hash_but_a_moved_picture_does_not(folder):
    named = "query_id,path,group,category\nq1,a.jpg,g1,shoes\nq2,sub/b.jpg,g2,hats\n"
    plain = built(folder, named).sha256
    assert built(folder, named.replace("g1", "g3")).sha256 != plain
    (folder / "a.jpg").rename(folder / "c.jpg")
    moved = named.replace("a.jpg", "c.jpg")
    assert built(folder, moved).sha256 == plain
    write(folder / "catalog.csv", CATALOG + "105,g2,hats,\n")
    assert built(folder, moved).sha256 != plain
    write(folder / "catalog.csv", CATALOG)
    write(folder / "c.jpg", "picture c")
    assert built(folder, moved).sha256 != plain


def test_a_query_with_several_labels_has_several_rows_or_a_table_of_labels(folder):
    rows = (
        "query_id,group,category,grade,labellers,agreed,tags,captured_day,query_type\n"
        "q1,g1,shoes,1,3,0.6,hard;dark,2026-01-05,live\nq1,g9,shoes,2,,,dark;hard,2026-01-05,live\n"
    )
    write(folder / "catalog.csv", CATALOG + "106,g9,shoes,\n")
    several = built(folder, rows)
    assert len(several.queries) == 1
    assert (several.queries[0].cluster, several.queries[0].tags) == ("g9", ("dark", "hard"))
    assert [(one.group_id, one.grade, one.labellers, one.agreed) for one in several.labels] == [
        ("g1", 1, 3, 0.6),
        ("g9", 2, 1, 1.0),
    ]
    labels = write(folder / "labels.csv", "query_id,group_id,grade,labeller_n,agreed\nq1,g9,2,,\nq1,g1,1,3,0.6\n")
    bare = "query_id,category,tags,captured_day,query_type\nq1,shoes,dark;hard,2026-01-05,live\n"
    assert built(folder, bare, labels=labels) == several
    with pytest.raises(DataError, match=r"queries.csv:3: tags of query q1 is not as in .*queries.csv:2"):
        built(folder, rows.replace("dark;hard", "dark"))


def test_queries_and_labels_alone_are_those_of_the_whole_set(folder):
    whole = built(folder, OLD)
    queries, labels, root = labelled_queries(Sources(folder / "queries.csv"))
    assert (tuple(queries), tuple(labels), root) == (whole.queries, whole.labels, whole.root)


def test_folders_name_category_and_group(tmp_path):
    write(tmp_path / "queries" / "shoes" / "g1" / "a b.jpg", "1")
    write(tmp_path / "queries" / "hats" / "g2" / "b.JPG", "2")
    write(tmp_path / "queries" / "hats" / "g2" / "notes.txt", "no picture")
    write(tmp_path / "queries" / ".cache" / "x.jpg", "hidden")
    write(tmp_path / "shop" / "g1" / "c.png", "3")
    write(tmp_path / "shop" / "g2" / "d.png", "4")
    write(tmp_path / "others" / "same_style" / "hats" / "h7" / "e.png", "5")
    write(tmp_path / "others" / "noise" / "cell.jpg", "6")
    found = build_set(
        Sources(tmp_path / "queries", gallery_from=(tmp_path / "shop",), distractors=(tmp_path / "others",)),
        name="folders",
        gallery=GALLERY,
    )
    assert [(one.query_id, one.category, one.cluster) for one in found.queries] == [
        ("hats/g2/b.JPG", "hats", "g2"),
        ("shoes/g1/a%20b.jpg", "shoes", "g1"),
    ]
    assert [(one.image_id, one.group_id, one.category, one.role) for one in found.catalog] == [
        ("distractors/noise/cell.jpg", "distractors/noise/cell.jpg", "all", Role.NOISE),
        ("distractors/same_style/hats/h7/e.png", "h7", "hats", Role.SAME_STYLE),
        ("g1/c.png", "g1", "shoes", Role.PRODUCT),  # the category as the queries name it
        ("g2/d.png", "g2", "hats", Role.PRODUCT),
    ]
    assert found.root == tmp_path.resolve()
    assert read_picture(found, found.queries[1]) == b"1"
    assert [fault for fault in validate(found) if fault.severity is Severity.ERROR] == []


@pytest.mark.parametrize(
    ("kind", "paths", "message"),
    [
        ("gallery", ["a/b/c/x.jpg"], r"lies 3 folders deep.*expected CATEGORY/GROUP/picture or GROUP/picture"),
        ("gallery", ["a/x.jpg", "a/b/y.jpg"], r"y.jpg: lies 2 folders deep.*x.jpg lies 1 deep"),
        ("gallery", ["x.txt"], r"holds no picture"),
        ("gallery", [], r"is no folder"),
        ("distractors", ["samestyle/x.jpg"], r"which distractor it is; did you mean same_style\?"),
        ("distractors", ["x.jpg"], r"which distractor it is; expected one of: same_style, noise"),
    ],
)
def test_a_folder_of_another_layout_is_refused(folder, kind, paths, message):
    for path in paths:
        write(folder / "pictures" / path, path)
    option = {"gallery": "gallery_from", "distractors": "distractors"}[kind]
    with pytest.raises(DataError, match=message):
        built(folder, OLD, **{option: (folder / "pictures",)})


def test_csv_parquet_and_the_files_of_a_set_itself_build_the_same_set(folder):
    import pyarrow.csv
    import pyarrow.parquet

    plain = built(folder, OLD)
    for name in ("queries", "catalog"):
        table = pyarrow.csv.read_csv(folder / f"{name}.csv")  # ids of the catalogue become whole numbers
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
    sources = Sources(folder / "queries.parquet", catalog=(folder / "catalog.parquet",))
    assert build_set(sources, name="small", gallery=GALLERY) == plain
    written = write_set(plain, folder / "sets")
    own = Sources(
        written / "queries.parquet",
        labels=written / "labels.parquet",
        catalog=(written / "catalog.parquet",),
        root=folder,
    )
    assert build_set(own, name="small", gallery=GALLERY).sha256 == plain.sha256


def test_the_gallery_of_another_set_is_taken_over_with_its_distractors(folder):
    written = write_set(built(folder, OLD), folder / "sets")
    table = write(folder / "more.csv", "query_id,group,category\nq7,g1,shoes\n")
    other = build_set(Sources(table, gallery_from=(written,)), name="other", gallery=GALLERY)
    assert other.catalog == load_set(written).catalog


def test_a_manifest_of_the_pipeline_is_a_catalogue_without_what_is_not_listed(folder):
    manifest = write(
        folder / "source" / "day.csv",
        "path,sku,merchant,category,title,listed,strategy,group\n"
        "../a.jpg,s1,m,shoes,One,true,long-tail,g1\n../sub/b.jpg,s2,m,hats,Two,false,directed,g2\n",
    )
    found = built(folder, "query_id,group,category\nq1,g1,shoes\n", catalog=(manifest,), root=folder)
    assert [(one.image_id, one.path, one.group_id) for one in found.catalog] == [("a.jpg", "a.jpg", "g1")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"queries.csv:1: is empty; expected a header with group_id, category, query_id, path"),
        ("path,group,category\n", r"queries.csv: holds no query"),
        ("path,group\na.jpg,g1\n", r"queries.csv:1: column category or true_category is missing"),
        ("group,category\ng1,shoes\n", r"queries.csv:1: there is neither column query_id nor path"),
        ("path,group,catgory\n", r"queries.csv:1: unknown or repeated column 'catgory'; did you mean category"),
        ("path,group,group_id,category\n", r"queries.csv:1: unknown or repeated column 'group_id'"),
        (OLD + "a.jpg,g1\n", r"queries.csv:4: has 2 fields, expected 3"),
        (OLD + "a.jpg,g1,\n", r"queries.csv:4: category is empty"),
        (OLD + "gone.jpg,g1,hats\n", r"queries.csv:4: picture 'gone.jpg' cannot be read: .*No such file"),
        (OLD + "../a.jpg,g3,hats\n", r"queries.csv:4: ../a.jpg lies outside"),
        (OLD + "/etc/hostname,g3,hats\n", r"queries.csv:4: /etc/hostname lies outside"),
        (OLD + "sub,g3,hats\n", r"queries.csv:4: picture 'sub' cannot be read: .*Is a directory"),
        (OLD + "a\0.jpg,g3,hats\n", r"queries.csv:4: "),
        (OLD + '"a.jpg,g3,hats\n', r"queries.csv:4: is no CSV"),
        (b"path,group,category\n\xff,g,c\n", r"queries.csv: is not UTF-8"),
        ("query_id,group,category\na b,g1,shoes\n", r"queries.csv:2: query_id is 'a b'"),
        ("query_id,group,category,grade\nq,g1,shoes,3\n", r"queries.csv:2: grade is '3'"),
        ("query_id,group,category,weight\nq,g1,shoes,0\n", r"queries.csv:2: weight is '0'"),
        ("query_id,group,category,captured_day\nq,g1,shoes,20260105\n", r"queries.csv:2: captured_day is '20260105'"),
        (
            "path,sha256,group,category\na.jpg," + "0" * 64 + ",g1,shoes\n",
            r"queries.csv:2: sha256 is 0000.* not the one",
        ),
    ],
)
def test_a_bad_table_is_refused_with_file_and_line(folder, text, message):
    with pytest.raises(DataError, match=message):
        built(folder, text)


def test_a_missing_source_a_link_out_of_the_root_and_a_set_without_catalogue_are_refused(folder):
    with pytest.raises(DataError, match=r"none.csv: cannot be read: No such file"):
        build_set(Sources(folder / "none.csv"), name="x", gallery=GALLERY)
    with pytest.raises(DataError, match=r"there is no catalogue; give --catalog FILE or --gallery-from FOLDER"):
        built(folder, OLD, catalog=())
    with pytest.raises(DataError, match=r"odd.parquet: cannot be read as Parquet"):
        built(folder, OLD, catalog=(write(folder / "odd.parquet", "text"),))
    (folder / "sub" / "out.jpg").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"queries.csv:2: sub/out.jpg lies outside"):
        built(folder, "path,group,category\nsub/out.jpg,g,c\n")
    with pytest.raises(DataError, match=r"set name 'a/b': expected letters"):
        build_set(Sources(write(folder / "q.csv", OLD), catalog=(folder / "catalog.csv",)), name="a/b", gallery=GALLERY)


def test_a_picture_that_changed_after_building_is_noticed(folder):
    found = built(folder, OLD)
    write(folder / "a.jpg", "other")
    with pytest.raises(DataError, match=r"small@.*: a.jpg: .*a.jpg has changed since the set was built"):
        read_picture(found, found.queries[0])
    (folder / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"cannot be read"):
        read_picture(found, found.queries[0])
    with pytest.raises(DataError, match=r"does not say where the picture lies"):
        read_picture(found, found.catalog[0])


def test_a_perceptual_hash_handed_in_finds_near_copies_that_bytes_do_not_show(folder):
    write(folder / "shop" / "g1" / "copy.jpg", "picture a, saved anew")
    sources = Sources(
        write(folder / "queries.csv", OLD), catalog=(folder / "catalog.csv",), gallery_from=(folder / "shop",)
    )
    plain = build_set(sources, name="small", gallery=GALLERY)
    assert "near_leakage" not in {fault.code for fault in validate(plain)}
    seen = build_set(
        sources, name="small", gallery=GALLERY, near_hash=lambda data: f"{len(data[:9].strip()) * data[8]:016x}"
    )
    (fault,) = [fault for fault in validate(seen) if fault.code == "near_leakage"]
    assert fault.severity is Severity.ERROR
    assert fault.examples == ("a.jpg ~ g1/copy.jpg (0 bits)",)


def test_a_column_of_perceptual_hashes_is_used(folder):
    text = "query_id,group,category,near\nq1,g1,shoes,00000000000000ff\n"
    write(
        folder / "catalog.csv",
        "image_id,group,category,near\ni1,g1,shoes,00000000000000fc\ni2,g1,shoes,ff000000000000ff\n",
    )
    (fault,) = [fault for fault in validate(built(folder, text)) if fault.code == "near_leakage"]
    assert fault.examples == ("q1 ~ i1 (2 bits)",)


def test_no_row_is_lost_against_an_independent_reader(folder):
    lines = [f"q{number},g{number % 7},c{number % 7}" for number in range(500)]
    table = "query_id,group,category\n" + "\n".join(lines) + "\n"
    catalog = "".join(f"i{number},g{number},c{number}\n" for number in range(7))
    write(folder / "catalog.csv", "image_id,group,category\n" + catalog)
    found = built(folder, table)
    expected = {row["query_id"]: (row["group"], row["category"]) for row in csv.DictReader(table.splitlines())}
    assert {one.query_id: (one.cluster, one.category) for one in found.queries} == expected
