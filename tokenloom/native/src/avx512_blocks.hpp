// Unpacking the two commonest block types with AVX-512, as quick as the memory delivers them. Included by kernels.inl.

// Eight blocks of 20 bytes: scale and offset (halves), then sixteen bytes of two nibbles.
template <> struct Fetch<Q4_1> {
  static LOOM_INLINE void get(const uint8_t* p, int n, bool last, Regs& r) {
    const int blocks = n / 32;
    const __m512i z0 = words(p, 0, blocks, last), z1 = words(p, 16, blocks, last), z2 = words(p, 32, blocks, last);
    const __m512i i01 = _mm512_setr_epi32(0, 0, 5, 5, 10, 10, 15, 15, 20, 20, 25, 25, 30, 30, 0, 0);
    const __m512i i2 = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3);
    __m512i dm = _mm512_mask_permutexvar_epi32(_mm512_permutex2var_epi32(z0, i01, z1), 0xC000, i2, z2);
    if (blocks < 8) dm = _mm512_maskz_mov_epi32((__mmask16)((1u << (2 * blocks)) - 1), dm);
    r.d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dm));
    r.m = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(dm, 16)));
    for (int j = 0; j < 4; j++) {
      if (2 * j + 1 < blocks) r.u[j] = pair(p + 40 * j, p + 40 * j + 20);
      else if (2 * j < blocks) r.u[j] = pair(p + 40 * j, nullptr);
    }
  }
  // Sixteen words of the blocks, none read behind the end of the matrix.
  static LOOM_INLINE __m512i words(const uint8_t* p, int from, int blocks, bool last) {
    if (!last) return _mm512_loadu_si512(p + 4 * from);
    const int have = 5 * blocks - from;
    const __mmask16 m = have >= 16 ? 0xFFFF : have <= 0 ? 0 : (__mmask16)((1u << have) - 1);
    return _mm512_maskz_loadu_epi32(m, p + 4 * from);
  }
  static LOOM_INLINE __m512i pair(const uint8_t* a, const uint8_t* b) {
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i*)(a + 4)));
    v = b ? _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i*)(b + 4)), 1)
          : _mm256_inserti128_si256(v, _mm_setzero_si128(), 1);
    const __m512i both = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3), _mm512_castsi256_si512(v));
    const __m512i shift = _mm512_setr_epi64(0, 0, 0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004,
                                            0x0004000400040004);
    return _mm512_and_si512(_mm512_srlv_epi16(both, shift), _mm512_set1_epi8(15));
  }
};

// Eight blocks of 34 bytes: a scale (half), then 32 signed bytes.
template <> struct Fetch<Q8_0> {
  static LOOM_INLINE void get(const uint8_t* p, int n, bool, Regs& r) {
    const int blocks = n / 32;
    alignas(32) uint16_t h[16];
    for (int g = 0; g < 8; g++) h[2 * g] = h[2 * g + 1] = g < blocks ? u16(p + 34 * g) : 0;
    r.d = V::load_half(h);
    r.m = _mm512_mul_ps(r.d, _mm512_set1_ps(-128.0f));
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (int j = 0; j < 4; j++) {
      if (2 * j >= blocks) break;
      const __m256i a = _mm256_loadu_si256((const __m256i*)(p + 68 * j + 2));
      const __m256i b = 2 * j + 1 < blocks ? _mm256_loadu_si256((const __m256i*)(p + 68 * j + 36)) : _mm256_setzero_si256();
      r.u[j] = _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1), flip);
    }
  }
};
