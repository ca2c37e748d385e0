"""The report says what the records say, keeps prose, and notices when it is stale."""

import json
import re
from statistics import stdev

import pytest
from made_up import SEEDS

from ssah_core.records import paths, registration
from ssah_core.records.calibration import smallest_effect
from ssah_core.records.claim_list import list_claims
from ssah_core.records.records import record
from ssah_core.records.report import BEGIN, END, evidence_line, insert, main, write_run
from ssah_core.records.report_tables import number
from ssah_core.records.rules import RULE
from ssah_core.records.telling import SIGN

COMMON = dict(seeds=SEEDS, unit="points", n=276, judge="truth", scale="organism", model="organism", orders=1,
              code="ssah_core.records.statistics")
HEADLINE = "## What holds, and what does not"


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("SSAH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SSAH_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setattr(registration, "TEST", SEEDS)
    registration.register()
    return tmp_path / "paper_repro.md"


def keep(values=(40.0, 50.0, 60.0, 45.0, 55.0) * 2, control=(0.0, 1.0, 2.0, 0.0, 2.0) * 2, **changes):
    record("table1/scu/harm_right", values, **{**COMMON, **changes})
    record("table1/random_scu/harm_right", control, **{**COMMON, **changes})


def cells(text, id):
    line = next(line for line in text.splitlines() if f"`{id}`" in line)
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_a_new_file_has_a_preface_and_every_claim(file):
    assert main([]) == 0
    text = file.read_text(encoding="utf-8")
    assert "`make report`" in text.split(BEGIN)[0] and RULE in text
    for claim in list_claims():
        assert text.count(f"(`{claim.id}`") == 1, claim.id
        assert (text.index(f"(`{claim.id}`") < text.index("## Appendix")) == claim.primary


def test_a_row_gives_number_interval_sample_control_and_verdict(file):
    keep()
    main([])
    claim, *found = cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")
    assert claim.endswith("(`table1/scu/harm_right`)")
    assert found == [
        "rises by at least 5 points", "+50.0 (276 prompts, 10 organisms; judge: truth)", "+1.0",
        "+49.0 [44.5, 53.5]", number(smallest_effect(stdev([40, 49, 58, 45, 53] * 2), 10, 5), "points"),
        "10 of 10 [69, 100 %]", "10", "+40.0, +49.0, +58.0", "0.002 (0.045)",
        "Llama-2-7B-Chat +56.0, Llama-3-8B-Instruct +71.0, Mistral-7B-Instruct-v0.2 +48.0", "holds",
        "[03](notebooks/03_label_units.ipynb)"]


def test_of_an_attack_it_is_said_in_how_many_orders(file):
    record("table2/benign/rest_vs_nothing/asr", [-40.0, -50.0, -60.0, -45.0, -55.0] * 2, **{**COMMON, "orders": 3})
    main([])
    row = cells(file.read_text(encoding="utf-8"), "table2/benign/rest_vs_nothing/asr")
    assert row[2] == "-50.0 (276 prompts, 3 orders, 10 organisms; judge: truth)" and row[11] == "holds"


def test_a_secondary_claim_has_a_shorter_row(file):
    keep()
    main([])
    claim, *found = cells(file.read_text(encoding="utf-8"), "table1/random_scu/harm_right")
    assert claim.endswith("(`table1/random_scu/harm_right`: stays within 5 points)")
    assert found == ["not reported", "+1.0 (276 prompts, 10 organisms; judge: truth)", "+1.0 [0.2, 1.8]",
                     "holds"]


def test_the_papers_numbers_stand_beside_their_models(file):
    main([])
    text = file.read_text(encoding="utf-8")
    assert cells(text, "table1/scu/harm_right")[10] == cells(text, "table1/scu/asr")[1] == (
        "Llama-2-7B-Chat +56.0, Llama-3-8B-Instruct +71.0, Mistral-7B-Instruct-v0.2 +48.0")
    assert cells(text, "stages/aligned/asr")[1].startswith("Llama-2-7B-Chat 10.0 %")
    assert cells(text, "table1/ucu/perplexity")[1].startswith("Llama-2-7B-Chat 27.77")
    assert cells(text, "table1/scu/asr")[2:5] == ["–", "–", "not run"]


def test_one_organism_is_shown_without_interval(file):
    keep([40.0], [-0.01], seeds=[0], orders=1)
    main([])
    row = cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")
    assert row[2:7] == ["+40.0 (276 prompts, 1 organism; judge: truth)", "0.0", "+40.0 (one run, no interval)",
                        "–", "1 of 1"]
    assert row[11] == "undecided"


def test_of_too_few_organisms_it_is_said_that_they_are(file):
    keep([40.0, 50.0], [0.0, 0.0], seeds=SEEDS[:2])
    main([])
    assert cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")[4] == (
        "+45.0 (2 organisms, too few for an interval)")


