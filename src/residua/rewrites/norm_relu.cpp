// y = relu(batch_norm(x) + residual), forward and backward, on rows of channels.
//
// With x one channel of m values, g the gradient that reaches its normalized value,
//
//     mean = E[x]    s = 1 / sqrt(E[(x - mean)^2] + epsilon)
//     y = relu(weight s (x - mean) + bias + residual)
//     dx = weight s (g - E[g] - s^2 (x - mean) E[g (x - mean)])
//
// (Ioffe & Szegedy 2015, section 3, arXiv:1502.03167). An image tensor in channels_last memory is a
// table [rows, channels]. A pass of the plain operators reads or writes the whole table; this file
// makes few of them.
//
// Sums are of differences from a sample or the mean, so that a mean far from zero costs no digits:
// in float32 over RUN rows, then in double. The table is cut into tiles by its shape alone and
// their sums are added in order, so that the number of threads changes no bit of a result.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));
typedef uint16_t bf16;

constexpr int64_t RUN = 256;         // rows that float32 sums cover
constexpr int64_t WIDE_BLOCK = 8;    // rows of a wide table that are read side by side
constexpr int64_t TILE = 1 << 14;    // values of a tile, at least
constexpr int64_t TILE_ROWS = 64;    // rows of a tile, at least
constexpr int64_t TILES = 64;        // at most
constexpr int SLAB = 4;              // vectors side by side, whose sums stay in registers

// Loads and stores: V is a vector of floats or one float, T the type in memory.

template <class V> V load(const float* p) { V v; std::memcpy(&v, p, sizeof(V)); return v; }

template <class V> V load(const bf16* p) {
  if constexpr (std::is_same_v<V, float>) {
    uint32_t bits = uint32_t(*p) << 16;
    float v;
    std::memcpy(&v, &bits, 4);
    return v;
  } else {
#if defined(__AVX512F__)  // by name, because compilers widen in two halves otherwise
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
    return (Floats)_mm512_slli_epi32(wide, 16);
#elif defined(__AVX2__)
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
    return (Floats)_mm256_slli_epi32(wide, 16);
#else
    Halves half;
    std::memcpy(&half, p, sizeof(half));
    return (Floats)(__builtin_convertvector(half, Words) << 16);
#endif
  }
}

template <class V> V positive(V v) {  // max(0, v), where NaN stays NaN
#ifdef __AVX512F__
  if constexpr (!std::is_same_v<V, float>) return (V)_mm512_max_ps(_mm512_setzero_ps(), (__m512)v);
#endif
  return V{} > v ? V{} : v;
}

template <class V> void store(float* p, V v) { std::memcpy(p, &v, sizeof(V)); }

template <class W> W rounded(W bits) {  // to the nearest bfloat16, ties to even; NaN stays NaN
  W nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : nearest;
}

template <class V> void store(bf16* p, V v) {
  if constexpr (std::is_same_v<V, float>) {
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    *p = bf16(rounded(bits));
  } else {
#ifdef __AVX512BF16__
    auto half = _mm512_cvtneps_pbh((__m512)v);
#else
    Halves half = __builtin_convertvector(rounded((Words)v), Halves);
#endif
    std::memcpy(p, &half, sizeof(half));
  }
}

// A table as the loops see it: narrow rows side by side, so that a row fills whole vectors.

struct Table {
  int64_t rows, width, channels, tile, tiles;

  Table(int64_t all_rows, int64_t c) : rows(all_rows), width(c), channels(c) {
    int64_t repeat = 1;
    for (int64_t r = 1; r <= LANES; r *= 2)
      if (r * c % LANES == 0 && all_rows % r == 0) { repeat = r; break; }
    while (repeat * c < SLAB * LANES && all_rows % (2 * repeat) == 0) repeat *= 2;
    rows = all_rows / repeat;
    width = repeat * c;
    tiles = std::min({rows * width / TILE, rows / TILE_ROWS, TILES});
    tiles = std::max<int64_t>(tiles, 1);
    tile = (rows + tiles - 1) / tiles;
    tiles = (rows + tile - 1) / tile;
  }

  std::vector<float> repeated(const float* values) const {
    std::vector<float> wide(width);
    for (int64_t j = 0; j < width; j++) wide[j] = values[j % channels];
    return wide;
  }
};

