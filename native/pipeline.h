// A whole search in one call: queries made ready, an index asked, the short list scored again by finer codes.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "disk.h"
#include "finder.h"

namespace nearfield {

// x -> matrix x + offset, where the matrix may be only a diagonal or nothing.
struct Affine {
  int64_t in = 0, out = 0;
  const float* matrix = nullptr;    // [out][in]
  const float* diagonal = nullptr;  // [in]
  const float* offset = nullptr;    // [out]
};

// A number a query: its product with a vector, where there is one, and a constant.
struct Number {
  const float* vector;  // [in] or null
  float constant;
  bool used;
};

// How tables come of weights: each is the sum over `count` pieces of a weight times values.
struct Pieces {
  int64_t count = 0, tables = 0;
  const int32_t* sources = nullptr;  // [count][tables]
  const float* values = nullptr;     // [count][tables][16 or 256]
};

// What a codec makes of a mapped query: its weights, for table layouts their pieces, and inside, slope and outside.
struct Folding {
  Affine weights;
  Pieces nibbles, bytes;
  Number numbers[3];
};

struct Rescoring {
  Stored stored;  // without codes where they are on disk
  Folding folding;
  bool mapped;    // of the mapped query, else of the query as it came
  bool residual;  // adds to the first score, instead of taking its place
  int64_t depth;  // how many times k rows it is given
  const DiskRows* disk = nullptr;
  const Checks* checks = nullptr;  // of codes that are mapped, and checked as rows are touched
};

class Pipeline {
 public:
  // `live`: the rows that are found where no filter is given, if some are not: no walk leads to the others.
  Pipeline(const Finder& finder, bool unit, const Affine& map, const Folding& folding, const Number& bias,
           std::vector<Rescoring> steps, const Filters& live = {});

  // q [m][d] -> ids and scores [m][k], how many rows were scored, and scored again. Returns false where some queries were
  // not answered, whose `scored` is -1: they are not finite, have no direction where they need one, or met scores that
  // are no numbers.
  bool search(const float* q, int64_t m, int64_t k, int64_t effort, const Filters& filters, int threads, int64_t* ids,
              float* scores, int64_t* scored, int64_t* rescored, int64_t* ways) const;
  ~Pipeline();
  int64_t dim() const { return map_.in; }

 private:
  struct Desk;  // what one thread works on
  std::unique_ptr<Desk> take() const;
  void give(std::unique_ptr<Desk> desk) const;
  bool one(const float* q, int64_t k, int64_t effort, const uint64_t* allow, Desk& desk, Found& out, int64_t* rescored) const;
  int64_t wanted_after(size_t step, int64_t k) const;
  int64_t rescore(size_t step, int64_t count, int64_t keep, Desk& desk) const;

  const Finder& finder_;
  bool unit_;
  Affine map_;
  Folding folding_;
  Number bias_;  // added to every score in the end
  std::vector<Rescoring> steps_;
  Filters live_;
  mutable std::mutex lock_;
  mutable std::vector<std::unique_ptr<Desk>> desks_;

};

}  // namespace nearfield
