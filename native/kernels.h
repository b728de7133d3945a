// What the instruction-set files and the rest share: plain structs and one table of functions.
// Plain C types only, so that the files compiled with wider instructions define nothing inline
// that another file could pick up at link time.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace nearfield {

enum Layout : int { kF32, kF16, kAffine8, kAffine4, kTables };
enum Element : int { kFloat32, kFloat16, kBfloat16, kE4M3, kE5M2, kUint8, kInt8 };
enum Metric : int { kDot, kCosine, kL2 };
enum ConstantKind : int { kAbsent, kByte, kHalf, kSingle };
enum Source : int { kFromInt16, kFromUint8, kFromInt8, kFromNibble };

constexpr int kBlock = 32;     // rows interleaved in memory in table layouts
constexpr int kPad = 32;       // query coefficients are padded with zeros to a multiple of this
constexpr int kEntry = 32767;   // table entries have 15 bits, of which the first pass adds 7
constexpr int kEven = 16384;    // a power of two: whole numbers of 0 to 4 leave nothing in the lower 8, and stay whole
constexpr int kCoarseBits = 7;  // two entries of so many bits are added in a byte; a wide column has a table for more
constexpr int kRun = 256;       // columns whose sums of two entries of so many bits fit in 16 bits
constexpr int kWideShare = 2;   // at most one in so many columns is wide

