// Shared by the bindings: array types and one-line checks. No logic beyond arguments lives here.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "dispatch.h"

namespace nearfield {

namespace nb = nanobind;

template <typename T, int D>
using In = nb::ndarray<const T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <typename T, int D>
using Given = std::optional<In<T, D>>;
template <typename T, int D>
using Out = nb::ndarray<nb::numpy, T, nb::ndim<D>, nb::c_contig>;

inline void expect(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

inline const Kernels& isa_at(int which) {
  int count;
  const Choice* all = choices(&count);
  expect(which >= 0 && which < count && all[which].runs, "this instruction set does not run here");
  return *all[which].kernels;
}

// A fresh array owned by Python; the memory is filled by the caller.
template <typename T>
inline T* fresh(size_t count) {
  return new T[count > 0 ? count : 1];
}
template <typename T>
inline Out<T, 2> owned(T* data, size_t rows, size_t columns) {
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return Out<T, 2>(data, {rows, columns}, owner);
}
template <typename T>
inline Out<T, 1> owned(T* data, size_t count) {
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return Out<T, 1>(data, {count}, owner);
}

// Lets other Python threads run while it lives. The interpreter waits for that before it ends; see bind_calls.cpp.
class Unlocked {
 public:
  Unlocked();
  ~Unlocked();
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_ = nullptr;
};

void bind_calls();
void bind_coding(nb::module_& m);
void bind_disk(nb::module_& m);
void bind_families(nb::module_& m);
void bind_graph(nb::module_& m);
void bind_info(nb::module_& m);
void bind_pipeline(nb::module_& m);
void bind_scan(nb::module_& m);
void bind_train(nb::module_& m);

}  // namespace nearfield
