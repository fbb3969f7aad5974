/* Attention over the frames of a small video, three ways, from C.
 *
 *   cc attention.c $(pkg-config --cflags --libs monarch) -lm -o attention
 *
 * Ends with 1 if something fails or a result is not what it should be.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "monarch/attention/capi.h"

enum { FRAMES = 6, HEIGHT = 8, WIDTH = 12, HEADS = 2, DIM = 32 };
enum { TOKENS = FRAMES * HEIGHT * WIDTH, ELEMENTS = TOKENS * HEADS * DIM };

static float q[ELEMENTS], k[ELEMENTS], v[ELEMENTS], exact[ELEMENTS], out[ELEMENTS];

/* Queries and keys as positions make them: a score is a sum of one part for the frames, one for the
 * rows and one for the columns. Attention then factorises along the grid, and Monarch attention is
 * exact; with content in the scores it is an approximation.
 */
static void fill(void) {
  for (int token = 0; token < TOKENS; ++token) {
    const int frame = token / (HEIGHT * WIDTH), row = token / WIDTH % HEIGHT,
              column = token % WIDTH;
    for (int channel = 0; channel < HEADS * DIM; ++channel) {
      const int at = token * HEADS * DIM + channel;
      const int position = channel % 3 == 0 ? frame : channel % 3 == 1 ? row : column;
      const double angle = position * (0.2 + 0.05 * (channel / 6)) + channel / 3 % 2 * 1.5707963;
      q[at] = k[at] = (float)cos(angle);
      v[at] = (float)sin(0.37 * token + 1.3 * channel);
    }
  }
}

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, monarch_last_error());
  exit(EXIT_FAILURE);
}

/* The query frames are the last ones; keys and values are all of them. */
static void attend(monarch_attention_args* args, float* result) {
  const int64_t q_tokens = args->q_frames * HEIGHT * WIDTH;
  args->q = monarch_tensor_contiguous(q + (TOKENS - q_tokens) * HEADS * DIM, MONARCH_DTYPE_F32, 1,
                                      q_tokens, HEADS, DIM);
  args->k = monarch_tensor_contiguous(k, MONARCH_DTYPE_F32, 1, TOKENS, HEADS, DIM);
  args->v = monarch_tensor_contiguous(v, MONARCH_DTYPE_F32, 1, TOKENS, HEADS, DIM);
  args->out = monarch_tensor_contiguous(result, MONARCH_DTYPE_F32, 1, q_tokens, HEADS, DIM);

  /* The caller owns the scratch memory; one allocation serves every call of these sizes. */
  size_t bytes = 0;
  if (monarch_attention_workspace_bytes(args, &bytes) != MONARCH_OK) fail("workspace");
  void* workspace = malloc(bytes);
  if (workspace == NULL && bytes > 0) {
    fprintf(stderr, "no memory for a workspace of %zu bytes\n", bytes);
    exit(EXIT_FAILURE);
  }
  args->workspace = workspace;
  args->workspace_bytes = bytes;
  if (monarch_attention_forward(args) != MONARCH_OK) fail("forward");
  free(workspace);
}

static double difference(const float* a, const float* b, size_t count) {
  double error = 0, norm = 0;
  for (size_t at = 0; at < count; ++at) {
    error += (double)(a[at] - b[at]) * (a[at] - b[at]);
    norm += (double)b[at] * b[at];
  }
  return sqrt(error / norm);
}

int main(void) {
  fill();
  monarch_attention_args args;
  monarch_attention_args_init(&args);
  args.num_heads = HEADS;
  args.head_dim = DIM;
  args.q_frames = args.kv_frames = FRAMES;
  args.height = HEIGHT;
  args.width = WIDTH;
  args.num_threads = 2;

  args.preset = MONARCH_PRESET_DENSE;
  attend(&args, exact);
  printf("dense      %s\n", monarch_attention_implementation(&args));

  args.preset = MONARCH_PRESET_VMONARCH;
  attend(&args, out);
  const double vmonarch = difference(out, exact, ELEMENTS);
  printf("vmonarch   %s  differs from dense by %.1e\n", monarch_attention_implementation(&args),
         vmonarch);

  /* Two new frames over all six, as when a video is made chunk by chunk. */
  const int64_t chunk = 2, chunk_elements = chunk * HEIGHT * WIDTH * HEADS * DIM;
  args.preset = MONARCH_PRESET_MONARCHRT;
  args.q_frames = chunk;
  attend(&args, out);
  const double monarchrt =
      difference(out, exact + ELEMENTS - chunk_elements, (size_t)chunk_elements);
  printf("monarchrt  %s  differs from dense by %.1e\n", monarch_attention_implementation(&args),
         monarchrt);

  /* What cannot be computed is refused with a reason. */
  args.w_reduce = 5;
  size_t bytes = 0;
  if (monarch_attention_workspace_bytes(&args, &bytes) != MONARCH_INVALID_ARGUMENT) {
    fprintf(stderr, "a tiling that does not fit was accepted\n");
    return EXIT_FAILURE;
  }
  printf("refused    %s\n", monarch_last_error());

  return vmonarch < 1e-4 && monarchrt < 1e-4 ? EXIT_SUCCESS : EXIT_FAILURE;
}
