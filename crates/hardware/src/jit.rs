//! Kernels generated at run time, specialised to shape, strides, scale factors and type.
