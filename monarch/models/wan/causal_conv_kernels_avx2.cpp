#define MONARCH_ISA avx2
#include "monarch/models/wan/causal_conv_kernels.inc"
