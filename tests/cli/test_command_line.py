"""Command lines that are wrong, and what is printed where."""
import os
import re
import subprocess

import pytest


def complaint(program, *arguments):
    """The diagnostic of a wrong command line, which prints no result."""
    result = program.run(*arguments, status=2)
    assert result.stdout == ""
    return result.stderr


def test_no_arguments_is_a_usage_error(program):
    assert "Usage: colonnade" in complaint(program)


def test_version_and_help_go_to_standard_output(program):
    assert program.run("--version").stdout.startswith("colonnade ")
    assert "train" in program.run("--help").stdout
    assert program.run("--help").stderr == ""


@pytest.mark.parametrize("verb", ["train", "eval", "predict", "check", "summary", "bench", "report",
                                  "verify", "doctor"])
def test_every_verb_has_help(program, verb):
    assert program.run(verb, "--help").stdout.startswith(f"Usage: colonnade {verb}")


def test_help_fits_a_terminal(program):
    usage = program.run("--help").stdout
    verbs = re.findall(r"^  (\w+) ", usage, re.M)
    assert len(verbs) == 13
    texts = [usage] + [program.run(verb, "--help").stdout for verb in verbs]
    for text in texts:
        assert all(len(line) <= 79 and line == line.rstrip() for line in text.splitlines())


def test_help_shows_the_options_that_have_to_be_given(program):
    assert program.run("export", "--help").stdout.startswith(
        "Usage: colonnade export RUN -o FILE --format FORMAT [OPTION]...\n")
    assert program.run("pack", "--help").stdout.startswith(
        "Usage: colonnade pack CONFIG -o FILE [OPTION]...\n")


def test_unknown_verb_names_the_nearest(program):
    assert "'trian'" in complaint(program, "trian")
    assert "did you mean 'train'?" in complaint(program, "trian")
    assert "did you mean" not in complaint(program, "xxxxxxxxxx")


def test_unknown_option_names_the_nearest(program):
    assert "did you mean '--threads'?" in complaint(program, "train", "a.ini", "--thraeds", "2")
    assert "'-x'" in complaint(program, "train", "a.ini", "-x")


@pytest.mark.parametrize("arguments", [
    ["eval", "a.h5", "--resume"], ["verify", "a.h5", "--json"], ["doctor", "--threads", "1"],
    ["report", "a.h5", "--set", "a.b=1"], ["train", "a.ini", "--inference"]])
def test_an_option_of_another_verb_is_unknown(program, arguments):
    assert "unknown option" in complaint(program, *arguments)


@pytest.mark.parametrize("value", ["0", "-1", "4097", "two", "1.5", "", " 2", "0x2", "1e1"])
def test_threads_are_a_whole_number_in_range(program, value):
    assert "from 1 to 4096" in complaint(program, "train", "a.ini", "--threads", value)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_seconds_are_positive(program, value):
    assert "--seconds" in complaint(program, "bench", "a.ini", "--seconds", value)


def test_options_that_want_a_value_and_those_that_take_none(program):
    assert "--threads wants N" in complaint(program, "train", "a.ini", "--threads")
    assert "--json takes no value" in complaint(program, "train", "a.ini", "--json=yes")
    assert "wants FILE" in complaint(program, "report", "a.h5", "-o")


def test_operands_are_counted(program):
    assert "CONFIG... is missing" in complaint(program, "train")
    assert "'b.h5'" in complaint(program, "eval", "a.h5", "b.h5")
    assert "'a'" in complaint(program, "doctor", "a")


def test_options_stand_before_or_after_operands(program):
    config = program.config()
    before = program.run("summary", "--json", config).stdout
    after = program.run("summary", config, "--json").stdout
    assert before == after


def test_one_out_for_several_configs_is_a_usage_error(program):
    a, b = program.config("a.ini"), program.config("b.ini")
    assert "--out" in complaint(program, "train", a, b, "--out", "c.h5")


def test_unknown_key_is_named_with_its_line_and_the_nearest(program):
    name = program.config()
    text = (program.folder / name).read_text().replace("kernel = 3", "kernle = 3")
    (program.folder / name).write_text(text)
    line = text.splitlines().index("kernle = 3") + 1
    for verb in ["train", "summary", "bench"]:
        message = complaint(program, verb, name)
        assert message.startswith(f"{name}:{line}: ")
        assert "kernle" in message and "'kernel'" in message


def test_overrides_reach_the_config_and_are_checked(program):
    name = program.config()
    nodes = program.json("summary", name, "--set", "conv1.filters=5", "--set",
                         "conv1.stride=2")[0]["nodes"]
    assert nodes[0]["shape"] == [5, 6, 6]
    assert "filtres" in complaint(program, "summary", name, "--set", "conv1.filtres=5")
    assert "--set" in complaint(program, "summary", name, "--set", "nonsense")
    assert "nowhere" in complaint(program, "summary", name, "--set", "nowhere.key=1")


@pytest.mark.parametrize("name", ['"q".h5', " blank .h5", "a=b;c#d.h5"])
def test_out_is_taken_as_it_is(program, name):
    program.run("train", program.config(), "--quiet", "--out", name, "--set", "train.epochs=1")
    assert (program.folder / name).is_file()
    program.run("train", program.config(), "--quiet", "--out", name, "--set", "train.epochs=2",
                "--resume")


def test_a_missing_file_is_named(program):
    for verb in ["eval", "verify", "report"]:
        assert "missing.h5" in program.run(verb, "missing.h5", status=1).stderr
    result = program.run("train", "missing.ini", status=2)
    assert "missing.ini" in result.stderr and result.stdout == ""


def test_a_foreign_file_is_no_run_file(program):
    (program.folder / "text.h5").write_text("no HDF5 at all")
    for verb in ["eval", "verify", "report"]:
        assert "text.h5" in program.run(verb, "text.h5", status=1).stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_under_standard_output_is_a_failure(program):
    with open("/dev/full", "w") as full:
        status = subprocess.run([program.path, "summary", program.config(), "--json"],
                                cwd=program.folder, stdout=full, stderr=subprocess.PIPE)
    assert status.returncode == 1
    assert b"standard output" in status.stderr


def test_a_closed_pipe_is_a_failure(program):
    reading, writing = os.pipe()
    os.close(reading)
    status = subprocess.run([program.path, "--help"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert status.returncode == 1
    assert b"standard output" in status.stderr


def test_doctor_says_what_the_machine_gives(program):
    text = program.run("doctor").stdout
    for word in ["CPU", "cores", "kernels", "BLAS kernel", "HDF5", "GFLOP/s"]:
        assert word in text


def test_doctor_knows_who_chose_the_blas_kernel(program):
    environment = {**program.environment, "OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1"}
    text = program.run("doctor", env=environment).stdout
    if "OpenBLAS" not in text:
        pytest.skip("not built with OpenBLAS")
    assert "(OPENBLAS_CORETYPE=Haswell)" in text
    assert "warning: OMP_NUM_THREADS=1" in text
