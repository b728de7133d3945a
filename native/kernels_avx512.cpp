// x86-64 with AVX-512 F, BW, VL, DQ and VNNI.
#include <immintrin.h>
#define NF_NAME "avx512"
#define NF_TABLE kernels_avx512
#define NF_LANES_AVX512 1
#define NF_POPCOUNT 1
#include "kernels.inc"
