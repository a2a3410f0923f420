// One step of a whole model: all rows' new tokens through all layers, the cache extended, logits where wanted.
// Work is split over threads by output rows (products), by heads (attention) or by tokens (the rest); each value is
// computed by one thread in one order, so the split changes no bit.
#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "dispatch.hpp"
#include "kernels.hpp"
#include "pool.hpp"
#include "step.h"

using namespace loom;

namespace {

Matrix matrix(const loom_matrix& m) {
  Matrix w;
  w.data = (const uint8_t*)m.data;
  w.type = m.type;
  w.rows = m.rows;
  w.cols = m.cols;
  w.row_bytes = row_bytes(m.type, m.cols);
  w.bias = m.bias;
  return w;
}

// [a, b) of n things in units of `unit`, thread t of size.
void share(int n, int unit, int t, int size, int& a, int& b) {
  const long units = (n + unit - 1) / unit;
  a = (int)(units * t / size) * unit;
  b = (int)(units * (t + 1) / size) * unit;
  if (a > n) a = n;
  if (b > n) b = n;
}

// Float rows with their int8 form, grown as needed.
struct Buffer {
  int cols = 0, stride = 0, stride16 = 0;
  std::vector<float> x, scale, sum;
  std::vector<int8_t> q;
  void shape(int rows, int cols_) {
    cols = cols_;
    stride = (cols + 63) / 64 * 64;
    stride16 = (stride / 16 + 15) / 16 * 16;
    if (x.size() < (size_t)rows * cols) {
      x.resize((size_t)rows * cols);
      q.assign((size_t)rows * stride + 256, 0);
      scale.assign((size_t)rows * stride16 + 16, 0);
      sum.assign((size_t)rows * stride16 + 16, 0);
    }
  }
  Acts acts() { return Acts{x.data(), q.data(), scale.data(), sum.data(), cols, stride, stride16}; }
};

struct Layer {
  const float *attn_norm, *ffn_norm, *q_norm, *k_norm;
  Matrix q, k, v, o, gate, up, down;
};

struct Token {
  int row, position, id;
};

}  // namespace

struct loom_model {
  loom_config c;
  const Kernels* k;
  std::vector<Layer> layers;
  std::vector<int> windows;
  Matrix embedding, output;
  std::vector<std::vector<loom_pair>> adapters;
  std::unique_ptr<Pool> pool;

  // The cache: slot after slot, in it layer after layer, kv head after kv head: keys (positions / 16, E, 16), then
  // values (positions, E), as halves. Reserved at once, taken from the system as it is touched.
  uint16_t* cache = nullptr;
  size_t cache_bytes = 0, slot_halves = 0;
  int positions = 0;

  Buffer normed, attended, hidden, last;
  std::vector<float> x, qkv, gate, up, scores, out, low;
  std::vector<Token> tokens;

  ~loom_model() {
    pool.reset();
    if (cache) munmap(cache, cache_bytes);
  }
  uint16_t* keys(int slot, int layer, int g) const {
    return cache + slot * slot_halves + ((size_t)layer * c.n_kv_head + g) * 2 * positions * c.head_dim;
  }
  uint16_t* values(int slot, int layer, int g) const {
    return keys(slot, layer, g) + (size_t)positions * c.head_dim;
  }
  void reserve(int n);
  void layer(int l, const loom_row* rows, int n, int t, int size);
  void head(const loom_row* rows, int n_rows, int t, int size);
  void rotate(float* head, int position) const;
  void adapt(const loom_row* rows, int n, int layer, int which, const Acts& x, int a, int b, float* y, size_t ld, int t);
};

void loom_model::reserve(int n) {
  const int wide = (c.n_head + 2 * c.n_kv_head) * c.head_dim;
  normed.shape(n, c.dim);
  attended.shape(n, c.n_head * c.head_dim);
  hidden.shape(n, c.ffn_dim);
  if (x.size() < (size_t)n * c.dim) {
    x.resize((size_t)n * c.dim);
    out.resize((size_t)n * c.dim);
    qkv.resize((size_t)n * wide);
    gate.resize((size_t)n * c.ffn_dim);
    up.resize((size_t)n * c.ffn_dim);
  }
}

