// Vectors that begin on a line of memory, so that no load of a whole register reads two.
#pragma once
#include <cstddef>
#include <new>
#include <vector>

namespace nearfield {

template <typename T>
struct OnLines {
  using value_type = T;
  static constexpr std::align_val_t kLine{64};

  OnLines() = default;
  template <typename U>
  OnLines(const OnLines<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kLine)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kLine); }
  template <typename U>
  bool operator==(const OnLines<U>&) const { return true; }
};

template <typename T>
using LineVector = std::vector<T, OnLines<T>>;

}  // namespace nearfield