// A link as it is at one moment. Rows may be linked in while others walk: what was checked is what has to be followed,
// so it is read once, and written whole. Relaxed: plain moves on every processor.
#if defined(__GNUC__)
static inline uint32_t link_at(const uint32_t* at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
static inline void put_link(uint32_t* at, uint32_t to) { __atomic_store_n(at, to, __ATOMIC_RELAXED); }
#else
static inline uint32_t link_at(const uint32_t* at) { return *(const volatile uint32_t*)at; }
static inline void put_link(uint32_t* at, uint32_t to) { *(volatile uint32_t*)at = to; }
#endif

struct Constant {
  int kind;
  int64_t offset;
  float low, step;
};

struct Format {
  int layout, element;
  int64_t width, dim;
  int64_t nibble_columns, byte_columns;
  int8_t levels[16];
  Constant scale, shift;
};

// The constants of one query in  scale * (value + inside) + shift * slope + outside.
struct Offsets {
  float inside, slope, outside, square;
};

// What a scored group of rows brings with it; null where absent.
struct RowTerms {
  const float* scale;
  const float* shift;
  const float* terms;
  int metric;
};

// One query's tables as integers: value = acc * step + bias, acc a sum of 15-bit entries.
struct TableQuery {
  uint16_t* entries;  // [2 * nibble_columns][16]
  uint8_t* coarse;    // likewise: entry >> shift, of a wide column the lower bits of that
  uint8_t* fine;      // likewise: what that leaves
  uint8_t* wide;      // [2 * wide_columns][16]: entry >> (shift + kCoarseBits)
  int32_t* wide_at;   // [wide_columns]
  uint16_t* bytes;    // [byte_columns][256]
  float* lows;        // the least value of each table
  uint16_t* largest;  // the largest entry of each nibble column
  float variance;     // of the sum of the nibbles' entries, were all equally frequent
  bool even;          // whether no entry has any of the lower 8 bits
  float step, bias;
  int shift;
  int64_t wide_columns;
  bool joined;        // whether the sums of the entries' upper parts, those of wide columns too, fit in 16 bits
  uint32_t slack;     // acc lies in [sum, sum + slack] with sum as table_sums gives it
};

// Where the bytes of coefficient j, counted in the order of nibbles, lie for dot_nibbles: the low halves of 32 bytes
// first, then the high ones.
inline int64_t byte_place(int64_t j) {
  return (j & ~int64_t(63)) + (j & 16) * 2 + (j & 32) / 2 + (j & 15);
}

constexpr int64_t kTogetherMost = 4;
constexpr int64_t kNoKey = INT64_MIN;  // where a frontier has no row
constexpr int64_t kKeyGuard = 32;       // places in front of a frontier and behind it

// What a row of signed bytes has beside them: it is about scale * bytes, of squared length square with its lift: one
// more coordinate that brings rows to equal length where nearness is a dot product, so that near means a large product.
struct Side {
  float scale, square, lift, unused;
};

// What a key of a frontier says. It orders like (score, -row); its lowest bit says that the walk has been there, which
// moves it past no other row.
static inline uint32_t walk_row(int64_t key) { return ~uint32_t(uint64_t(key) >> 1) & 0x7fffffffu; }
static inline float walk_score(int64_t key) {
  const int32_t ordered = int32_t(key >> 32);
  union { int32_t i; float f; } y;
  y.i = ordered ^ ((ordered >> 31) & 0x7fffffff);
  return y.f;
}

// A walk over a graph: its frontier, and what it has met; see walk.inc.
struct Walk {
  const uint32_t* links;  // [n][degree]
  int64_t degree, n;
  const uint8_t* codes;  // asked for as rows are met, row_bytes of each
  int64_t row_bytes;
  int64_t asked, last;        // a row's bytes below `asked` are asked for line by line, and then the one at `last`
  int64_t* keys;              // best first; INT64_MAX in front, kNoKey behind
  int64_t width, size, next;  // next: no row before it is one where the walk has not been
  int64_t together, went[kTogetherMost];  // to so many rows it goes at a time; the last of them
  int64_t visits;             // it goes to none that stands behind so many
  float floor;                // what a full frontier admits
  uint64_t* seen;             // a bit a row
  uint32_t* touched;          // the first rows whose bits are set
  int64_t n_touched, most_touched;
  uint32_t* met;  // the rows to be scored next
  int64_t count;
};

// One query for walk_nibbles.
struct NibbleWalk {
  int8_t levels[16];
  const int8_t* halves[2];  // as for dot_nibbles
  int32_t sum;
  float wscale;
  int64_t width, dim, constants;  // bytes a row, coefficients, where step and least value lie
  Offsets offsets;
};

// One query over rows of a line each (see lines.inc): score = scale * (sum * step + start) - of_less * less.
struct LineQuery {
  const int8_t* weights;  // [5][width]
  int64_t width;          // a multiple of 64
  float step, start, of_less;
  bool parted;  // whether the fifth run of weights counts
};

// How a query becomes one of lines: by its products with some axes, each spread over digits of two bits. All are padded
// with zeros: axes to a multiple of 16, their rows to one of 64 bytes.
struct LineAxes {
  const int8_t* rows;    // [count][stride]
  const int32_t* sums;   // of the rows
  const float* scales;   // what the bytes of each axis are multiplied by
  const float* offsets;  // taken from the products
  const float* steps;    // what a whole number of each axis stands for
  const float* middles;  // of the whole numbers of each axis
  int64_t count, stride;
  const int32_t* sources;  // [4][width]: the axis that each weight is of
  const float* powers;     // and what it is multiplied by there
  float of_less;
};

// Room for one query after another.
struct LineDesk {
  float* given;       // [stride]
  uint8_t* bytes;     // [stride]
  int32_t* products;  // [count]
  float* of_axes;     // [count]
  float* floats;      // [4][width]
  int8_t* weights;    // [5][width]
};

// How a row becomes numbers of even steps from `low` on, each cut into so many cells; then what the numbers, the cells
// counted, stand for.
struct EvenSteps {
  double low, step, top, cells;
  double last_low, last_step;
  bool wide;  // numbers are shorts, not bytes
};

constexpr int kLevelRows = 64;  // rows that are brought to levels together

// Where a part of a coordinate's code lies, and the first of its levels.
struct LevelPiece {
  int32_t column, byte, shift, bits, first;
};

// What coordinates are brought to: for each column the sums of its levels, ascending, between them the edges, and the
// code of each sum. The pieces of a code, the lowest four bits first, stand in the order of columns.
struct LevelGrids {
  const float* sums;
  const float* edges;
  const uint16_t* codes;
  const int64_t* starts;  // [columns + 1]
  const double* inside;   // [columns]: added to coordinates before they are measured
  const LevelPiece* pieces;
  int64_t columns, n_pieces, width;  // bytes a row
};

struct Kernels {
  const char* name;
  // Row bytes of any float element to float32, or of an affine layout to int16; zeros up to stride.
  void (*widen)(int element, const uint8_t* const* rows, int64_t count, int64_t dim, float* out,
                int64_t stride);
  void (*unpack)(int source, const int8_t* levels, const uint8_t* const* rows, int64_t count, int64_t dim,
                 int16_t* out, int64_t stride);
  // out[i * ldo + r] = query i . row r; queries are padded with zeros to a multiple of kPad.
  void (*dot_float)(int element, const uint8_t* const* rows, int64_t count, int64_t dim, const float* q,
                    int64_t stride, int64_t queries, float* out, int64_t ldo);
  void (*dot_int)(int source, const int8_t* levels, const uint8_t* const* rows, int64_t count, int64_t dim,
                  const int16_t* q, int64_t stride, int64_t queries, const float* wscale, float* out,
                  int64_t ldo);
  // Opened rows [count][stride] as panels of eight, and dot_int's values of them; null where dot_int serves as well.
  void (*to_panels)(const int16_t* rows, int64_t count, int64_t stride, int16_t* out);
  void (*dot_panels)(const int16_t* panels, int64_t rows, int64_t stride, const int16_t* q, int64_t qstride,
                     int64_t queries, const float* wscale, float* out, int64_t ldo);
  // One query against nibbles: dot_int's values, from the lower and upper bytes of the query's integers (see
  // byte_place), and their sum.
  void (*dot_nibbles)(const int8_t* levels, const uint8_t* const* rows, int64_t count, int64_t dim, const int16_t* q,
                      int64_t stride, const int8_t* const* halves, int32_t sum, float wscale, float* out);
  void (*constants)(const Constant* c, const uint8_t* const* rows, int64_t count, float* out);
  void (*block_constants)(const Constant* c, const uint8_t* block, float* out);
  // Values to scores in place, and the positions with score >= bound.
  void (*finish)(float* values, int64_t count, const RowTerms* rows, const Offsets* query);
  int64_t (*select)(const float* scores, int64_t count, float bound, int32_t* where);
  // Queries to integers.
  void (*quantise)(const float* w, int64_t dim, float limit, bool nibbles, int16_t* out, float* wscale);
  void (*quantise_tables)(const float* nibbles, const float* bytes, const Format* f, TableQuery* out);
  // Tables [tables][entries] of a query: each the sum over some pieces of the coordinate of z that sources
  // [pieces][tables] names times values [pieces][tables][entries].
  void (*fold_tables)(const float* z, const int32_t* sources, const float* values, int64_t pieces, int64_t tables,
                      int64_t entries, float* out);
  // The entries' coarse, fine and wide parts and the slack, by shift and wide_at.
  void (*split_tables)(int64_t columns, TableQuery* out);
  // Lower ends of the accumulators of whole blocks, for 1 or 2 queries at once: out[i][32 * blocks].
  void (*table_sums)(const Format* f, const uint8_t* blocks, int64_t count, const TableQuery* const* queries,
                     int64_t n_queries, uint32_t* const* out);
  // One row's exact accumulator, from row-major codes.
  uint32_t (*table_row)(const Format* f, const uint8_t* codes, const TableQuery* q);
  // From the sums of one block to its exact accumulators.
  void (*table_exact)(const Format* f, const uint8_t* block, const TableQuery* q, uint32_t* sums);
  // For each of some blocks, the rows whose sum is at least that of their block, as a bit mask.
  void (*sum_masks)(const uint32_t* sums, int64_t count, const uint32_t* least, uint32_t* masks);
  // For each of some blocks, the rows whose upper end may reach bound, as a bit mask. `signs` where a
  // factor of a row may be negative.
  void (*table_masks)(const uint32_t* sums, int64_t count, const TableQuery* q, const RowTerms* rows,
                      const Offsets* o, float bound, bool signs, uint32_t* masks);
  void (*table_scores)(const uint32_t* acc, int64_t count, const TableQuery* q, const RowTerms* rows,
                       const Offsets* o, float* out);
  // Training.
  void (*assign)(const float* x, int64_t n, int64_t d, const float* panels, const float* half_squares,
                 int64_t groups, int32_t* best);
  void (*panel_dots)(const float* x, int64_t d, const float* panels, int64_t groups, float* out);
  void (*squared)(const float* x, const float* y, int64_t d, float* out);
  // Lowers best[n] to the squared distances of rows, given as columns[d][n], from one row; n is a multiple of kPanel.
  void (*lower_gaps)(const float* columns, int64_t n, int64_t d, const float* row, float* best);
  void (*hamming)(const uint8_t* q, const uint8_t* codes, int64_t n, int64_t width, int32_t* out);
  // Squared distances of one row of signed bytes from -127 to 127 from others; stride is a multiple of kPad.
  void (*byte_gaps)(const int8_t* q, const Side* mine, const int8_t* bytes, const Side* sides, const uint32_t* rows,
                    int64_t count, int64_t stride, float* out);
  // Walks over graphs.
  void (*walk_meet)(Walk* w, const uint32_t* rows, int64_t count);
  int64_t (*walk_next)(Walk* w);
  void (*walk_take)(Walk* w, const float* scores);
  // Scores up to a multiple of 8 behind the last; false where this query needs more care. Null where it is never quicker.
  bool (*walk_nibbles)(const NibbleWalk* q, const uint8_t* codes, const uint32_t* rows, int64_t count, float* out);
  // A query, given on the desk and padded with zeros, for line_scores.
  void (*line_query)(const LineAxes* axes, const LineDesk* desk, int64_t width, LineQuery* out);
  // Scores of lines [n][width]; out has room for a multiple of four.
  void (*line_scores)(const uint8_t* lines, const uint32_t* rows, int64_t count, const LineQuery* q, float* out);
  // Encoding. A row added to sums; its least and greatest value about the mean; its numbers of even steps, and of the
  // levels that they stand for the squares, the products with the mean, and its own squares, summed.
  void (*add_row)(const float* row, int64_t d, double* sums);
  void (*span)(const float* x, const float* mean, int64_t d, double* low, double* high);
  void (*even_steps)(const float* x, const float* mean, int64_t d, const EvenSteps* s, void* out, double* sums);
  // Columns of up to kLevelRows coordinates to codes [n][width], and what coding.h says of the decoded.
  void (*level_codes)(const float* columns, int64_t stride, int64_t n, const LevelGrids* g, uint8_t* out, double* length,
                      double* inner);
  void (*level_values)(const uint8_t* row, const LevelPiece* pieces, int64_t n_pieces, const float* levels,
                       int64_t columns, float* out);
  // out[n][d] = w[n][k] times x[k][d].
  void (*weighted_sums)(const float* w, int64_t n, int64_t k, const float* x, int64_t d, float* out);
};

constexpr int kPanel = 16;  // centroids side by side in a panel: panels[group][d][kPanel]

extern const Kernels kernels_base;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
extern const Kernels kernels_neon;

}  // namespace nearfield