void loom_model::rotate(float* h, int position) const {
  const int half = c.head_dim / 2;
  const float *co = c.cos + (size_t)position * half, *si = c.sin + (size_t)position * half;
  for (int i = 0; i < half; i++) {
    float &a = c.rope_pairs ? h[2 * i] : h[i], &b = c.rope_pairs ? h[2 * i + 1] : h[i + half];
    const float p = a * co[i], r = b * si[i], s = b * co[i], u = a * si[i];
    a = p - r;
    b = s + u;
  }
}

// y += b (a x) for the rows that carry an adapter, outputs [n0, n1).
void loom_model::adapt(const loom_row* rows, int n, int layer, int which, const Acts& in, int n0, int n1, float* y,
                       size_t ld, int t) {
  if (adapters.empty() || n0 >= n1) return;
  float* low_t = low.data() + (size_t)t * 1024;
  for (int i = 0; i < n; i++) {
    const int adapter = rows[tokens[i].row].adapter;
    if (adapter < 0) continue;
    const loom_pair& p = adapters[adapter][(size_t)layer * 7 + which];
    if (!p.a) continue;
    k->dense(p.a, in.x + (size_t)i * in.cols, low_t, p.rank, in.cols);
    float* yi = y + (size_t)i * ld;
    for (int o = n0; o < n1; o++) {
      const float* b = p.b + (size_t)o * p.rank;
      float s = 0;
      for (int j = 0; j < p.rank; j++) s = __builtin_fmaf(b[j], low_t[j], s);
      yi[o] += s;
    }
  }
}

