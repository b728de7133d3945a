// Walks over a graph whose nodes lie in blocks, on disk or in memory: small codes in memory lead the way, and the block
// of each row that is visited holds the row itself, by which it is scored in the end, and its links.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "disk.h"
#include "finder.h"
#include "once.h"

namespace nearfield {

// Where nodes lie: `per` in each block of `block` bytes. A node is its row's values, the square of the row's length
// (four bytes), and its links.
struct Nodes {
  const uint8_t* memory;  // [blocks][block], or null where they are
  const DiskRows* disk;   // on disk
  int64_t block, per, size;
  int element;  // of the values
  int64_t dim, values, degree;  // values: their bytes, with what fills them up to a multiple of four
};

class DiskGraph {
 public:
  // `cached`: how many nodes near the entries are kept in memory, once they were read.
  DiskGraph(const Stored& codes, const Nodes& nodes, const uint32_t* entries, int64_t n_entries, int64_t beam,
            int64_t cached);
  ~DiskGraph();

  // The best k rows for each query: `q` as the codes have it, `vectors` [m][dim] as the nodes have it. Each step visits
  // the `beam` best rows at once.
  void search(const Folded& q, const float* vectors, int64_t k, int64_t width, const uint64_t* allow, int threads,
              int64_t* ids, float* scores, int64_t* scored) const;
  // Scores of chosen rows [m][count], -inf where the row is -1.
  void score(const float* vectors, int64_t m, const int64_t* rows, int64_t count, int threads, float* scores) const;
  const Stored& stored() const { return codes_; }
  const Nodes& nodes() const { return nodes_; }

 private:
  struct Walker;
  void keep_near() const;
  const uint8_t* kept(int64_t block) const;
  std::unique_ptr<Walker> take() const;

  const Stored codes_;
  const Nodes nodes_;
  const uint32_t* entries_;
  int64_t n_entries_, beam_, cached_;
  mutable Once once_;
  mutable std::vector<int64_t> kept_at_;  // block numbers, ascending
  mutable std::vector<uint8_t> kept_;     // their bytes
  mutable std::mutex lock_;
  mutable std::vector<std::unique_ptr<Walker>> walkers_;
};

}  // namespace nearfield
