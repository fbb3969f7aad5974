/* Monarch attention from C: sizes in, status out. Nothing throws, prints or exits.
 *
 *   monarch_attention_args args;
 *   monarch_attention_args_init(&args);
 *   args.preset = MONARCH_PRESET_MONARCHRT;
 *   args.num_heads = 12; args.head_dim = 128;
 *   args.q_frames = 3; args.kv_frames = 21; args.height = 30; args.width = 52;
 *   args.q = monarch_tensor_contiguous(q, MONARCH_DTYPE_F32, 1, 3 * 30 * 52, 12, 128);
 *   ... k, v and out likewise ...
 *   if (monarch_attention_workspace_bytes(&args, &bytes) != MONARCH_OK) puts(monarch_last_error());
 *   args.workspace = malloc(bytes);
 *   args.workspace_bytes = bytes;
 *   if (monarch_attention_forward(&args) != MONARCH_OK) puts(monarch_last_error());
 *
 * Structs begin with their size: a field added later keeps its default for callers compiled before
 * it was there. Tensors are [batch, tokens, heads, head_dim] with free strides except the
 * innermost. Every function may be called from any thread.
 */
/* C: NOLINTBEGIN(modernize-*, readability-identifier-naming) */
#ifndef MONARCH_ATTENTION_CAPI_H_
#define MONARCH_ATTENTION_CAPI_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define MONARCH_ENUM_OF_INT : int /* then any number a caller stores may be read, and refused */
#else
#define MONARCH_ENUM_OF_INT
#endif

typedef enum monarch_status MONARCH_ENUM_OF_INT {
  MONARCH_OK = 0,
  MONARCH_INVALID_ARGUMENT = 1, /* the caller can fix it; monarch_last_error() says how */
  MONARCH_UNSUPPORTED = 2, /* well formed, but not something this build or implementation does */
  MONARCH_OUT_OF_MEMORY = 3,
  MONARCH_INTERNAL = 4
} monarch_status;

typedef enum monarch_dtype MONARCH_ENUM_OF_INT {
  MONARCH_DTYPE_F32 = 0,
  MONARCH_DTYPE_BF16 = 1,
  MONARCH_DTYPE_F16 = 2,
  MONARCH_DTYPE_F64 = 3 /* the reference only */
} monarch_dtype;

typedef enum monarch_preset MONARCH_ENUM_OF_INT {
  MONARCH_PRESET_DENSE = 0,
  MONARCH_PRESET_MONARCHRT = 1,
  MONARCH_PRESET_VMONARCH = 2
} monarch_preset;

typedef enum monarch_device MONARCH_ENUM_OF_INT {
  MONARCH_DEVICE_CPU = 0,
  MONARCH_DEVICE_CUDA = 1 /* the calling thread's current device */
} monarch_device;

typedef struct monarch_tensor {
  void* data;
  monarch_dtype dtype;
  int64_t shape[4];   /* batch, tokens, heads, head_dim */
  int64_t strides[4]; /* elements; strides[3] is 1 */
} monarch_tensor;

typedef struct monarch_attention_args {
  size_t size; /* sizeof(monarch_attention_args), set by _init */
  monarch_preset preset;
  int64_t batch;
  int64_t num_heads;
  int64_t head_dim;
  int64_t q_frames; /* vmonarch: q_frames == kv_frames */
  int64_t kv_frames;
  int64_t height;
  int64_t width;
  double softmax_scale;      /* 0: head_dim^-1/2 */
  int64_t block_causal_size; /* tokens; 0: no mask. dense and monarchrt */
  /* monarchrt */
  int64_t f_tied;
  int64_t h_reduce;
  int64_t w_reduce;
  int64_t num_iters;      /* also vmonarch; 0: 1 for monarchrt, 2 for vmonarch */
  int32_t kv_block_order; /* k, v and their gradients lie in block order, as in a KV cache */
  /* vmonarch */
  int32_t recompute_first_frame;
  int64_t frames_per_factor;
  double c_r_min;
  const char* split; /* "f,hw" and the like; NULL: f,hw */
  /* execution */
  const char* implementation; /* a name, or NULL: the fastest that can */
  int32_t num_threads;
  void* workspace;
  size_t workspace_bytes;
  /* operands */
  monarch_tensor q;
  monarch_tensor k;
  monarch_tensor v;
  monarch_tensor out;
  float* lse; /* [batch, heads, query tokens], kept for the backward; NULL: not wanted */
  /* backward only */
  monarch_tensor grad_out;
  monarch_tensor grad_q;
  monarch_tensor grad_k;
  monarch_tensor grad_v;
  /* where operands, lse and workspace lie. On MONARCH_DEVICE_CUDA forward and backward queue their
   * kernels on the stream and return: they neither wait nor allocate */
  monarch_device device;
  void* stream; /* cudaStream_t; NULL: the default stream */
} monarch_attention_args;

/* Defaults: monarchrt, one of everything, the CPU, one thread, no tensors. */
void monarch_attention_args_init(monarch_attention_args* args);

/* A row-major tensor. */
monarch_tensor monarch_tensor_contiguous(void* data, monarch_dtype dtype, int64_t batch,
                                         int64_t tokens, int64_t num_heads, int64_t head_dim);

/* Workspace the forward or backward of these sizes needs, for the dtype of q. Tensor data is not
 * looked at. */
monarch_status monarch_attention_workspace_bytes(const monarch_attention_args* args, size_t* bytes);
monarch_status monarch_attention_backward_workspace_bytes(const monarch_attention_args* args,
                                                          size_t* bytes);

monarch_status monarch_attention_forward(const monarch_attention_args* args);
/* Needs out and lse as the forward of the same implementation left them; overwrites the gradients.
 */
monarch_status monarch_attention_backward(const monarch_attention_args* args);

/* Writes new keys or values (token order) into a cache (block order) at positions start.., in
 * place. Host memory alone. */
monarch_status monarch_attention_write_cache(const monarch_attention_args* args,
                                             const monarch_tensor* new_tokens, int64_t start,
                                             const monarch_tensor* cache);

/* The implementation a forward with these arguments runs; NULL and a last error if they are
 * invalid. */
const char* monarch_attention_implementation(const monarch_attention_args* args);

/* Text of this thread's last failure: what was given, what was expected, what to do. Empty before
 * the first. */
const char* monarch_last_error(void);

#undef MONARCH_ENUM_OF_INT
#ifdef __cplusplus
}
#endif

#endif /* MONARCH_ATTENTION_CAPI_H_ */
/* NOLINTEND(modernize-*, readability-identifier-naming) */
