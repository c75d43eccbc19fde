/* The Python file beside the weights. */
#include "engine/export/keras.h"

#include "engine/base/utf8.h"

#include <string.h>

/* A Python literal, in ASCII. */
static void write_text(FILE *script, const char *text)
{
    fputc('"', script);
    for (uint32_t character; (character = utf8_next(&text));) {
        if (character == '"' || character == '\\')
            fprintf(script, "\\%c", (int)character);
        else if (character >= ' ' && character <= '~')
            fputc((int)character, script);
        else
            fprintf(script, "\\U%08x", (unsigned)character);
    }
    fputc('"', script);
}

static void write_numbers(FILE *script, const char *name, int count, const float *numbers)
{
    fprintf(script, "%s = [", name);
    for (int i = 0; i < count; i++)
        fprintf(script, "%s%.9g", i ? ", " : "", (double)numbers[i]);
    fputs("]", script);
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char begin[] =
    "\"\"\"Exported by colonnade " COLONNADE_VERSION ": a network for Keras 3 and tf.keras.\n"
    "\n"
    "build() makes the model, load() gives it the weights that lie beside this file and checks "
    "its\n"
    "answers to the samples among them; run as a program, this file does that and says so. The "
    "model\n"
    "takes pixels from 0 to 255, [images, rows, columns, channels], and gives logits, one a "
    "class.\n"
    "Needs keras with any of its backends (with TF_USE_LEGACY_KERAS set, tensorflow's own), h5py "
    "and\n"
    "numpy.\n"
    "\"\"\"\n"
    "import os\n"
    "import pathlib\n"
    "\n"
    "import h5py\n"
    "import numpy\n"
    "\n"
    "if os.environ.get(\"TF_USE_LEGACY_KERAS\"):\n"
    "    from tensorflow import keras\n"
    "else:\n"
    "    import keras\n"
    "\n"
    "layers = keras.layers\n";

static const char ops[] = "if hasattr(keras, \"ops\"):\n"
                          "    ops = keras.ops\n"
                          "else:\n"
                          "    import tensorflow as ops\n";

static const char pad[] =
    "\n\n@keras.utils.register_keras_serializable(\"colonnade\")\n"
    "class PadWithLeast(layers.Layer):\n"
    "    \"\"\"Padding that a maximum never takes: ((top, bottom), (left, right)) pixels.\"\"\"\n"
    "\n"
    "    def __init__(self, padding, **keys):\n"
    "        super().__init__(**keys)\n"
    "        self.padding = padding\n"
    "\n"
    "    def call(self, x):\n"
    "        return ops.pad(x, ((0, 0), *self.padding, (0, 0)), constant_values=-float(\"inf\"))\n"
    "\n"
    "    def get_config(self):\n"
    "        return {**super().get_config(), \"padding\": self.padding}\n";

static const char lrn[] =
    "\n\n@keras.utils.register_keras_serializable(\"colonnade\")\n"
    "class LocalResponseNormalization(layers.Layer):\n"
    "    \"\"\"x / (k + alpha / size * sum of x * x)^beta over `size` neighbouring "
    "channels.\"\"\"\n"
    "\n"
    "    def __init__(self, size, alpha, beta, k, **keys):\n"
    "        super().__init__(**keys)\n"
    "        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k\n"
    "\n"
    "    def call(self, x):\n"
    "        channels = numpy.arange(x.shape[-1])\n"
    "        steps = channels[:, None] - channels  # from the output's channel to the input's\n"
    "        near = (steps >= -(self.size // 2)) & (steps <= (self.size - 1) // 2)\n"
    "        share = ops.convert_to_tensor((self.alpha / self.size * near).astype(\"float32\"))\n"
    "        return x / (self.k + ops.matmul(x * x, share)) ** self.beta\n"
    "\n"
    "    def get_config(self):\n"
    "        return {**super().get_config(), \"size\": self.size, \"alpha\": self.alpha,\n"
    "                \"beta\": self.beta, \"k\": self.k}\n";

static const char last[] =
    "\n\ndef last_differs(rows, last_row, columns, last_column):\n"
    "    \"\"\"Factors [rows, columns, 1] that are 1 but in the last row and column.\"\"\"\n"
    "    factors = numpy.ones((rows, columns, 1), \"float32\")\n"
    "    factors[-1] *= last_row\n"
    "    factors[:, -1] *= last_column\n"
    "    return factors.tolist()\n";

static const char hard_swish[] = "\n\n@keras.utils.register_keras_serializable(\"colonnade\")\n"
                                 "def hard_swish(x):\n"
                                 "    return x * keras.activations.relu(x + 3.0, 0.0, 6.0) / 6.0\n";

static const char build_begin[] = "\n\ndef build():\n"
                                  "    \"\"\"The model; its weights are drawn at random.\"\"\"\n"
                                  "    keras.backend.set_image_data_format(\"channels_last\")\n";

static const char load[] =
    "\n\ndef check(model, path=WEIGHTS):\n"
    "    \"\"\"Raises AssertionError where the model's answers are not those of the run; returns "
    "the\n"
    "    number of samples.\"\"\"\n"
    "    with h5py.File(path) as file:\n"
    "        samples = file[\"colonnade-golden\"]\n"
    "        if \"logits\" not in samples:\n"
    "            return 0\n"
    "        pixels, want = samples[\"pixels\"][()], samples[\"logits\"][()]\n"
    "    got = numpy.asarray(model.predict(pixels, verbose=0))\n"
    "    bound = 1e-4 * max(1, abs(want).max())\n"
    "    numpy.testing.assert_allclose(got, want, rtol=0, atol=bound, err_msg=\"golden logits\")\n"
    "    return len(want)\n"
    "\n\n"
    "def load(path=WEIGHTS):\n"
    "    \"\"\"The model with its weights, checked.\"\"\"\n"
    "    model = build()\n"
    "    model.load_weights(str(path), by_name=True)\n"
    "    check(model, path)\n"
    "    return model\n"
    "\n\n"
    "if __name__ == \"__main__\":\n"
    "    count = check(load())\n"
    "    print(f\"{WEIGHTS}: ok: {count} samples have the logits of the run\" if count else\n"
    "          f\"{WEIGHTS}: loads; the run holds no samples to check it by\")\n";

void keras_write_script(FILE *script, const struct keras_model *model, const char *build,
                        const char *weights)
{
    const struct network *network = model->network;
    const struct data_facts *data = &network->run->data;
    fputs(begin, script);
    if (model->uses_pad || model->uses_lrn)
        fputs(ops, script);
    fputs("\nWEIGHTS = pathlib.Path(__file__).with_name(", script);
    write_text(script, file_name(weights));
    fputs(")\nCLASSES = [", script);
    for (int i = 0; i < data->classes; i++) {
        fputs(i ? ", " : "", script);
        write_text(script, network->class_names[i]);
    }
    fputs("]\n", script);
    write_numbers(script, "MEAN", data->shape.c, data->mean);
    fputs("  # of pixels / 255, a channel\n", script);
    write_numbers(script, "STD", data->shape.c, data->std);
    fputs("\n", script);
    fputs(model->uses_pad ? pad : "", script);
    fputs(model->uses_lrn ? lrn : "", script);
    fputs(model->uses_last ? last : "", script);
    fputs(model->uses_hard_swish ? hard_swish : "", script);
    fputs(build_begin, script);
    fputs(build, script);
    fputs(load, script);
}
