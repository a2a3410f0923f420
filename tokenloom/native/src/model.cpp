// One step of a whole model: all rows' new tokens through all layers, the cache extended, logits where wanted.
// Work is shared among threads by output rows (products), by heads (attention) or by tokens (the rest); each value is
// computed by one thread in one order, so who computes it changes no bit.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
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
  std::vector<float> x, qkv, gate, up, scores, out;
  std::vector<float> low;  // (tokens, 3, widest): a x of the products that are made together
  int widest = 0;          // the largest rank there is
  bool adapted = false;    // whether any row of this step carries an adapter
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
  void step(const loom_row* rows, int n_rows);
  void layer(int l, const loom_row* rows, int n);
  void attend(int l, const loom_row* rows, int n);
  void head(const loom_row* rows, int n_rows);
  void norm(const float* weight, int n);
  void residual(int l, int which, const Matrix& w, const Acts& in, const loom_row* rows, int n);
  void rotate(float* head, int position) const;
  const loom_pair* pair(const loom_row* rows, int token, int layer, int which) const;
  void reduce(int l, int first, int count, const Acts& in, const loom_row* rows, int n);
  void product(int l, int which, const Matrix& w, int n0, int n1, const Acts& in, float* y, size_t ld,
               const loom_row* rows, int n);
  int grain(int rows, int unit) const;
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
  if (adapted && low.size() < (size_t)n * 3 * widest) low.resize((size_t)n * 3 * widest);
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

// Output rows in a tile: some tiles a thread, so that a slow one may take fewer, each worth the taking.
int loom_model::grain(int rows, int unit) const {
  const int per = (rows + 2 * pool->size() - 1) / (2 * pool->size());
  return std::min((per + unit - 1) / unit * unit, 512);
}

const loom_pair* loom_model::pair(const loom_row* rows, int token, int layer, int which) const {
  const int adapter = rows[tokens[token].row].adapter;
  if (adapter < 0) return nullptr;
  const loom_pair& p = adapters[adapter][(size_t)layer * 7 + which];
  return p.a ? &p : nullptr;
}

// low = a x, for the tokens that carry an adapter and the products [first, first + count), at most three.
void loom_model::reduce(int l, int first, int count, const Acts& in, const loom_row* rows, int n) {
  if (!adapted) return;
  pool->each(n * count, 4, [&](int a, int b, int) {
    for (int item = a; item < b; item++) {
      const int i = item / count, j = item % count;
      if (const loom_pair* p = pair(rows, i, l, first + j))
        k->dense(p->a, in.x + (size_t)i * in.cols, low.data() + ((size_t)i * 3 + j) * widest, p->rank, in.cols);
    }
  });
}

// y = w x, and b low added where there is an adapter, for outputs [n0, n1).
void loom_model::product(int l, int which, const Matrix& w, int n0, int n1, const Acts& in, float* y, size_t ld,
                         const loom_row* rows, int n) {
  k->matmul(w, n0, n1, in, 0, n, y, ld);
  if (!adapted) return;
  const int j = which < 3 ? which : which == 5 ? 1 : 0;  // its place among those reduced together
  for (int i = 0; i < n; i++)
    if (const loom_pair* p = pair(rows, i, l, which))
      k->expand(p->b, w.rows, low.data() + ((size_t)i * 3 + j) * widest, p->rank, n0, n1, y + (size_t)i * ld);
}

void loom_model::norm(const float* weight, int n) {
  pool->each(n, 8, [&](int a, int b, int) {
    for (int i = a; i < b; i++) {
      k->rmsnorm(x.data() + (size_t)i * c.dim, weight, normed.x.data() + (size_t)i * c.dim, c.dim, c.norm_eps);
      k->quantise(normed.acts(), i, 0, c.dim);
    }
  });
}

void loom_model::residual(int l, int which, const Matrix& w, const Acts& in, const loom_row* rows, int n) {
  reduce(l, which, 1, in, rows, n);
  pool->each(w.rows, grain(w.rows, 16), [&](int a, int b, int) {
    product(l, which, w, a, b, in, out.data(), c.dim, rows, n);
    for (int i = 0; i < n; i++) k->add(x.data() + (size_t)i * c.dim + a, out.data() + (size_t)i * c.dim + a, b - a);
  });
}