// Call kernel(vector type, vectors, first value, rows, column) for every block of some rows.
template <class Kernel> void blocks(const Table& t, int64_t from, int64_t to, Kernel kernel) {
  const int64_t step = t.width <= SLAB * LANES ? to - from : WIDE_BLOCK;
  for (int64_t row = from; row < to; row += step) {
    const int64_t count = row + step < to ? step : to - row;
    const int64_t first = row * t.width;
    int64_t j = 0;
    for (; j + SLAB * LANES <= t.width; j += SLAB * LANES)
      kernel(Floats{}, std::integral_constant<int, SLAB>{}, first + j, count, j);
    for (; j + LANES <= t.width; j += LANES)
      kernel(Floats{}, std::integral_constant<int, 1>{}, first + j, count, j);
    for (; j < t.width; j++) kernel(float{}, std::integral_constant<int, 1>{}, first + j, count, j);
  }
}

template <class Kernel> void elementwise(const Table& t, int threads, Kernel kernel) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < t.tiles; k++) {
    const int64_t from = k * t.tile, to = from + t.tile < t.rows ? from + t.tile : t.rows;
    blocks(t, from, to, kernel);
  }
}

// Two sums over the rows for each channel. make(a, b) returns the kernel that adds to a and b.
template <class Make>
std::vector<double> sums(const Table& t, int threads, Make make) {
  const int64_t c = t.channels;
  std::vector<double> parts(2 * c * t.tiles, 0.0);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < t.tiles; k++) {
    double* part = parts.data() + 2 * c * k;
    std::vector<float> run(2 * t.width);
    float *a = run.data(), *b = a + t.width;
    const int64_t end = (k + 1) * t.tile < t.rows ? (k + 1) * t.tile : t.rows;
    for (int64_t from = k * t.tile; from < end; from += RUN) {
      std::memset(a, 0, 2 * t.width * sizeof(float));
      blocks(t, from, from + RUN < end ? from + RUN : end, make(a, b));
      for (int64_t j = 0; j < t.width; j += c)
        for (int64_t i = 0; i < c; i++) {
          part[i] += a[j + i];
          part[c + i] += b[j + i];
        }
    }
  }
  for (int64_t k = 1; k < t.tiles; k++)
    for (int64_t i = 0; i < 2 * c; i++) parts[i] += parts[2 * c * k + i];
  return parts;
}

// Per-channel numbers that a forward pass leaves: rows of one array.
struct Stats {
  float *mean, *inverse, *scale, *shift;  // y = relu(x scale + shift + residual)
  Stats(float* p, int64_t c) : mean(p), inverse(p + c), scale(p + 2 * c), shift(p + 3 * c) {}
};

template <class T>
std::vector<double> moments(const Table& t, int threads, const T* x, const float* sample) {
  const std::vector<float> wide = t.repeated(sample);
  const float* samples = wide.data();
  const int64_t width = t.width;
  return sums(t, threads, [=](float* a, float* b) {
    return [=](auto v, auto vectors, int64_t first, int64_t rows, int64_t j) {
      using V = decltype(v);
      constexpr int N = vectors, L = sizeof(V) / 4;
      V s[N], q[N], k[N];
      for (int n = 0; n < N; n++) {
        s[n] = load<V>(a + j + n * L), q[n] = load<V>(b + j + n * L);
        k[n] = load<V>(samples + j + n * L);
      }
      for (int64_t r = 0; r < rows; r++)
        for (int n = 0; n < N; n++) {
          V d = load<V>(x + first + r * width + n * L) - k[n];
          s[n] += d, q[n] += d * d;
        }
      for (int n = 0; n < N; n++) store(a + j + n * L, s[n]), store(b + j + n * L, q[n]);
    };
  });
}

template <bool RELU, bool RESIDUAL, class T>
void normalize(const Table& t, int threads, const T* x, const T* residual, T* y, Stats stats) {
  const std::vector<float> scale = t.repeated(stats.scale), shift = t.repeated(stats.shift);
  const float *scales = scale.data(), *shifts = shift.data();
  const int64_t width = t.width;
  elementwise(t, threads, [=](auto v, auto vectors, int64_t first, int64_t rows, int64_t j) {
    using V = decltype(v);
    constexpr int N = vectors, L = sizeof(V) / 4;
    V a[N], b[N];
    for (int n = 0; n < N; n++) {
      a[n] = load<V>(scales + j + n * L);
      b[n] = load<V>(shifts + j + n * L);
    }
    for (int64_t r = 0; r < rows; r++)
      for (int n = 0; n < N; n++) {
        const int64_t o = first + r * width + n * L;
        V u = load<V>(x + o) * a[n] + b[n];
        if constexpr (RESIDUAL) u += load<V>(residual + o);
        store(y + o, RELU ? positive(u) : u);
      }
  });
}

