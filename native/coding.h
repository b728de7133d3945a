// Rows to codes and back, and sums of rows: what fitting and encoding spend their time on.
#pragma once
#include <cstdint>

#include "kernels.h"

namespace nearfield {

// Sums [k][d] of the rows that bear each label, in the order of rows.
void group_sums(const Kernels& isa, const float* x, int64_t n, int64_t d, const int32_t* labels, int64_t k, int threads,
                double* out);

// The least and greatest value of each row about the mean.
void spans(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* mean, int threads, double* low,
           double* high);

// Rows about the mean as numbers of even steps: firsts and lasts hold the least value and the step of each row, first
// without the cells, then with them. The numbers are bytes, or shorts where they are wide; sums [n][3] as EvenSteps has it.
void even_steps(const Kernels& isa, const float* x, int64_t n, int64_t d, const float* mean, const double* firsts,
                const double* lasts, int bits, int cell_bits, int threads, void* out, double* sums);

// Coordinates [columns][n] as codes of the nearest sums of levels; edges, as long as sums, are made here. measures [2][n]:
// the squared length of what is decoded, and its product with the row, both with `inside` added.
void level_codes(const Kernels& isa, const float* columns, int64_t n, LevelGrids grids, int threads, uint8_t* out,
                 double* measures);

// The coordinates [n][columns] that codes stand for.
void level_values(const Kernels& isa, const uint8_t* codes, int64_t n, int64_t width, const LevelPiece* pieces,
                  int64_t n_pieces, const float* levels, int64_t columns, int threads, float* out);

// out[n][d] = weights[n][k] times rows[k][d]; a sum does not depend on how many come with it.
void weighted_sums(const Kernels& isa, const float* weights, int64_t n, int64_t k, const float* rows, int64_t d,
                   int threads, float* out);

}  // namespace nearfield