void loom_model::layer(int l, const loom_row* rows, int n, int t, int size) {
  const Layer& w = layers[l];
  const int H = c.n_head, G = c.n_kv_head, E = c.head_dim, dim = c.dim, wide = (H + 2 * G) * E;
  int a, b;
  auto product = [&](const Matrix& m, int which, Buffer& in, float* y, size_t ld, int unit) {
    int n0, n1;
    share(m.rows, unit, t, size, n0, n1);
    k->matmul(m, n0, n1, in.acts(), 0, n, y, ld);
    adapt(rows, n, l, which, in.acts(), n0, n1, y, ld, t);
  };
  auto norm = [&](const float* weight) {
    share(n, 1, t, size, a, b);
    for (int i = a; i < b; i++) {
      k->rmsnorm(x.data() + (size_t)i * dim, weight, normed.x.data() + (size_t)i * dim, dim, c.norm_eps);
      k->quantise(normed.acts(), i, 0, dim);
    }
    pool->barrier();
  };
  auto residual = [&](const Matrix& m, int which, Buffer& in) {
    int n0, n1;
    share(m.rows, 16, t, size, n0, n1);
    k->matmul(m, n0, n1, in.acts(), 0, n, out.data(), dim);
    adapt(rows, n, l, which, in.acts(), n0, n1, out.data(), dim, t);
    for (int i = 0; i < n; i++) k->add(x.data() + (size_t)i * dim + n0, out.data() + (size_t)i * dim + n0, n1 - n0);
    pool->barrier();
  };

  norm(w.attn_norm);
  product(w.q, 0, normed, qkv.data(), wide, 16);
  product(w.k, 1, normed, qkv.data() + H * E, wide, 16);
  product(w.v, 2, normed, qkv.data() + (H + G) * E, wide, 16);
  pool->barrier();

  // Rotate queries and keys, write keys and values into the cache.
  share(n * (H + G), 1, t, size, a, b);
  for (int item = a; item < b; item++) {
    const int i = item / (H + G), h = item % (H + G), p = tokens[i].position, slot = rows[tokens[i].row].slot;
    float* head = qkv.data() + (size_t)i * wide + (size_t)h * E;
    const float* nw = h < H ? w.q_norm : w.k_norm;
    if (nw) k->rmsnorm(head, nw, head, E, c.norm_eps);
    rotate(head, p);
    if (h < H) continue;
    const int g = h - H;
    uint16_t half[512];
    k->store_half(head, half, E);
    uint16_t* kc = keys(slot, l, g) + (size_t)(p / 16) * E * 16 + p % 16;
    for (int e = 0; e < E; e++) kc[e * 16] = half[e];
    k->store_half(qkv.data() + (size_t)i * wide + (size_t)(H + G + g) * E, values(slot, l, g) + (size_t)p * E, E);
  }
  pool->barrier();

  // Attention: heads of one kv head together, four at most.
  share(n * H, 1, t, size, a, b);
  float* sc = scores.data() + (size_t)t * 4 * positions;
  const int per = H / G;
  for (int item = a; item < b;) {
    const int i = item / H, h = item % H, g = h / per;
    int heads = per - h % per;
    if (heads > 4) heads = 4;
    if (heads > b - item) heads = b - item;
    const int p = tokens[i].position, slot = rows[tokens[i].row].slot, window = windows[l];
    const int begin = window > 0 && p + 1 > window ? p + 1 - window : 0;
    float* to = attended.x.data() + ((size_t)i * H + h) * E;
    k->attend(qkv.data() + (size_t)i * wide + (size_t)h * E, heads, keys(slot, l, g), values(slot, l, g), E, begin,
              p + 1, c.attn_scale, sc, positions, to);
    if (E % 32 == 0) k->quantise(attended.acts(), i, h * E, (h + heads) * E);
    item += heads;
  }
  pool->barrier();
  if (E % 32) {
    share(n, 1, t, size, a, b);
    for (int i = a; i < b; i++) k->quantise(attended.acts(), i, 0, H * E);
    pool->barrier();
  }
  residual(w.o, 3, attended);

  norm(w.ffn_norm);
  int f0, f1;
  share(c.ffn_dim, 32, t, size, f0, f1);
  if (f1 > f0) {
    k->matmul(w.gate, f0, f1, normed.acts(), 0, n, gate.data(), c.ffn_dim);
    adapt(rows, n, l, 4, normed.acts(), f0, f1, gate.data(), c.ffn_dim, t);
    k->matmul(w.up, f0, f1, normed.acts(), 0, n, up.data(), c.ffn_dim);
    adapt(rows, n, l, 5, normed.acts(), f0, f1, up.data(), c.ffn_dim, t);
    for (int i = 0; i < n; i++) {
      const size_t at = (size_t)i * c.ffn_dim + f0;
      k->silu_mul(gate.data() + at, up.data() + at, hidden.x.data() + at, f1 - f0);
      k->quantise(hidden.acts(), i, f0, f1);
    }
  }
  pool->barrier();
  residual(w.down, 6, hidden);
}

