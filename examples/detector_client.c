/* Asks an exported detector about images from C, without Python.
 *
 *   detector_client FOLDER INPUT OUTPUT IMAGES COUNT HEIGHT WIDTH CHANNELS
 *
 *   FOLDER   a version of an export, such as serving/lenet5_mnist_detector/1
 *   INPUT    the tensor that takes the images, such as serving_default_images:0
 *   OUTPUT   the tensor of `adversarial_probability`, such as StatefulPartitionedCall:0
 *   IMAGES   a file of raw float32, COUNT x HEIGHT x WIDTH x CHANNELS of them, in the bounds of the classifier
 *
 * Prints the probability that each image is adversarial, one to a line, in the 17 digits that hold a double.
 * The names of the tensors stand in the signature, and differ from export to export:
 *
 *   saved_model_cli show --dir FOLDER --tag_set serve --signature_def serving_default
 *
 * To build it against the TensorFlow of a Python environment (or a download of libtensorflow, with -ltensorflow):
 *
 *   TF=$(python -c 'import tensorflow as tf; print(tf.sysconfig.get_lib())')
 *   cc -O2 -I$TF/include examples/detector_client.c -o detector_client \
 *      $TF/libtensorflow_cc.so.2 $TF/libtensorflow_framework.so.2 -Wl,-rpath,$TF
 *
 * The head of a detector may be one of YDF. Its op is not part of TensorFlow: call
 * TF_LoadLibrary("ydf_tf/inference.so", status) before the model is loaded.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void fail(const char *what, const char *why) {
  fprintf(stderr, "detector_client: %s: %s\n", what, why);
  exit(1);
}

/* TensorFlow reports every error through the status that it is handed. */
static void check(const TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static int64_t read_count(const char *text) {
  char *end;
  long long value = strtoll(text, &end, 10);
  /* A million: the bytes of all images still fit a size_t, and nobody asks for more at once. */
  if (end == text || *end != '\0' || value < 0 || value > 1000000) fail(text, "is no count up to a million");
  return value;
}

/* "name:index" -> one output of an operation of the graph. */
static TF_Output find_tensor(TF_Graph *graph, const char *text) {
  char name[256];
  const char *colon = strrchr(text, ':');
  size_t length = colon ? (size_t)(colon - text) : 0;
  if (!colon || length >= sizeof name) fail(text, "is no name of a tensor; one ends in :0");
  memcpy(name, text, length);
  name[length] = '\0';
  TF_Output tensor = {TF_GraphOperationByName(graph, name), (int)read_count(colon + 1)};
  if (!tensor.oper) fail(text, "is not in the graph");
  if (tensor.index >= TF_OperationNumOutputs(tensor.oper)) fail(text, "has a number past the last output");
  return tensor;
}

/* The file's floats as a tensor of `shape`; the file must hold exactly as many. */
static TF_Tensor *read_images(const char *path, const int64_t shape[4]) {
  size_t size = sizeof(float) * (size_t)(shape[0] * shape[1] * shape[2] * shape[3]);
  TF_Tensor *images = TF_AllocateTensor(TF_FLOAT, shape, 4, size);
  FILE *file = fopen(path, "rb");
  if (!file || !images) fail(path, "cannot be read");
  if (fread(TF_TensorData(images), 1, size, file) != size) fail(path, "holds fewer pixels than that");
  if (fgetc(file) != EOF) fail(path, "holds more pixels than that");
  fclose(file);
  return images;
}

int main(int argc, char **argv) {
  if (argc != 9) fail("usage", "detector_client FOLDER INPUT OUTPUT IMAGES COUNT HEIGHT WIDTH CHANNELS");
  const int64_t shape[4] = {read_count(argv[5]), read_count(argv[6]), read_count(argv[7]), read_count(argv[8])};

  /* "serve" is the tag that every export for serving has. Loading restores the weights, too. */
  const char *tags[] = {"serve"};
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, argv[1]);

  TF_Output input = find_tensor(graph, argv[2]);
  TF_Output output = find_tensor(graph, argv[3]);
  TF_Tensor *images = read_images(argv[4], shape);
  TF_Tensor *probabilities = NULL;
  TF_SessionRun(session, NULL, &input, &images, 1, &output, &probabilities, 1, NULL, 0, NULL, status);
  check(status, "the run");
  if (TF_TensorType(probabilities) != TF_DOUBLE || TF_TensorElementCount(probabilities) != shape[0])
    fail(argv[3], "is not one double for each image");

  /* NaN: an image that the detector cannot be asked about, with a pixel that is NaN or out of bounds. */
  const double *values = TF_TensorData(probabilities);
  for (int64_t i = 0; i < shape[0]; i++) printf("%.17g\n", values[i]);

  TF_DeleteTensor(probabilities);
  TF_DeleteTensor(images);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