def test_runs_of_a_real_model_are_each_told_and_none_is_called_an_organism(file):
    keep()
    keep([90.0, 60.0, 75.0], [0.0, 0.0, 0.0], seeds=(0, 1, 2), scale="smollm", model="SmolLM2")
    main([])
    text = file.read_text(encoding="utf-8")
    beside = text.split("## Beside it: real language models")[1].split("## Appendix")[0]
    assert "| +75.0 (runs: +60.0, +75.0, +90.0) (276 prompts, 3 runs of SmolLM2; judge: truth) | 3 of 3 |" in beside


def test_a_difference_of_cosine_distances_has_a_sign_and_three_decimals(file):
    values = [0.02, 0.031, 0.0123, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02]
    record("direction/query/aligned/gap", values, **{**COMMON, "unit": "cosine", "judge": "none"})
    main([])
    claim, _, ours, effect, _ = cells(file.read_text(encoding="utf-8"), "direction/query/aligned/gap")
    assert claim.endswith("(`direction/query/aligned/gap`: rises by at least 0.02)")
    assert ours.startswith("+0.020 (") and effect == "+0.020 [0.017, 0.024]"


def test_a_change_in_per_cent_has_a_sign(file):
    for change, values in (("new", [250.0, -40.0] * 5), ("none", [10.0, -10.0] * 5)):
        record(f"transfer_thresholds/{change}/ru_size", values, **{**COMMON, "unit": "change"})
    main([])
    claim, _, ours, effect, _ = cells(file.read_text(encoding="utf-8"), "transfer_thresholds/new/ru_size")
    assert claim.endswith("falls by at least 5 %)") and ours.startswith("+105.0 % (")
    assert effect.startswith("0.0 %; +105.0 [")


def test_a_checkpoint_is_named(file):
    keep([40.0], [0.0], seeds=[0], scale="paper", model="meta/Llama-2")
    main([])
    row = cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")
    assert "1 run of meta/Llama-2" in row[2] and row[11] == "undecided (meta/Llama-2)"


def test_tiny_runs_are_not_shown(file):
    keep(scale="tiny")
    main([])
    assert cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")[2:10] == ["–"] * 8
    assert cells(file.read_text(encoding="utf-8"), "table1/scu/harm_right")[11] == "not run"


def test_prose_outside_the_markers_stays(file):
    main([])
    before, after = "# Ours\n\nWritten by hand, 50 %.\n\n", "\n\nAlso by hand.\n"
    file.write_text(f"{before}{BEGIN}\nstale\n{END}{after}", encoding="utf-8")
    main([])
    text = file.read_text(encoding="utf-8")
    assert text.startswith(before + BEGIN) and text.endswith(END + after) and "stale" not in text


def test_writing_twice_changes_nothing(file):
    keep()
    main([])
    first = file.read_bytes()
    main([])
    assert file.read_bytes() == first


def test_check_notices_a_new_record_and_a_changed_number(file, capsys):
    assert main(["--check"]) == 1 and not file.exists()
    main([])
    assert main(["--check"]) == 0
    keep()
    assert main(["--check"]) == 1 and "make report" in capsys.readouterr().err
    main([])
    assert main(["--check"]) == 0
    file.write_text(file.read_text(encoding="utf-8").replace("+49.0 [", "+51.0 ["), encoding="utf-8")
    assert main(["--check"]) == 1


def test_check_leaves_prose_alone(file):
    main([])
    file.write_text(file.read_text(encoding="utf-8") + "More prose.\n", encoding="utf-8")
    assert main(["--check"]) == 0