// Final norm and output layer for the rows that want logits.
void loom_model::head(const loom_row* rows, int n_rows, int t, int size) {
  int first = 0, at = 0;
  for (int r = 0; r < n_rows; first += rows[r].n_ids, r++) {
    for (int j = 0; j < rows[r].want; j++, at++) {
      if (at % size != t) continue;
      const int i = first + rows[r].n_ids - rows[r].want + j;
      k->rmsnorm(x.data() + (size_t)i * c.dim, c.final_norm, last.x.data() + (size_t)at * c.dim, c.dim, c.norm_eps);
      k->quantise(last.acts(), at, 0, c.dim);
    }
  }
  pool->barrier();
  // Neighbouring rows with the whole vocabulary and adjoining answers go through together.
  at = 0;
  for (int r = 0; r < n_rows;) {
    const int r0 = at;
    at += rows[r].want;
    float* to = rows[r].logits;
    if (rows[r].n_ranges == 0) {
      int e = r + 1;
      while (e < n_rows && rows[e].n_ranges == 0 && rows[e].logits == to + (size_t)(at - r0) * c.vocab_size)
        at += rows[e++].want;
      int n0, n1;
      share(c.vocab_size, 16, t, size, n0, n1);
      if (at > r0) k->matmul(output, n0, n1, last.acts(), r0, at, to - (size_t)r0 * c.vocab_size, c.vocab_size);
      r = e;
      continue;
    }
    size_t columns = 0;
    for (int g = 0; g < rows[r].n_ranges; g++) columns += rows[r].ranges[2 * g + 1] - rows[r].ranges[2 * g];
    size_t before = 0;
    for (int g = 0; g < rows[r].n_ranges; g++) {
      const int lo = rows[r].ranges[2 * g], hi = rows[r].ranges[2 * g + 1];
      int n0, n1;
      share(hi - lo, 16, t, size, n0, n1);
      if (at > r0 && n1 > n0)
        k->matmul(output, lo + n0, lo + n1, last.acts(), r0, at, to - (size_t)r0 * columns + before - lo, columns);
      before += hi - lo;
    }
    r++;
  }
}

namespace {
int fail(char* error, size_t size, const std::string& what) {
  if (error && size) std::snprintf(error, size, "%s", what.c_str());
  return 1;
}

std::string wrong(const loom_matrix& m, const char* name, int rows, int cols) {
  const size_t need = row_bytes(m.type, m.cols) * (size_t)(m.rows > 0 ? m.rows : 0);
  if (m.rows != rows || m.cols != cols)
    return std::string(name) + ": shape (" + std::to_string(m.rows) + ", " + std::to_string(m.cols) + "), (" +
           std::to_string(rows) + ", " + std::to_string(cols) + ") needed";
  if (need == 0) return std::string(name) + ": block type " + std::to_string(m.type) + " is not run natively";
  if (!m.data || m.bytes < need)
    return std::string(name) + ": " + std::to_string(m.bytes) + " bytes, " + std::to_string(need) + " needed";
  return "";
}

std::string check(const loom_model* m, const loom_row* rows, int n_rows) {
  const loom_config& c = m->c;
  std::vector<bool> seen(c.n_slots, false);
  for (int r = 0; r < n_rows; r++) {
    const loom_row& row = rows[r];
    const std::string at = "row " + std::to_string(r) + ": ";
    if (row.slot < 0 || row.slot >= c.n_slots) return at + "slot " + std::to_string(row.slot) + " is not there";
    if (seen[row.slot]) return at + "slot " + std::to_string(row.slot) + " is used twice";
    seen[row.slot] = true;
    if (row.n_ids < 1 || row.start < 0 || row.start > c.context - row.n_ids)
      return at + "positions " + std::to_string(row.start) + " to " + std::to_string((long)row.start + row.n_ids) +
             " do not fit a context of " + std::to_string(c.context);
    if (row.want < 0 || row.want > row.n_ids) return at + "want is outside 0 .. n_ids";
    if (row.adapter >= (int)m->adapters.size()) return at + "adapter is not there";
    for (int i = 0; i < row.n_ids; i++)
      if (row.ids[i] < 0 || row.ids[i] >= c.vocab_size) return at + "id outside the vocabulary";
    for (int g = 0; g < row.n_ranges; g++)
      if (row.ranges[2 * g] < 0 || row.ranges[2 * g] > row.ranges[2 * g + 1] || row.ranges[2 * g + 1] > c.vocab_size)
        return at + "range outside the vocabulary";
  }
  return "";
}
}  // namespace

