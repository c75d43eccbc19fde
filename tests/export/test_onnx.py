"""export --format onnx: the model is sound, and gives the run's logits for its sample inputs: in
ONNX Runtime where the interpreter that COLONNADE_PYTHON_EXPORT names (or this one) has it, and by
PyTorch, operator for operator, everywhere."""
import pytest

h5py = pytest.importorskip("h5py")
onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")

import onnx_in_torch
from golden import check, golden

RUNTIME = """\
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(["logits"], {"input": numpy.load(sys.argv[2])})[0])
"""


@pytest.fixture(scope="session")
def exported(exporter):
    """Exports, unless the program was built without ONNX."""
    message = exporter.colonnade("export", exporter.train("lenet"), "--format", "onnx", "-o",
                                 "probe.onnx", status=None).stderr
    if "built without ONNX" in message:
        pytest.skip("the program was built without ONNX")
    return lambda name: exporter.export(name, "onnx")


def test_the_model_is_sound(exported, network):
    run, file = exported(network)
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and model.opset_import[0].version == 17
    with h5py.File(run) as stored:
        shape = tuple(stored["data/classes"].attrs["shape"])
        classes = len(stored["data/classes"])
        names = list(stored["data/classes"].asstr())
    dims = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)]
    assert dims == [["images", *shape], ["images", classes]]
    assert [prop.value for prop in model.metadata_props] == names


def test_every_weight_is_there_under_its_name(exported, network):
    run, file = exported(network)
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(file).graph.initializer}
    with h5py.File(run) as stored:
        for name, array in stored["state_dict"].items():
            assert (tensors[name].reshape(array.shape) == array[()]).all(), name


def test_padding_is_explicit(exported, network):
    for node in onnx.load(exported(network)[1]).graph.node:
        names = {attribute.name for attribute in node.attribute}
        assert not names & {"auto_pad", "ceil_mode"}


def test_pytorch_computes_the_golden_logits(exported, network):
    run, file = exported(network)
    check(onnx_in_torch.run(onnx.load(file), golden(run)[0]), run)


def test_onnx_runtime_computes_the_golden_logits(exported, other_python, network):
    run, file = exported(network)
    check(other_python("onnxruntime", RUNTIME, file, golden(run)[0]), run)


def test_onnx_runtime_computes_the_golden_logits_of(exported, other_python, standard):
    other_python.need("onnxruntime")
    run, file = exported(standard)
    check(other_python("onnxruntime", RUNTIME, file, golden(run)[0]), run)
