// The C interface of the native step: one call runs one step of a whole model for any mix of rows.
// Called through ctypes (native/library.py mirrors every struct); no torch, no C++ types cross it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#pragma GCC visibility push(default)
extern "C" {
#endif

typedef struct loom_model loom_model;

typedef struct {
  const void* data;      // blocks, row after row; stays mapped as long as the model lives
  size_t bytes;          // how many there are
  int32_t type;          // ggml's number
  int32_t rows, cols;
  const float* bias;     // (rows) or null
} loom_matrix;

typedef struct {
  int32_t n_layer, n_head, n_kv_head, dim, head_dim, ffn_dim, vocab_size, context, n_slots, n_threads;
  int32_t rope_pairs;    // 1: neighbours (2i, 2i+1) rotate together, as llama's GGUF files have it; 0: (i, i + half)
  float norm_eps, attn_scale;
  const float* cos;      // (context, head_dim / 2), kept by reference
  const float* sin;
  const int32_t* windows;  // (n_layer) 0 = full attention, else so many positions back; copied
  const float* final_norm;  // (dim), kept by reference as all weights are
} loom_config;

typedef struct {
  const float *attn_norm, *ffn_norm, *q_norm, *k_norm;  // the last two may be null
  loom_matrix q, k, v, o, gate, up, down;
} loom_layer;

typedef struct {        // one low-rank adapter of one layer's product: y += b' a x; a (rank, cols), b (rank, rows)
  const float *a, *b;   // b already scaled; both null = none
  int32_t rank;
} loom_pair;

typedef struct {
  int32_t slot, start, n_ids, want, adapter;  // adapter -1 = none
  const int32_t* ids;      // (n_ids)
  const int32_t* ranges;   // (n_ranges, 2) columns of the output layer, or null = all
  int32_t n_ranges;
  float* logits;           // (want, columns)
} loom_row;

const char* loom_instruction_set(void);             // what would be used here; "" when LOOM_ISA names one that is not there
size_t loom_row_bytes(int32_t type, int32_t cols);  // 0 = this type or width is not run

// Null on failure, and `error` says why.
loom_model* loom_open(const loom_config* config, const loom_layer* layers, const loom_matrix* embedding,
                      const loom_matrix* output, char* error, size_t error_size);
void loom_close(loom_model* model);
int loom_step(loom_model* model, const loom_row* rows, int32_t n_rows, char* error, size_t error_size);  // 0 = done
// (n_layer, 7) pairs in the order q k v o gate up down, kept by reference. Returns the adapter's number.
int32_t loom_add_adapter(loom_model* model, const loom_pair* pairs);
void loom_copy(loom_model* model, int32_t source, int32_t target, int32_t length);
size_t loom_parked_bytes(const loom_model* model, int32_t length);
void loom_park(const loom_model* model, int32_t slot, int32_t length, void* to);
void loom_unpark(loom_model* model, const void* from, int32_t slot, int32_t length);
void loom_release(loom_model* model, int32_t slot);  // the slot's memory goes back to the system
// For tests: y (n, rows) = w x for x (n, cols), by the instruction set named (null = the one in use). 0 = done.
int loom_matmul(const char* isa, const loom_matrix* w, const float* x, int32_t n, float* y);

#ifdef __cplusplus
}
#pragma GCC visibility pop
#endif