extern "C" {

const char* loom_instruction_set(void) {
  const Kernels* k = kernels_best();
  return k ? k->name : "";
}

size_t loom_row_bytes(int32_t type, int32_t cols) { return row_bytes(type, cols); }

loom_model* loom_open(const loom_config* config, const loom_layer* layers, const loom_matrix* embedding,
                      const loom_matrix* output, char* error, size_t error_size) {
  auto m = std::make_unique<loom_model>();
  m->c = *config;
  const loom_config& c = m->c;
  m->k = kernels_best();
  auto refuse = [&](const std::string& what) -> loom_model* {
    fail(error, error_size, what);
    return nullptr;
  };
  if (!m->k) return refuse("LOOM_ISA names an instruction set that this machine has not");
  if (c.n_layer < 1 || c.n_head < 1 || c.n_kv_head < 1 || c.n_head % c.n_kv_head || c.head_dim < 16 ||
      c.head_dim % 16 || c.head_dim > 512 || c.dim < 32 || c.dim % 32 || c.ffn_dim < 32 || c.ffn_dim % 32 ||
      (c.n_head * c.head_dim) % 32 || c.vocab_size < 1 || c.context < 1 || c.n_slots < 1)
    return refuse("the model's sizes do not fit the native step");
  const int q = c.n_head * c.head_dim, kv = c.n_kv_head * c.head_dim;
  std::string bad;
  for (int l = 0; l < c.n_layer && bad.empty(); l++) {
    const loom_layer& y = layers[l];
    const struct { const loom_matrix* m; const char* name; int rows, cols; } all[] = {
        {&y.q, "q", q, c.dim}, {&y.k, "k", kv, c.dim}, {&y.v, "v", kv, c.dim}, {&y.o, "o", c.dim, q},
        {&y.gate, "gate", c.ffn_dim, c.dim}, {&y.up, "up", c.ffn_dim, c.dim}, {&y.down, "down", c.dim, c.ffn_dim}};
    for (const auto& one : all)
      if (bad = wrong(*one.m, one.name, one.rows, one.cols); !bad.empty()) {
        bad = "layer " + std::to_string(l) + ", " + bad;
        break;
      }
    m->layers.push_back(Layer{y.attn_norm, y.ffn_norm, y.q_norm, y.k_norm, matrix(y.q), matrix(y.k), matrix(y.v),
                              matrix(y.o), matrix(y.gate), matrix(y.up), matrix(y.down)});
  }
  if (bad.empty()) bad = wrong(*embedding, "embedding", c.vocab_size, c.dim);
  if (bad.empty()) bad = wrong(*output, "output", c.vocab_size, c.dim);
  if (!bad.empty()) return refuse(bad);
  m->embedding = matrix(*embedding);
  m->output = matrix(*output);
  m->windows.assign(config->windows, config->windows + c.n_layer);
  m->positions = (c.context + 15) / 16 * 16;
  m->slot_halves = (size_t)c.n_layer * c.n_kv_head * 2 * m->positions * c.head_dim;
  m->slot_halves = (m->slot_halves + 2047) / 2048 * 2048;  // whole pages, so that a slot can be given back
  m->cache_bytes = m->slot_halves * 2 * c.n_slots;
  void* p = mmap(nullptr, m->cache_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return refuse("no memory for a cache of " + std::to_string(m->cache_bytes) + " bytes");
  m->cache = (uint16_t*)p;
  m->pool = std::make_unique<Pool>(c.n_threads);
  m->scores.resize((size_t)m->pool->size() * 4 * m->positions);
  m->low.resize((size_t)m->pool->size() * 1024);
  return m.release();
}

void loom_close(loom_model* model) { delete model; }

int loom_step(loom_model* m, const loom_row* rows, int32_t n_rows, char* error, size_t error_size) {
  if (std::string bad = check(m, rows, n_rows); !bad.empty()) return fail(error, error_size, bad);
  m->tokens.clear();
  int wanted = 0;
  for (int r = 0; r < n_rows; r++) {
    for (int i = 0; i < rows[r].n_ids; i++) m->tokens.push_back({r, rows[r].start + i, rows[r].ids[i]});
    wanted += rows[r].want;
  }
  const int n = (int)m->tokens.size();
  if (n == 0) return 0;
  m->reserve(n);
  m->last.shape(wanted > 0 ? wanted : 1, m->c.dim);
  m->pool->run([&](int t) {
    const int size = m->pool->size();
    int a, b;
    share(n, 1, t, size, a, b);
    for (int i = a; i < b; i++) m->k->dequantise(m->embedding, m->tokens[i].id, m->x.data() + (size_t)i * m->c.dim);
    m->pool->barrier();
    for (int l = 0; l < m->c.n_layer; l++) m->layer(l, rows, n, t, size);
    if (wanted > 0) m->head(rows, n_rows, t, size);
  });
  return 0;
}

int32_t loom_add_adapter(loom_model* m, const loom_pair* pairs) {
  for (int i = 0; i < m->c.n_layer * 7; i++)
    if (pairs[i].a && (pairs[i].rank < 1 || pairs[i].rank > 1024)) return -1;
  m->adapters.emplace_back(pairs, pairs + (size_t)m->c.n_layer * 7);
  return (int32_t)m->adapters.size() - 1;
}

void loom_copy(loom_model* m, int32_t source, int32_t target, int32_t length) {
  const size_t E = m->c.head_dim, blocks = (length + 15) / 16;
  for (int l = 0; l < m->c.n_layer; l++)
    for (int g = 0; g < m->c.n_kv_head; g++) {
      std::memcpy(m->keys(target, l, g), m->keys(source, l, g), blocks * 16 * E * 2);
      std::memcpy(m->values(target, l, g), m->values(source, l, g), (size_t)length * E * 2);
    }
}

size_t loom_parked_bytes(const loom_model* m, int32_t length) {
  const size_t E = m->c.head_dim, blocks = (length + 15) / 16;
  return (size_t)m->c.n_layer * m->c.n_kv_head * (blocks * 16 + length) * E * 2;
}

void loom_park(const loom_model* m, int32_t slot, int32_t length, void* to) {
  const size_t E = m->c.head_dim, kb = (size_t)((length + 15) / 16) * 16 * E * 2, vb = (size_t)length * E * 2;
  char* p = (char*)to;
  for (int l = 0; l < m->c.n_layer; l++)
    for (int g = 0; g < m->c.n_kv_head; g++, p += kb + vb) {
      std::memcpy(p, m->keys(slot, l, g), kb);
      std::memcpy(p + kb, m->values(slot, l, g), vb);
    }
}

void loom_unpark(loom_model* m, const void* from, int32_t slot, int32_t length) {
  const size_t E = m->c.head_dim, kb = (size_t)((length + 15) / 16) * 16 * E * 2, vb = (size_t)length * E * 2;
  const char* p = (const char*)from;
  for (int l = 0; l < m->c.n_layer; l++)
    for (int g = 0; g < m->c.n_kv_head; g++, p += kb + vb) {
      std::memcpy(m->keys(slot, l, g), p, kb);
      std::memcpy(m->values(slot, l, g), p + kb, vb);
    }
}

void loom_release(loom_model* m, int32_t slot) {
  madvise((char*)(m->cache + slot * m->slot_halves), m->slot_halves * 2, MADV_DONTNEED);
}

int loom_matmul(const char* isa, const loom_matrix* w, const float* x, int32_t n, float* y) {
  const Kernels* k = isa ? kernels_named(isa) : kernels_best();
  if (!k || row_bytes(w->type, w->cols) == 0 || w->bytes < row_bytes(w->type, w->cols) * (size_t)w->rows) return 1;
  Buffer in;
  in.shape(n, w->cols);
  std::memcpy(in.x.data(), x, (size_t)n * w->cols * 4);
  for (int i = 0; i < n; i++) k->quantise(in.acts(), i, 0, w->cols);
  k->matmul(matrix(*w), 0, w->rows, in.acts(), 0, n, y, w->rows);
  return 0;
}
}
