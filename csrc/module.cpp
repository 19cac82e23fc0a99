// Importing spikeconv._C loads this library, and loading it registers the operators of schema.cpp.
// The module itself is empty: Python reaches the operators through torch.ops.spikeconv.
#include <Python.h>

PyMODINIT_FUNC PyInit__C(void) {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT,
                               "_C",
                               "Loads spikeconv's native operators.",
                               -1,
                               nullptr,
                               nullptr,
                               nullptr,
                               nullptr,
                               nullptr};
  return PyModule_Create(&module);
}
