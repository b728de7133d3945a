#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "bind.h"

namespace nearfield {

void bind_info(nb::module_& m) {
  m.def("isas", [] {
    int count;
    const Choice* all = choices(&count);
    std::vector<std::tuple<std::string, bool>> out;
    for (int i = 0; i < count; i++) out.emplace_back(all[i].kernels->name, all[i].runs);
    return out;
  });
}

}  // namespace nearfield

NB_MODULE(_native, m) {
#ifdef NDEBUG
  // A daemon thread that is stopped where it stands as Python ends keeps what it holds: no fault of ours or the user's.
  // Builds for debugging still tell what is left.
  nanobind::set_leak_warnings(false);
#endif
  nearfield::bind_info(m);
  nearfield::bind_calls();
  nearfield::bind_coding(m);
  nearfield::bind_disk(m);
  nearfield::bind_graph(m);
  nearfield::bind_pipeline(m);
  nearfield::bind_families(m);
  nearfield::bind_scan(m);
  nearfield::bind_train(m);
}