template <class T>
void normalize(const Table& t, int threads, bool relu, const T* x, const T* r, T* y, Stats stats) {
  if (relu && r) normalize<true, true>(t, threads, x, r, y, stats);
  else if (relu) normalize<true, false>(t, threads, x, r, y, stats);
  else if (r) normalize<false, true>(t, threads, x, r, y, stats);
  else normalize<false, false>(t, threads, x, r, y, stats);
}

struct Norm {
  const float *weight, *bias;
  double epsilon;
  float *running_mean, *running_variance;  // or null
  double momentum;
};

template <class T>
void forward(int64_t rows, int64_t c, int threads, bool relu, const T* x, const T* residual, T* y,
             float* array, Norm norm) {
  const Table t(rows, c);
  const Stats stats(array, c);
  std::vector<float> sample(c);
  for (int64_t i = 0; i < c; i++) sample[i] = load<float>(x + i);
  const std::vector<double> sum = moments(t, threads, x, sample.data());
  for (int64_t i = 0; i < c; i++) {
    const double off = sum[i] / rows, mean = sample[i] + off;
    double variance = sum[c + i] / rows - off * off;
    variance = variance < 0 ? 0 : variance;
    const double inverse = 1 / std::sqrt(variance + norm.epsilon);
    const double scale = norm.weight[i] * inverse;
    stats.mean[i] = float(mean);
    stats.inverse[i] = float(inverse);
    stats.scale[i] = float(scale);
    stats.shift[i] = float(norm.bias[i] - mean * scale);
    if (norm.running_mean) {
      const double unbiased = variance * (double(rows) / (rows - 1));
      norm.running_mean[i] += float(norm.momentum * (mean - norm.running_mean[i]));
      norm.running_variance[i] += float(norm.momentum * (unbiased - norm.running_variance[i]));
    }
  }
  normalize(t, threads, relu, x, residual, y, stats);
}

// Where the ReLU let values through: everywhere, where x scale + shift > 0, or where y > 0.
enum Mask { ALL, FROM_X, FROM_Y };

template <class T> struct Gradients {
  const T *dy, *dy2, *x, *y;  // dy2, or null, is added to dy
  T *dx, *residual;
};

template <Mask MASK, bool TWO, class T>
std::vector<double> gradient_sums(const Table& t, int threads, Gradients<T> g, Stats stats) {
  const std::vector<float> mean = t.repeated(stats.mean), scale = t.repeated(stats.scale);
  const std::vector<float> shift = t.repeated(stats.shift);
  const float *means = mean.data(), *scales = scale.data(), *shifts = shift.data();
  const int64_t width = t.width;
  return sums(t, threads, [=](float* a, float* b) {
    return [=](auto v, auto vectors, int64_t first, int64_t rows, int64_t j) {
      using V = decltype(v);
      constexpr int N = vectors, L = sizeof(V) / 4;
      const V zero{};
      V s[N], q[N], m[N], k[N], h[N];
      for (int n = 0; n < N; n++) {
        s[n] = load<V>(a + j + n * L), q[n] = load<V>(b + j + n * L);
        m[n] = load<V>(means + j + n * L);
        k[n] = load<V>(scales + j + n * L), h[n] = load<V>(shifts + j + n * L);
      }
      for (int64_t r = 0; r < rows; r++)
        for (int n = 0; n < N; n++) {
          const int64_t o = first + r * width + n * L;
          V x = load<V>(g.x + o), d = load<V>(g.dy + o);
          if constexpr (TWO) d += load<V>(g.dy2 + o);
          if constexpr (MASK == FROM_X) d = x * k[n] + h[n] > zero ? d : zero;
          if constexpr (MASK == FROM_Y) {
            d = load<V>(g.y + o) > zero ? d : zero;
            store(g.residual + o, d);
          }
          s[n] += d, q[n] += d * (x - m[n]);
        }
      for (int n = 0; n < N; n++) store(a + j + n * L, s[n]), store(b + j + n * L, q[n]);
    };
  });
}