// Attention: heads of one kv head together, four at most.
void loom_model::attend(int l, const loom_row* rows, int n) {
  const int H = c.n_head, G = c.n_kv_head, E = c.head_dim, wide = (H + 2 * G) * E, per = H / G, size = pool->size();
  const int heads_at_once = n >= 4 * size ? H : n * G >= 4 * size ? per : (per + 1) / 2;
  pool->each(n * H, heads_at_once, [&](int a, int b, int t) {
    for (int item = a; item < b;) {
      const int i = item / H, h = item % H, g = h / per;
      const int heads = std::min({per - h % per, 4, b - item});
      const int p = tokens[i].position, slot = rows[tokens[i].row].slot, window = windows[l];
      const int begin = window > 0 && p + 1 > window ? p + 1 - window : 0;
      k->attend(qkv.data() + (size_t)i * wide + (size_t)h * E, heads, keys(slot, l, g), values(slot, l, g), E, begin,
                p + 1, c.attn_scale, scores.data() + (size_t)t * 4 * positions, positions,
                attended.x.data() + ((size_t)i * H + h) * E);
      if (E % 32 == 0) k->quantise(attended.acts(), i, h * E, (h + heads) * E);
      item += heads;
    }
  });
  if (E % 32 == 0) return;
  pool->each(n, 8, [&](int a, int b, int) {
    for (int i = a; i < b; i++) k->quantise(attended.acts(), i, 0, H * E);
  });
}

void loom_model::layer(int l, const loom_row* rows, int n) {
  const Layer& w = layers[l];
  const int H = c.n_head, G = c.n_kv_head, E = c.head_dim, wide = (H + 2 * G) * E, ffn = c.ffn_dim;

  norm(w.attn_norm, n);
  reduce(l, 0, 3, normed.acts(), rows, n);
  pool->each(wide, grain(wide, 16), [&](int a, int b, int) {
    const Matrix* parts[] = {&w.q, &w.k, &w.v};
    for (int j = 0, first = 0; j < 3; first += parts[j++]->rows) {
      const int n0 = std::max(a - first, 0), n1 = std::min(b - first, parts[j]->rows);
      if (n0 < n1) product(l, j, *parts[j], n0, n1, normed.acts(), qkv.data() + first, wide, rows, n);
    }
  });

  // Rotate queries and keys, write keys and values into the cache.
  pool->each(n * (H + G), 24, [&](int a, int b, int) {
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
  });
  attend(l, rows, n);
  residual(l, 3, w.o, attended.acts(), rows, n);

  norm(w.ffn_norm, n);
  reduce(l, 4, 2, normed.acts(), rows, n);
  pool->each(ffn, grain(ffn, 32), [&](int a, int b, int) {
    product(l, 4, w.gate, a, b, normed.acts(), gate.data(), ffn, rows, n);
    product(l, 5, w.up, a, b, normed.acts(), up.data(), ffn, rows, n);
    for (int i = 0; i < n; i++) {
      const size_t at = (size_t)i * ffn + a;
      k->silu_mul(gate.data() + at, up.data() + at, hidden.x.data() + at, b - a);
      k->quantise(hidden.acts(), i, a, b);
    }
  });
  residual(l, 6, w.down, hidden.acts(), rows, n);
}

// Final norm and output layer for the rows that want logits.
void loom_model::head(const loom_row* rows, int n_rows) {
  int first = 0, at = 0;
  for (int r = 0; r < n_rows; first += rows[r].n_ids, r++) {
    for (int j = 0; j < rows[r].want; j++, at++) {
      const int i = first + rows[r].n_ids - rows[r].want + j;
      std::memcpy(last.x.data() + (size_t)at * c.dim, x.data() + (size_t)i * c.dim, (size_t)c.dim * 4);
    }
  }
  pool->each(at, 8, [&](int a, int b, int) {
    for (int i = a; i < b; i++) {
      float* xi = last.x.data() + (size_t)i * c.dim;
      k->rmsnorm(xi, c.final_norm, xi, c.dim, c.norm_eps);
      k->quantise(last.acts(), i, 0, c.dim);
    }
  });
  // Columns [lo, hi) of the output layer for the wanted rows [r0, r1), to `y` (.., columns).
  auto columns = [&](int r0, int r1, int lo, int hi, float* y, size_t ld) {
    pool->each(hi - lo, grain(hi - lo, 16), [&](int a, int b, int) {
      k->matmul(output, lo + a, lo + b, last.acts(), r0, r1, y - (size_t)r0 * ld - lo, ld);
    });
  };
  // Neighbouring rows with the same columns and adjoining answers go through together.
  const int all[] = {0, c.vocab_size};
  auto ranges = [&](const loom_row& row) { return row.ranges ? row.ranges : all; };
  auto count = [](const loom_row& row) { return row.ranges ? row.n_ranges : 1; };
  at = 0;
  for (int r = 0; r < n_rows;) {
    const loom_row& row = rows[r++];
    const int r0 = at, *const own = ranges(row), n = count(row);
    at += row.want;
    if (row.want == 0) continue;
    size_t width = 0, before = 0;
    for (int g = 0; g < n; g++) width += own[2 * g + 1] - own[2 * g];
    for (; r < n_rows; at += rows[r++].want) {
      if (rows[r].want == 0) continue;
      const bool same = count(rows[r]) == n && std::equal(own, own + 2 * n, ranges(rows[r]));
      if (!same || rows[r].logits != row.logits + (size_t)(at - r0) * width) break;
    }
    for (int g = 0; g < n; g++) {
      const int lo = own[2 * g], hi = own[2 * g + 1];
      columns(r0, at, lo, hi, row.logits + before, width);
      before += hi - lo;
    }
  }
}