@pytest.mark.parametrize("text", ["no markers", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_lost_markers_are_an_error_and_the_file_stays(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="put them back"):
        main([])
    assert file.read_text(encoding="utf-8") == text


def test_inserted_text_replaces_only_what_lay_between():
    assert insert(f"a {BEGIN} old {END} b", "new\n") == f"a {BEGIN}\n\nnew\n\n{END} b"


# --- evidence ---


@pytest.mark.parametrize("loose, how", [
    (183, "all outside the strict mode, "), (40, "40 outside the strict mode, "), (0, "")])
def test_one_line_says_what_the_present_code_has_verified(loose, how):
    line = (f"Evidence: of 195 files of rows, 183 were measured by earlier code, {how}the last on 2026-11-29; the "
            "present code has measured 12 (again) with the same bits. `make verify` does so.")
    assert evidence_line(195, 12, loose, "2026-11-29") == line


@pytest.mark.parametrize("counts", [(3, 4, 0), (3, 2, 2), (3, -1, 0), (3, 1, -1)])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(ValueError, match="pass counts"):
        evidence_line(*counts, "2026-11-29")


def test_the_line_stands_below_the_first_table_and_does_not_make_the_file_stale(file):
    main([])
    text = file.read_text(encoding="utf-8")
    lines = [line for line in text.split(HEADLINE)[1].splitlines() if line and not line.startswith("|")]
    assert lines.pop(0) == SIGN
    assert lines[0].startswith("The primary claims, their rules and margins were registered on ")
    assert lines[1] == "Evidence: the present code has verified all 0 files of rows."
    file.write_text(text.replace(lines[1], "Evidence: of 2 files of rows, ..."), encoding="utf-8")
    assert main(["--check"]) == 0
    file.write_text(text.replace(lines[0], "The primary claims hold."), encoding="utf-8")
    assert main(["--check"]) == 1


# --- what was registered, and what was before ---


def test_it_is_said_when_claims_were_registered_and_for_which_organisms(file):
    main([])
    kept, text = registration.registered(), file.read_text(encoding="utf-8")
    assert (f"were registered on {kept['date']} (digest of the code `{kept['code']}`), before organisms 10 to 19 were "
            "raised, on which they are judged: 10 of them, none left out, each attacked in 3 orders. Choices were made "
            "on organisms 0 to 4 and on validation prompts.") in text
    paths.registration().unlink()
    main([])
    assert "Not registered yet: the primary claims have no verdict." in file.read_text(encoding="utf-8")


def test_what_was_tried_before_is_told_from_its_file(file, tmp_path):
    main([])
    assert "## What was tried before" not in file.read_text(encoding="utf-8")
    entries = [{"date": "2026-11-20", "what": "Five gave 41 points.", "why": "All choices were made on them."}]
    (tmp_path / "figures" / "history.json").write_text(json.dumps(entries))
    main([])
    assert ("## What was tried before\n\n- *2026-11-20*: Five gave 41 points. All choices were made on them.\n"
            in file.read_text(encoding="utf-8"))


# --- of a run ---


def test_of_a_run_at_scale_tiny_nothing_is_judged(file, tmp_path):
    keep(scale="tiny")
    text = write_run(tmp_path / "run", ["Found in 6 organisms, at scale tiny."]).read_text(encoding="utf-8")
    assert "Nothing is judged" in text and "Found in 6 organisms" in text and "|" not in text


def test_a_run_has_a_report_of_its_own_with_links_that_work_from_there(file, tmp_path):
    main([])
    before, run = file.read_bytes(), tmp_path / "runs" / "my run"
    for folder in (tmp_path / "notebooks", run):
        folder.mkdir(parents=True)
        (folder / "03_label_units.ipynb").touch()
    for claim in list_claims():
        (tmp_path / "notebooks" / f"{claim.notebook}.ipynb").touch()
    keep([40.0], [0.0], seeds=[0], orders=1)
    written = write_run(run, ["Found in 1 organism.", "- Without SCU, ..."])
    text = written.read_text(encoding="utf-8")
    assert written == run / "paper_repro.md" and file.read_bytes() == before
    assert "\nFound in 1 organism.\n- Without SCU, ...\n" in text and "\nEvidence: " in text
    assert cells(text, "table1/scu/harm_right")[11:] == ["undecided", "[03](03_label_units.ipynb)"]
    links = set(re.findall(r"\]\(([^)]*)\)", text.split("## The rule")[0]))
    assert links > {"../../paper_repro.md", "../../notebooks/05_freeze_safety_units.ipynb"}
    assert all((run / link).is_file() for link in links)


@pytest.mark.parametrize("values, says", [
    ((3.0, 3.2, 2.8, 3.1, 2.9) * 2, "**fails** (there, but less than 5 points)"),
    ((0.5, -0.5, 0.2, -0.3, 0.1) * 2, "**fails**"), ((-30.0, -31.0, -29.0, -28.0, -32.0) * 2, "**fails**")])
def test_what_fails_by_its_margin_alone_is_told_from_what_is_not_there(file, values, says):
    keep(values, (0.0,) * 10)
    main([])
    top = file.read_text(encoding="utf-8").split(HEADLINE)[1].split("##")[0]
    line = next(line for line in top.splitlines() if "where as many random units change nothing" in line)
    assert f"| {says} |" in line


def test_a_run_has_the_catches_of_its_own_numbers(tmp_path):
    for id in ("table1/scu/utility", "table1/random_scu/utility"):
        record(id, [-1.5], **{**COMMON, "seeds": [0], "orders": 1})
    text = write_run(tmp_path, []).read_text(encoding="utf-8")
    assert "as many random units change -1.5 (one run, no interval)" in text