// dx = scale g + slope (x - mean) + level, where dy may be dx itself.
template <bool FROM_VALUES, class T>
void gradient(const Table& t, int threads, const T* dy, const T* x, T* dx, Stats stats,
              const float* slope, const float* level) {
  const std::vector<float> mean = t.repeated(stats.mean), scale = t.repeated(stats.scale);
  const std::vector<float> shift = t.repeated(stats.shift);
  const std::vector<float> slope_ = t.repeated(slope), level_ = t.repeated(level);
  const float *means = mean.data(), *scales = scale.data(), *shifts = shift.data();
  const float *slopes = slope_.data(), *levels = level_.data();
  const int64_t width = t.width;
  elementwise(t, threads, [=](auto v, auto vectors, int64_t first, int64_t rows, int64_t j) {
    using V = decltype(v);
    constexpr int N = vectors, L = sizeof(V) / 4;
    const V zero{};
    V a[N], b[N], d[N], m[N], h[N];
    for (int n = 0; n < N; n++) {
      a[n] = load<V>(scales + j + n * L), b[n] = load<V>(slopes + j + n * L);
      d[n] = load<V>(levels + j + n * L), m[n] = load<V>(means + j + n * L);
      h[n] = load<V>(shifts + j + n * L);
    }
    for (int64_t r = 0; r < rows; r++)
      for (int n = 0; n < N; n++) {
        const int64_t o = first + r * width + n * L;
        V u = load<V>(x + o), g = load<V>(dy + o);
        if constexpr (FROM_VALUES) g = u * a[n] + h[n] > zero ? g : zero;
        store(dx + o, a[n] * g + (b[n] * (u - m[n]) + d[n]));
      }
  });
}

template <class T>
void backward(int64_t rows, int64_t c, int threads, Mask mask, Gradients<T> g, float* array,
              float* d_weight, float* d_bias) {
  const Table t(rows, c);
  const Stats stats(array, c);
  const std::vector<double> sum =
      mask == ALL      ? gradient_sums<ALL, false>(t, threads, g, stats)
      : mask == FROM_X ? gradient_sums<FROM_X, false>(t, threads, g, stats)
      : g.dy2          ? gradient_sums<FROM_Y, true>(t, threads, g, stats)
                       : gradient_sums<FROM_Y, false>(t, threads, g, stats);
  std::vector<float> slope(c), level(c);
  for (int64_t i = 0; i < c; i++) {
    const double inverse = stats.inverse[i], scale = stats.scale[i];
    d_weight[i] = float(sum[c + i] * inverse);
    d_bias[i] = float(sum[i]);
    slope[i] = float(-scale * inverse * inverse * sum[c + i] / rows);
    level[i] = float(-scale * sum[i] / rows);
  }
  const T* dy = mask == FROM_Y ? g.residual : g.dy;
  if (mask == FROM_X) gradient<true>(t, threads, dy, g.x, g.dx, stats, slope.data(), level.data());
  else gradient<false>(t, threads, dy, g.x, g.dx, stats, slope.data(), level.data());
}

}  // namespace

// What Python calls. `half` says that the tables hold bfloat16 and not float32; the arrays of
// numbers per channel are float32: `stats` has 4 rows, `d_norm` has 2.
extern "C" {

void residua_forward(int half, int64_t rows, int64_t channels, int threads, int relu, const void* x,
                     const void* residual, void* y, float* stats, const float* weight,
                     const float* bias, double epsilon, float* running_mean,
                     float* running_variance, double momentum) {
  const Norm norm{weight, bias, epsilon, running_mean, running_variance, momentum};
  if (half)
    forward(rows, channels, threads, relu, (const bf16*)x, (const bf16*)residual, (bf16*)y, stats,
            norm);
  else
    forward(rows, channels, threads, relu, (const float*)x, (const float*)residual, (float*)y,
            stats, norm);
}

void residua_again(int half, int64_t rows, int64_t channels, int threads, int relu, const void* x,
                   const void* residual, void* y, float* stats) {
  const Table t(rows, channels);
  const Stats known(stats, channels);
  if (half)
    normalize(t, threads, relu, (const bf16*)x, (const bf16*)residual, (bf16*)y, known);
  else
    normalize(t, threads, relu, (const float*)x, (const float*)residual, (float*)y, known);
}

void residua_backward(int half, int64_t rows, int64_t channels, int threads, int mask,
                      const void* dy, const void* dy2, const void* x, const void* y, float* stats,
                      void* dx, void* d_residual, float* d_norm) {
  if (half)
    backward<bf16>(rows, channels, threads, Mask(mask),
                   {(const bf16*)dy, (const bf16*)dy2, (const bf16*)x, (const bf16*)y, (bf16*)dx,
                    (bf16*)d_residual}, stats, d_norm, d_norm + channels);
  else
    backward<float>(rows, channels, threads, Mask(mask),
                    {(const float*)dy, (const float*)dy2, (const float*)x, (const float*)y,
                     (float*)dx, (float*)d_residual}, stats, d_norm, d_norm + channels);
}

}