void loom_model::step(const loom_row* rows, int n_rows) {
  tokens.clear();
  adapted = false;
  int wanted = 0;
  for (int r = 0; r < n_rows; r++) {
    for (int i = 0; i < rows[r].n_ids; i++) tokens.push_back({r, rows[r].start + i, rows[r].ids[i]});
    wanted += rows[r].want;
    adapted = adapted || rows[r].adapter >= 0;
  }
  const int n = (int)tokens.size();
  if (n == 0) return;
  reserve(n);
  last.shape(std::max(wanted, 1), c.dim);
  pool->begin();
  pool->each(n, 8, [&](int a, int b, int) {
    for (int i = a; i < b; i++) k->dequantise(embedding, tokens[i].id, x.data() + (size_t)i * c.dim);
  });
  for (int l = 0; l < c.n_layer; l++) layer(l, rows, n);
  if (wanted > 0) head(rows, n_rows);
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
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::unique_ptr<loom_model> opened(const loom_config* config, const loom_layer* layers, const loom_matrix* embedding,
                                   const loom_matrix* output) {
  auto m = std::make_unique<loom_model>();
  m->c = *config;
  const loom_config& c = m->c;
  m->k = kernels_best();
  if (!m->k) throw Refused("LOOM_ISA names an instruction set that this machine has not");
  if (c.n_layer < 1 || c.n_head < 1 || c.n_kv_head < 1 || c.n_head % c.n_kv_head || c.head_dim < 16 ||
      c.head_dim % 16 || c.head_dim > 512 || c.dim < 32 || c.dim % 32 || c.ffn_dim < 32 || c.ffn_dim % 32 ||
      (c.n_head * c.head_dim) % 32 || c.vocab_size < 1 || c.context < 1 || c.n_slots < 1)
    throw Refused("the model's sizes do not fit the native step");
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
  if (!bad.empty()) throw Refused(bad);
  m->embedding = matrix(*embedding);
  m->output = matrix(*output);
  m->windows.assign(config->windows, config->windows + c.n_layer);
  m->positions = (c.context + 15) / 16 * 16;
  m->slot_halves = (size_t)c.n_layer * c.n_kv_head * 2 * m->positions * c.head_dim;
  m->slot_halves = (m->slot_halves + 32767) / 32768 * 32768;  // whole pages of any size, so that a slot can be given back
  m->cache_bytes = m->slot_halves * 2 * c.n_slots;
  void* p = mmap(nullptr, m->cache_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw Refused("no memory for a cache of " + std::to_string(m->cache_bytes) + " bytes");
  m->cache = (uint16_t*)p;
  m->pool = std::make_unique<Pool>(c.n_threads);
  m->scores.resize((size_t)m->pool->size() * 4 * m->positions);
  return m;
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
  try {
    return opened(config, layers, embedding, output).release();
  } catch (const std::exception& e) {  // refused, or no memory, or no thread to be had
    fail(error, error_size, e.what());
    return nullptr;
  }
}

void loom_close(loom_model* model) { delete model; }

int loom_step(loom_model* m, const loom_row* rows, int32_t n_rows, char* error, size_t error_size) {
  if (std::string bad = check(m, rows, n_rows); !bad.empty()) return fail(error, error_size, bad);
  try {
    m->step(rows, n_rows);
  } catch (const std::exception& e) {  // no memory, or no thread to be had after a fork
    return fail(error, error_size, e.what());
  }
  return 0;
}

int32_t loom_add_adapter(loom_model* m, const loom_pair* pairs) {
  for (int i = 0; i < m->c.n_layer * 7; i++)
    if (pairs[i].a && (pairs[i].rank < 1 || pairs[i].rank > 1024)) return -1;
  for (int i = 0; i < m->c.n_layer * 7; i++)
    if (pairs[i].a) m->widest = std::max(m->widest, (int)pairs[i].rank);
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
